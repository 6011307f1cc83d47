//! Built-in policy rule: the operator's own declarative rules.

mod actions;
mod annotations;
mod decide;
mod fold;
mod limits;
mod mentions;
mod parse;
mod problems;
mod program;
mod roles;
mod settings;
mod world;
mod zone;

use keygate_plugin_sdk::rule::{Description, Request, Rule, Verdict};
use keygate_plugin_sdk::{SettingsError, export_rule};

use crate::program::Program;
use crate::world::Types;
use crate::zone::Zone;

/// The rule.
#[derive(Debug)]
pub struct PolicyRules {
    program: Program,
    types: Types,
    zone: Zone,
}

impl Rule for PolicyRules {
    fn configure(text: &str) -> Result<Self, SettingsError> {
        let settings = settings::read(text)?;
        let zone = Zone::parse(&settings.zone).map_err(|message| SettingsError::new("zone", message))?;
        let checked = parse::policies(&settings.sources)?;
        Ok(Self { program: Program::new(&checked)?, types: Types::new()?, zone })
    }

    fn describe(&self) -> Description {
        Description {
            name: "policy-rules".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            actions: self.program.actions.clone(),
        }
    }

    fn evaluate(&self, request: &Request) -> Result<Verdict, String> {
        decide::decide(&self.program, &self.types, &self.zone, request)
    }
}

export_rule!(PolicyRules, settling_allocator);

#[cfg(test)]
mod tests;
