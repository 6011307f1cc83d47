//! `keygate instance`: the instances of a running gateway, and which may use which crypto instance.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs};
use super::terminal::plain;
use crate::config::Environment;

const INSTANCES: &str = "/keygate/v1/instances";
const CRYPTO: &str = "/keygate/v1/crypto-instances";
const AUTHORIZATIONS: &str = "/keygate/v1/authorizations";

/// What `keygate instance` does. It asks a running gateway, on this host, as whoever has the API key; the rule `access`
/// wants the role Administrator of them, or Viewer to look. Exit codes: 0 done, 1 the gateway could not be asked, 2 the
/// command line is wrong, 3 the gateway refused.
#[derive(Debug, Subcommand)]
pub(super) enum InstanceCommand {
    /// Make an instance. It can be used at once; one of a crypto instance, once it is authorized.
    Create(CreateArgs),
    /// List the instances, those of the configuration and those that were made here.
    List(ListArgs),
    /// List the crypto instances, which are made in the configuration.
    Crypto(ListArgs),
    /// Show an instance.
    Show(OneArgs),
    /// Change an instance's name, or what it makes new keys on. Keys that are there stay where they are.
    Bind(BindArgs),
    /// Delete an instance that has no keys.
    Delete(OneArgs),
    /// Let an instance use a crypto instance.
    Authorize(PairArgs),
    /// Let an instance use a crypto instance no longer. It makes and uses no keys from then on.
    Revoke(PairArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What people call it.
    #[arg(long)]
    name: String,
    /// The region in its CRNs, such as us-south.
    #[arg(long)]
    region: String,
    /// The account that owns it.
    #[arg(long)]
    account: String,
    #[command(flatten)]
    binding: Binding,
    #[command(flatten)]
    client: ClientArgs,
}

/// One of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Binding {
    /// The backend that it makes keys on.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// The crypto instance whose backend it makes keys on.
    #[arg(long, value_name = "ID")]
    crypto_instance: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct BindArgs {
    /// The instance.
    id: String,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    client: ClientArgs,
}

/// At least one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Change {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// The backend that it makes keys on from now on.
    #[arg(long, value_name = "NAME", conflicts_with = "crypto_instance")]
    backend: Option<String>,
    /// The crypto instance whose backend it makes keys on from now on.
    #[arg(long, value_name = "ID")]
    crypto_instance: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// The instance.
    id: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct PairArgs {
    /// The instance.
    source: String,
    /// The crypto instance.
    target: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Does it.
pub(super) async fn run(command: &InstanceCommand, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (client, method, path, body) = request(command);
    let answer = Client::new(client, environment)?.call(method, &path, body.as_ref()).await?;
    tell(command, client.json, &answer, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn request(command: &InstanceCommand) -> (&ClientArgs, Method, String, Option<Value>) {
    let one = |id: &str| format!("{INSTANCES}/{}", segment(id));
    let pair = |args: &PairArgs| format!("{AUTHORIZATIONS}/{}/{}", segment(&args.source), segment(&args.target));
    match command {
        InstanceCommand::Create(CreateArgs { name, region, account, binding, client }) => {
            let Binding { backend, crypto_instance } = binding;
            let fields = [
                ("name", Some(name)),
                ("region", Some(region)),
                ("account", Some(account)),
                ("backend", backend.as_ref()),
                ("crypto_instance", crypto_instance.as_ref()),
            ];
            (client, Method::POST, INSTANCES.to_owned(), Some(given(fields)))
        }
        InstanceCommand::List(ListArgs { client }) => (client, Method::GET, INSTANCES.to_owned(), None),
        InstanceCommand::Crypto(ListArgs { client }) => (client, Method::GET, CRYPTO.to_owned(), None),
        InstanceCommand::Show(OneArgs { id, client }) => (client, Method::GET, one(id), None),
        InstanceCommand::Bind(BindArgs { id, change, client }) => {
            let Change { name, backend, crypto_instance } = change;
            let fields =
                [("name", name.as_ref()), ("backend", backend.as_ref()), ("crypto_instance", crypto_instance.as_ref())];
            (client, Method::PATCH, one(id), Some(given(fields)))
        }
        InstanceCommand::Delete(OneArgs { id, client }) => (client, Method::DELETE, one(id), None),
        InstanceCommand::Authorize(args) => (&args.client, Method::PUT, pair(args), None),
        InstanceCommand::Revoke(args) => (&args.client, Method::DELETE, pair(args), None),
    }
}

/// A part of a path: whatever somebody wrote, it stays one part.
fn segment(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.bytes().map(|b| if safe(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn given<const N: usize>(fields: [(&str, Option<&String>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    Value::Object(Map::from_iter(fields))
}

fn tell(command: &InstanceCommand, is_json: bool, answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    if is_json {
        let nothing = json!({});
        return writeln!(out, "{}", if answer.is_null() { &nothing } else { answer });
    }
    let found = answer["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    match command {
        InstanceCommand::List(_) => found.iter().try_for_each(|instance| line(instance, out)),
        InstanceCommand::Crypto(_) => found.iter().try_for_each(|crypto| {
            let [id, name, backend] = [&crypto["id"], &crypto["name"], &crypto["backend"]["name"]].map(text);
            writeln!(out, "{id}  {backend:12}  {name}")
        }),
        InstanceCommand::Delete(args) => writeln!(out, "deleted {}", plain(&args.id)),
        InstanceCommand::Authorize(PairArgs { source, target, .. }) => {
            writeln!(out, "{} may use the crypto instance {}", plain(source), plain(target))
        }
        InstanceCommand::Revoke(PairArgs { source, target, .. }) => {
            writeln!(out, "{} may not use the crypto instance {} any more", plain(source), plain(target))
        }
        _ => found.iter().try_for_each(|instance| whole(instance, out)),
    }
}

/// An instance on a line.
fn line(instance: &Value, out: &mut dyn Write) -> io::Result<()> {
    let [id, name, backend, source] = ["id", "name", "backend", "source"].map(|field| text(&instance[field]));
    let crypto = match (&instance["crypto_instance"], &instance["authorized"]) {
        (Value::String(id), Value::Bool(true)) => format!("  of crypto instance {}", plain(id)),
        (Value::String(id), _) => format!("  of crypto instance {}, NOT AUTHORIZED", plain(id)),
        _ => String::new(),
    };
    writeln!(out, "{id}  {source:13}  {backend:12}  {name}{crypto}")
}

/// All that is known of an instance.
fn whole(instance: &Value, out: &mut dyn Write) -> io::Result<()> {
    let fields = instance.as_object().into_iter().flatten();
    for (name, value) in fields {
        writeln!(out, "{:16} {}", plain(name), text(value))?;
    }
    if instance["authorized"] == json!(false) {
        let [id, crypto] = ["id", "crypto_instance"].map(|field| text(&instance[field]));
        writeln!(out, "it makes and uses no keys before: keygate instance authorize {id} {crypto}")?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_id_is_it_stays_one_part_of_the_path() {
        assert_eq!(segment("a-b_c/../d?e#%"), "a-b_c%2F%2E%2E%2Fd%3Fe%23%25");
    }

    #[test]
    fn a_line_says_when_an_instance_is_of_no_use_yet() {
        let told = |instance: &Value| {
            let mut out = Vec::new();
            line(instance, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let mut instance = json!({"id": "i", "name": "n\u{1b}[2J", "backend": "b", "source": "api"});
        assert_eq!(told(&instance), "i  api            b             n\u{fffd}[2J\n");
        instance["crypto_instance"] = json!("c");
        instance["authorized"] = json!(true);
        assert!(told(&instance).ends_with("of crypto instance c\n"));
        instance["authorized"] = json!(false);
        assert!(told(&instance).ends_with("of crypto instance c, NOT AUTHORIZED\n"));
        let mut out = Vec::new();
        whole(&instance, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("keygate instance authorize i c\n"));
    }
}
