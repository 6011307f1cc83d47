//! The guest as a rule. Needs the grant `log`.

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::rule::{Decision, Denial, DenialKind, Description, Request, Rule, Verdict};

use crate::deeds::{Deed, HUGE, Settings, count};

/// The rule. It allows everything.
pub struct Hostile {
    settings: Settings,
}

impl Rule for Hostile {
    fn configure(settings: &str) -> Result<Self, SettingsError> {
        let settings = Settings::parse(settings)?;
        match settings.enter("configure") {
            Some(Deed::Output) => Err(SettingsError { path: String::new(), message: "x".repeat(HUGE) }),
            Some(Deed::BadOutput) => Err(SettingsError { path: String::new(), message: "x".repeat(1_025) }),
            _ => Ok(Self { settings }),
        }
    }

    fn describe(&self) -> Description {
        let name = match self.settings.enter("describe") {
            Some(Deed::Output) => "x".repeat(HUGE),
            Some(Deed::BadOutput) => "x".repeat(65),
            _ => "hostile-rule".to_owned(),
        };
        Description { name, version: env!("CARGO_PKG_VERSION").to_owned(), actions: Vec::new() }
    }

    fn evaluate(&self, request: &Request) -> Result<Verdict, String> {
        let (code, message) = match self.settings.enter("evaluate") {
            Some(Deed::Output) => ("HUGE_ERR".to_owned(), "x".repeat(HUGE)),
            // Out of bounds: a code is capitals, digits and `_`, at most 64 bytes.
            Some(Deed::BadOutput) => ("not a code".to_owned(), "bad output".to_owned()),
            Some(Deed::Echo) => ("ECHO_ERR".to_owned(), request.action.clone()),
            Some(Deed::Remember) => ("REMEMBER_ERR".to_owned(), format!("calls: {}", count())),
            _ => return Ok(Verdict::allow()),
        };
        let denial = Denial { kind: DenialKind::Forbidden, code, message };
        Ok(Verdict { decision: Decision::Deny(denial), memo: None })
    }
}
