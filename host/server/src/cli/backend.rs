//! `keygate backend list` and `keygate backend migrate`: what a running gateway keeps keys on, and the moving of keys from one
//! backend to another.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use keygate_core::ids::InstanceId;
use serde_json::{Value, json};

use super::client::{Client, ClientArgs, exit_code};
use super::terminal::plain;
use crate::config::Environment;

/// How often a migration is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How many looks in a row may fail before it gives up. The gateway may be started again meanwhile.
const PATIENCE: u32 = 60;
/// How wide the bar is, in characters.
const BAR: u64 = 30;
/// How many of the keys that stayed are printed. `--json` has them all.
const SHOWN: usize = 20;
/// How many are fetched at once.
const PAGE: usize = 1000;
/// The exit code where something stayed behind.
const STAYED: u8 = 4;

#[derive(Debug, Subcommand)]
pub(super) enum BackendCommand {
    /// List the backends of a running gateway.
    List(ClientArgs),
    /// Move the keys of an instance from one backend to another, while the gateway serves them. It goes on in the gateway,
    /// whatever becomes of this command; run it again to look on.
    Migrate(MigrateArgs),
}

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// Whose keys.
    #[arg(long, value_name = "UUID")]
    instance: InstanceId,
    /// The backend that they leave.
    #[arg(long, value_name = "BACKEND")]
    from: String,
    /// The backend that they go to. The instance must make new keys there already.
    #[arg(long, value_name = "BACKEND")]
    to: String,
    /// Stop the migration that is under way, and print how far it has come.
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: &BackendCommand, environment: &Environment) -> anyhow::Result<ExitCode> {
    let done = match command {
        BackendCommand::List(args) => list(args, environment).await,
        BackendCommand::Migrate(args) => migrate(args, environment).await,
    };
    done.or_else(|error| {
        let _ = writeln!(io::stderr(), "keygate: {error:#}");
        Ok(exit_code(&error))
    })
}

