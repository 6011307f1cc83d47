//! The rule. Needs the grants `log` (as every rule made with the SDK) and `wasi-minimal`.

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::rule::{Decision, Denial, DenialKind, Description, Request, Rule, Verdict};
use keygate_plugin_sdk::settings::from_json;

use crate::wasi::wasi::cli::{environment, exit, stderr, stdin, stdout, terminal_stdout};
use crate::wasi::wasi::clocks0_2_0::wall_clock;
use crate::wasi::wasi::clocks0_2_6::monotonic_clock;
use crate::wasi::wasi::filesystem::preopens;
use crate::wasi::wasi::io::poll;
use crate::wasi::wasi::io::streams::OutputStream;
use crate::wasi::wasi::random::{insecure_seed, random};
use crate::wasi::wasi::sockets::instance_network;
use crate::{Deed, Settings};

/// The rule.
pub(crate) struct Wasi {
    settings: Settings,
    /// What clock and generator said in `configure`.
    then: String,
}

keygate_plugin_sdk::export_rule!(Wasi);

fn clock_and_dice() -> String {
    let now = wall_clock::now();
    let bytes = random::get_random_bytes(4).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{}.{:03} {bytes} {:016x}", now.seconds, now.nanoseconds / 1_000_000, random::get_random_u64())
}

fn told() -> String {
    let (environment, arguments) = (environment::get_environment().len(), environment::get_arguments().len());
    let (directories, directory) = (preopens::get_directories().len(), environment::initial_cwd().is_some());
    let (ended, terminal) = (stdin::get_stdin().read(10).is_err(), terminal_stdout::get_terminal_stdout().is_some());
    let (a, b) = insecure_seed::insecure_seed();
    format!(
        "{environment} {arguments} {directories} {directory} {ended} {terminal} mono={} seed={}",
        monotonic_clock::now(),
        a != b
    )
}

/// Writes a text in pieces that do not end where lines do.
fn write(stream: &OutputStream, text: &str) {
    for piece in text.as_bytes().chunks(7) {
        let ready = poll::poll(&[&stream.subscribe()]) == [0];
        let room = stream.check_write().is_ok_and(|room| room >= 7);
        if ready && room {
            let _ = stream.write(piece);
        }
    }
}

impl Rule for Wasi {
    fn configure(settings: &str) -> Result<Self, SettingsError> {
        Ok(Self { settings: from_json(settings)?, then: clock_and_dice() })
    }

    fn describe(&self) -> Description {
        let (name, version) = ("wasi".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        Description { name, version, actions: Vec::new() }
    }

    fn evaluate(&self, _request: &Request) -> Result<Verdict, String> {
        match self.settings.deed {
            Deed::Tell => {
                let message = format!("{} / {} / {}", self.then, clock_and_dice(), told());
                let denial = Denial { kind: DenialKind::Forbidden, code: "TOLD_ERR".to_owned(), message };
                return Ok(Verdict { decision: Decision::Deny(denial), memo: None });
            }
            Deed::Print => {
                write(&stdout::get_stdout(), "to standard output\n");
                write(&stderr::get_stderr(), "to standard error\nand no end");
            }
            Deed::Fail => {
                let text = "Traceback (most recent call last):\n  File \"rule.py\", line 7\nKeyError: 'ring'";
                let _ = stderr::get_stderr().blocking_write_and_flush(text.as_bytes());
                core::arch::wasm32::unreachable();
            }
            Deed::Exit => exit::exit(Err(())),
            Deed::Network => drop(instance_network::instance_network()),
            Deed::Sleep => monotonic_clock::subscribe_duration(1_000_000_000).block(),
            Deed::RandomHuge => drop(random::get_random_bytes(1 << 30)),
        }
        Ok(Verdict::allow())
    }
}
