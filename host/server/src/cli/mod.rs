//! The command line.

mod backend;
mod check;
mod client;
mod instance;
mod new_key;
mod plugin;
mod policy;
mod serve;
mod terminal;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::backend::BackendCommand;
use self::instance::InstanceCommand;
use self::plugin::PluginCommand;
use self::policy::PolicyCommand;
use crate::config::Environment;
use crate::dev::{BackendChoice, Keep};

/// A key-management gateway that speaks the IBM Key Protect v2 REST API.
#[derive(Debug, Parser)]
#[command(name = "keygate", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Check a configuration with everything it names, and print every problem at once.
    Check(CheckArgs),
    /// Identities and access.
    #[command(subcommand)]
    Iam(IamCommand),
    /// What a running gateway keeps keys on, and the moving of keys from one backend to another.
    #[command(subcommand)]
    Backend(BackendCommand),
    /// Instances and crypto instances of a running gateway.
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// What the rules decide.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Write, build, test, measure and sign plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
}

impl Cli {
    /// How much is logged where nobody says. What is made for people to read at a prompt is not mixed with the gateway's
    /// own news; what a plugin has to say belongs there.
    pub fn default_log(&self) -> &'static str {
        match self.command {
            Command::Instance(_) => "warn",
            Command::Plugin(_) => "warn,keygate::plugin=debug",
            _ => "info",
        }
    }
}

#[derive(Debug, Subcommand)]
enum IamCommand {
    /// Make an API key. Prints the key, once, and the hash for `api_key_hashes`.
    NewKey {
        /// Print one JSON object: {"api_key", "hash"}.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "plugins.toml")]
    config: PathBuf,
    /// Serve without a configuration: two instances, nine identities and a KEK out of nothing. NOT FOR PRODUCTION.
    #[arg(long, conflicts_with = "config")]
    dev: bool,
    /// Print one JSON object, as the first line on stdout, once connections are accepted.
    #[arg(long)]
    json: bool,
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// With --dev: a rule to put into the chain, by its project's directory. Can be given several times. The files are
    /// watched: what `keygate plugin build` makes next is taken without a start.
    #[arg(long = "plugin", value_name = "DIR", requires = "dev")]
    plugins: Vec<PathBuf>,
    /// With --dev: where state lives. A temporary directory, removed at exit, if not given.
    #[arg(long, value_name = "DIR", requires = "dev")]
    data: Option<PathBuf>,
    /// With --dev: what keeps the keys: `aes-gcm` (software), `softhsm` (a token of SoftHSM 2 in the data directory), or a
    /// file NAME.toml with [[tokens]], [[plugins]] and [[backends]] of yours.
    #[arg(long, value_name = "BACKEND", default_value = "aes-gcm", requires = "dev")]
    backend: BackendChoice,
    /// With --backend softhsm: where new root keys are. As objects of the token, or in the store, wrapped by a key of the token.
    #[arg(long, default_value = "wrapped", requires = "dev")]
    keep: Keep,
    /// With --backend softhsm: SoftHSM's module, if it is not in one of the usual places.
    #[arg(long, value_name = "FILE", requires = "dev")]
    module: Option<PathBuf>,
    /// The temporary directory that a gateway has chosen for itself.
    #[arg(long, value_name = "DIR", requires = "dev", conflicts_with = "data", hide = true)]
    temporary: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "plugins.toml")]
    config: PathBuf,
    /// Print one JSON object: {"ok", "problems": [{"plugin", "step", "at", "problem", "mend"}]}.
    #[arg(long)]
    json: bool,
}

/// Does what the command line says. The one place that reads the environment is the caller.
pub async fn run(cli: Cli, environment: Environment) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::serve(args, &environment).await,
        Command::Check(args) => check::check(&args, &environment).await,
        Command::Iam(IamCommand::NewKey { json }) => new_key::new_key(json),
        Command::Instance(command) => instance::run(&command, &environment).await,
        Command::Policy(PolicyCommand::Explain(args)) => policy::explain(&args, &environment).await,
        Command::Backend(command) => backend::run(&command, &environment).await,
        Command::Plugin(command) => plugin::run(&command, &environment).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // `{:#}` puts the causes behind one another.
            let _ = writeln!(io::stderr(), "keygate: {error:#}");
            client::exit_code(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["keygate", "serve", "--dev", "--json", "--listen", "127.0.0.1:0"]).is_ok());
        assert!(Cli::try_parse_from(["keygate", "serve"]).is_ok());
        assert!(Cli::try_parse_from(["keygate", "serve", "--data", "x"]).is_err(), "--data is for dev mode");
        assert!(Cli::try_parse_from(["keygate", "serve", "--plugin", "x"]).is_err(), "--plugin is for dev mode");
        assert!(Cli::try_parse_from(["keygate", "serve", "--dev", "--plugin", "x", "--plugin", "y"]).is_ok());
        assert!(Cli::try_parse_from(["keygate", "serve", "--dev", "--config", "x"]).is_err());
        assert!(Cli::try_parse_from(["keygate", "serve", "--dev", "--backend", "softhsm", "--keep", "token"]).is_ok());
        assert!(Cli::try_parse_from(["keygate", "serve", "--dev", "--backend", "hardhsm"]).is_err());
        assert!(
            Cli::try_parse_from(["keygate", "serve", "--backend", "softhsm"]).is_err(),
            "--backend is for dev mode"
        );
        assert!(Cli::try_parse_from(["keygate", "check", "--config", "f", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["keygate", "iam", "new-key", "--json"]).is_ok());
        let migrate = |more: &[&str]| Cli::try_parse_from([&["keygate", "backend", "migrate"], more].concat());
        let id = "6d1f0d9c-6b0c-4f0e-9d55-2a6f3f1f7a01";
        assert!(migrate(&["--instance", id, "--from", "a", "--to", "b", "--json"]).is_ok());
        assert!(migrate(&["--instance", "x", "--from", "a", "--to", "b"]).is_err(), "it is a UUID");
        let instance = |more: &[&str]| Cli::try_parse_from([&["keygate", "instance"], more].concat());
        let create = ["create", "--name", "n", "--region", "r", "--account", "a"];
        assert!(instance(&[&create[..], &["--backend", "b", "--json"]].concat()).is_ok());
        assert!(instance(&[&create[..], &["--crypto-instance", "c"]].concat()).is_ok());
        assert!(instance(&create).is_err(), "it is bound to something");
        assert!(instance(&[&create[..], &["--backend", "b", "--crypto-instance", "c"]].concat()).is_err());
        assert!(instance(&["bind", "i", "--name", "n"]).is_ok() && instance(&["bind", "i"]).is_err());
        assert!(instance(&["authorize", "i", "c", "--url", "http://127.0.0.1:1"]).is_ok());
        let explain = |more: &[&str]| Cli::try_parse_from([&["keygate", "policy", "explain"], more].concat());
        assert!(explain(&["--audit", "-", "--correlation-id", "x", "--json"]).is_ok());
        assert!(explain(&["--audit", "f", "--line", "3", "--config", "c"]).is_ok());
        assert!(explain(&["--question", "f"]).is_ok());
        assert!(explain(&[]).is_err(), "there is nothing to explain");
        assert!(explain(&["--audit", "f", "--question", "g"]).is_err(), "one at a time");
        assert!(explain(&["--question", "f", "--line", "1"]).is_err(), "--line is for --audit");
        assert!(explain(&["--audit", "f", "--line", "1", "--correlation-id", "x"]).is_err(), "one way to name it");
    }
}