async fn list(args: &ClientArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let mut client = Client::new(args, environment)?;
    let answer = client.call(Method::GET, "/keygate/v1/backends", None).await?;
    let mut out = io::stdout();
    if args.json {
        writeln!(out, "{answer}")?;
        return Ok(ExitCode::SUCCESS);
    }
    for backend in answer["resources"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let features: Vec<_> =
            backend["features"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect();
        let features = if features.is_empty() { "-".to_owned() } else { features.join(", ") };
        let text = |name: &str| plain(backend[name].as_str().unwrap_or_default());
        writeln!(out, "{:<24} {} {}  {features}", text("name"), text("plugin"), text("version"))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrate(args: &MigrateArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let mut client = Client::new(&args.client, environment)?;
    let path = format!("/keygate/v1/instances/{}/migrations", args.instance);
    if args.stop {
        let last = client.call(Method::GET, &path, None).await?;
        let last = &last["resources"][0];
        let id = last["id"].as_str().context("no key of this instance was ever moved")?;
        let (from, to) =
            (plain(last["from"].as_str().unwrap_or_default()), plain(last["to"].as_str().unwrap_or_default()));
        if (&from, &to) != (&args.from, &args.to) {
            anyhow::bail!("the last migration of this instance goes from {from} to {to}: name these to stop it");
        }
        let path = format!("{path}/{id}");
        let stopped = client.call(Method::DELETE, &path, None).await?;
        let stays = all_stays(&mut client, &path).await?;
        return report(args, &stopped, &stays);
    }
    let body = json!({"from": args.from, "to": args.to});
    let begun = client.call(Method::POST, &path, Some(&body)).await?;
    let id = begun["id"].as_str().context("the gateway's answer names no migration")?.to_owned();
    let path = format!("{path}/{id}");
    let watched = tokio::select! {
        last = watch(&mut client, &path, begun, args.client.json) => Some(last?),
        _ = tokio::signal::ctrl_c() => None,
    };
    let Some(last) = watched else {
        let _ = writeln!(
            io::stderr(),
            "\nThe migration goes on in the gateway. Run the same command to look on, or with --stop to stop it."
        );
        return Ok(ExitCode::from(130));
    };
    let stays = all_stays(&mut client, &path).await?;
    report(args, &last, &stays)
}

/// Looks until it is over, and shows how far it is.
async fn watch(client: &mut Client, path: &str, begun: Value, json: bool) -> anyhow::Result<Value> {
    let (mut last, mut failed) = (begun, 0);
    let mut shown = Shown::new(json);
    loop {
        if last["state"] != "running" {
            shown.end();
            return Ok(last);
        }
        shown.show(&last);
        tokio::time::sleep(INTERVAL).await;
        match client.call(Method::GET, &format!("{path}?limit=1"), None).await {
            Ok(answer) => (last, failed) = (answer, 0),
            Err(error) if error.is::<super::client::Refusal>() || failed >= PATIENCE => {
                return Err(error.context("the migration may go on in the gateway; run the same command to look on"));
            }
            Err(_) => failed += 1,
        }
    }
}

async fn all_stays(client: &mut Client, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut stays = Vec::new();
    loop {
        let offset = stays.len();
        let mut page = client.call(Method::GET, &format!("{path}?limit={PAGE}&offset={offset}"), None).await?;
        let Some(items) = page["stays"].as_array_mut().filter(|items| !items.is_empty()) else { return Ok(stays) };
        stays.append(items);
    }
}

/// What was seen first, from which the rate is reckoned, and how it is shown.
struct Shown {
    since: Instant,
    first: Option<(u64, u64)>,
    line: Option<Instant>,
    terminal: bool,
    quiet: bool,
}

impl Shown {
    fn new(quiet: bool) -> Self {
        Self { since: Instant::now(), first: None, line: None, terminal: io::stderr().is_terminal(), quiet }
    }

    fn show(&mut self, migration: &Value) {
        if self.quiet || (!self.terminal && self.line.is_some_and(|line| line.elapsed() < LINE_INTERVAL)) {
            return;
        }
        let pass = migration["pass"].as_u64().unwrap_or_default();
        let seen = count(migration, "seen");
        if self.first.is_none_or(|(first, _)| first != pass) {
            (self.first, self.since) = (Some((pass, seen)), Instant::now());
        }
        let before = self.first.map_or(0, |(_, before)| before);
        let text = line(migration, seen.saturating_sub(before), self.since.elapsed());
        let mut out = io::stderr();
        let _ = if self.terminal { write!(out, "\r\u{1b}[K{text}") } else { writeln!(out, "{text}") };
        let _ = out.flush();
        self.line = Some(Instant::now());
    }

    fn end(&self) {
        if self.terminal && self.line.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

fn count(migration: &Value, name: &str) -> u64 {
    migration["counts"][name].as_u64().unwrap_or_default()
}

/// How far it is, on one line.
fn line(migration: &Value, since: u64, elapsed: Duration) -> String {
    let (seen, keys) = (count(migration, "seen"), count(migration, "keys"));
    let done = (seen.min(keys) * BAR).checked_div(keys).unwrap_or(BAR);
    let bar: String = (0..BAR).map(|at| if at < done { '#' } else { '.' }).collect();
    let what = if migration["pass"] == 1 { "moving" } else { "clearing up" };
    let mut text = format!("{what} [{bar}] {seen}/{keys} keys, {} versions moved", count(migration, "moved"));
    if count(migration, "stayed") > 0 {
        text += &format!(", {} stayed", count(migration, "stayed"));
    }
    let seconds = elapsed.as_secs_f64();
    if since > 0 && seconds > 0.0 {
        let rate = since as f64 / seconds;
        let left = Duration::from_secs_f64(keys.saturating_sub(seen) as f64 / rate);
        text += &format!(", {rate:.0}/s, {} left", clock(left));
    }
    match migration["waiting"].as_str() {
        Some(why) => text += &format!("; waits: {}", plain(why)),
        None if migration["pass"] != 1 && seen == 0 => text += "; waits until no call can need the old place",
        None => {}
    }
    text
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The end of it: 0 where everything has moved.
fn report(args: &MigrateArgs, migration: &Value, stays: &[Value]) -> anyhow::Result<ExitCode> {
    let is_whole = migration["state"] == "done" && count(migration, "stayed") == 0;
    let code = if is_whole { ExitCode::SUCCESS } else { ExitCode::from(STAYED) };
    let mut out = io::stdout();
    if args.client.json {
        let mut whole = migration.clone();
        whole["staysTotal"] = json!(stays.len());
        whole["stays"] = json!(stays);
        writeln!(out, "{whole}")?;
        return Ok(code);
    }
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    writeln!(
        out,
        "{}: {} key versions moved from {} to {}, {} keys got a new version, {} key versions stayed, {} destroyed where they \
         had been",
        text(&migration["state"]),
        count(migration, "moved"),
        text(&migration["from"]),
        text(&migration["to"]),
        count(migration, "renewed"),
        count(migration, "stayed"),
        count(migration, "destroyed"),
    )?;
    writeln!(out, "begun {}, ended {}", text(&migration["startedAt"]), text(&migration["endedAt"]))?;
    for stay in stays.iter().take(SHOWN) {
        let renewed = if stay["renewed"] == true { "old versions only" } else { "the newest version too" };
        let (versions, reason) = (stay["versions"].as_u64().unwrap_or_default(), text(&stay["reason"]));
        let (key, detail) = (text(&stay["keyId"]), text(&stay["detail"]));
        writeln!(
            out,
            "key {key} needs {} still: {versions} versions ({renewed}), {reason}: {detail}",
            text(&migration["from"])
        )?;
    }
    if stays.len() > SHOWN {
        writeln!(out, "and {} keys more; --json has them all", stays.len() - SHOWN)?;
    }
    if migration["state"] != "done" {
        let both = (text(&migration["from"]), text(&migration["to"]));
        writeln!(out, "Keep backends {} and {} in the configuration: there are keys on both.", both.0, both.1)?;
    } else if !stays.is_empty() {
        writeln!(out, "Keep backend {} in the configuration, for these.", text(&migration["from"]))?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_how_fast_and_how_long_still() {
        let at = |pass: u64, seen: u64, more: Value| {
            let mut migration = json!({"pass": pass, "counts": {"seen": seen, "keys": 100, "moved": 60, "stayed": 0}});
            for (name, value) in more.as_object().unwrap() {
                migration[name] = value.clone();
            }
            migration
        };
        let half = line(&at(1, 50, json!({})), 50, Duration::from_secs(25));
        assert!(half.starts_with("moving [###############...............] 50/100 keys, 60 versions moved"), "{half}");
        assert!(half.ends_with("2/s, 0:00:25 left"), "{half}");
        let waits = line(&at(1, 0, json!({"waiting": "gone\u{1b}[2J"})), 0, Duration::ZERO);
        assert!(waits.ends_with("waits: gone\u{fffd}[2J") && !waits.contains("left"), "{waits}");
        assert!(line(&at(2, 0, json!({})), 0, Duration::from_secs(1)).contains("until no call"));
        assert!(line(&json!({}), 0, Duration::ZERO).contains("0/0"));
        assert_eq!(clock(Duration::from_secs(3_725)), "1:02:05");
    }
}
