//! The gateway itself: it reads the configuration, puts the rooms together, and serves the API.

pub mod app;
pub mod audit;
pub mod background;
pub mod cli;
pub mod config;
pub mod dev;
pub mod files;
mod gaps;
pub mod hsm;
pub mod http;
pub mod iam;
mod opens;
pub mod problem;
pub mod readiness;
pub mod reload;
pub mod secrets;
pub mod shutdown;
pub mod status;
pub mod system;
