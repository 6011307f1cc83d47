//! `keygate serve`

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use keygate_core::ports::Entropy as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{ServeArgs, plugin};
use crate::app::App;
use crate::background::Background;
use crate::config::{Config, Environment, Flags, Source};
use crate::dev::{BackendChoice, Dev, PLUGIN_DIR, enter, find_module, find_plugins, wants_token};
use crate::http::Listeners;
use crate::problem::Problems;
use crate::reload::watch::Watch;
use crate::reload::{Doors, Origin};
use crate::shutdown::Hangups;
use crate::system::{DevClock, OsEntropy, SystemClock};
use crate::{http, shutdown};

/// Serves until a signal says stop. What is in work is finished, the store is closed, and what was temporary is removed.
pub(super) async fn serve(args: ServeArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    enter_token(&args, environment)?;
    // Before the rest: a signal that comes while plugins are compiled must not leave a temporary directory behind.
    let mut stop = std::pin::pin!(shutdown::signals().context("no handler for signals")?);
    let hangups = shutdown::hangups().context("no handler for signals")?;
    let temporary = match (args.dev, &args.data) {
        (true, None) => Some(temporary(args.temporary.as_deref())?),
        _ => None,
    };
    let data = args.data.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path));
    let started = tokio::select! {
        started = start(&args, environment, data) => Some(started),
        () = &mut stop => None,
    };
    let served = match started {
        Some(Ok(started)) => started.serve(stop, hangups).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    if let Some(directory) = temporary {
        directory.close().context("the temporary directory could not be removed")?;
    }
    served.map(|()| ExitCode::SUCCESS)
}

/// Sees that a gateway that works with a token of its own has in its environment where that is. May become the program anew.
fn enter_token(args: &ServeArgs, environment: &Environment) -> anyhow::Result<()> {
    if !args.dev {
        return Ok(());
    }
    let (data, more) = match (args.data.as_ref().or(args.temporary.as_ref()), &args.backend) {
        (Some(data), backend) if wants_token(data, backend) => (data.clone(), Vec::new()),
        (None, BackendChoice::SoftHsm) => {
            // Only its name is chosen here: what makes it removes it.
            let mut random = [0; 8];
            OsEntropy.fill(&mut random).context("no random name")?;
            let data = std::env::temp_dir().join(format!("keygate-dev-{:016x}", u64::from_ne_bytes(random)));
            let more = vec!["--temporary".into(), data.clone().into()];
            (data, more)
        }
        _ => return Ok(()),
    };
    enter(&data, &args.backend, environment, &more).map_err(|problem| Problems::from(problem).into())
}

fn temporary(named: Option<&Path>) -> io::Result<tempfile::TempDir> {
    match named.and_then(|path| Some((path.parent()?, path.file_name()?))) {
        Some((parent, name)) => tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir_in(parent),
        None => tempfile::Builder::new().prefix("keygate-dev-").tempdir(),
    }
}

/// Everything that is needed to serve, and what to say once it is done.
struct Started {
    app: Arc<App>,
    listeners: Listeners,
    greeting: String,
    watch: Option<Watch>,
}

impl Started {
    async fn serve(self, stop: impl Future<Output = ()>, hangups: Hangups) -> anyhow::Result<()> {
        let Self { app, listeners, greeting, watch } = self;
        let background = Background::start(&app, Doors { hangups: Some(hangups), watch });
        // New work in the background ends with the signal, and not only when the last connection is gone.
        let stop = async move {
            stop.await;
            background.stop();
        };
        let serving = http::serve(Arc::clone(&app), listeners, stop);
        // The socket listens already, so whoever reads this can connect.
        let mut out = io::stdout();
        out.write_all(greeting.as_bytes())?;
        out.flush()?;
        serving.await;
        finish(app).await;
        Ok(())
    }
}

/// Waits, within the time to drain, for work that goes on though its client has hung up, and closes the store.
async fn finish(app: Arc<App>) {
    let patience = app.server.drain_timeout;
    let idle = async {
        while Arc::strong_count(&app) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(patience, idle).await {
        Ok(()) => tracing::info!("no request is in work any more; closing the store"),
        Err(_) => tracing::warn!("some work goes on after {patience:?} and is cut off; what was acknowledged is kept"),
    }
    let hsm = Arc::clone(&app.hsm);
    drop(app);
    // Whatever still goes on gets an answer now, and no module is called while the process ends.
    let _ = tokio::task::spawn_blocking(move || hsm.stop()).await;
}

async fn start(args: &ServeArgs, environment: &Environment, data: Option<&Path>) -> anyhow::Result<Started> {
    let dev = match data.filter(|_| args.dev) {
        Some(data) => Some(open_dev(data, environment, args)?),
        None => None,
    };
    let source = dev.as_ref().map_or_else(|| Source::File(args.config.clone()), Dev::source);
    let flags = Flags { listen: args.listen };
    let origin = Origin { source, environment: environment.clone(), flags, require_digest: dev.is_none() };
    let origin = Arc::new(origin);
    let mut config = origin.read()?;
    let watch = config.server.watch.map(|every| Watch::new(Arc::clone(&origin), every));
    if watch.is_some() {
        // Once more after the first look: what changes from that on is not missed.
        config = origin.read()?;
    }
    // Bound before the long part: that an address is taken should be known at once.
    let listen = config.server.listen;
    let public = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}; choose another address with --listen, or stop who has it")
    })?;
    let private = match config.server.private_listen {
        Some(listen) => Some(TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; choose another `server.private_listen`, or stop who has it")
        })?),
        None => None,
    };
    let address = public.local_addr()?;
    let private_address = private.as_ref().map(TcpListener::local_addr).transpose()?;
    let urls = Urls { public: format!("http://{address}"), private: private_address.map(|a| format!("http://{a}")) };
    let app = match &dev {
        Some(_) => {
            let clock = Arc::new(DevClock::default());
            App::build(&config, Arc::<DevClock>::clone(&clock)).await?.with_dev_clock(clock)
        }
        None => App::build(&config, Arc::new(SystemClock)).await?,
    };
    let app = app.reloading_from(origin).listening_on(address, private_address);
    tracing::info!(url = %urls.public, private = urls.private, instances = config.instances.len(), "serving");
    let greeting = greeting(&urls, &config, dev.as_ref(), args.json);
    Ok(Started { app: Arc::new(app), listeners: Listeners { public, private }, greeting, watch })
}

/// Where the endpoints are.
struct Urls {
    public: String,
    private: Option<String>,
}

fn open_dev(data: &Path, environment: &Environment, args: &ServeArgs) -> anyhow::Result<Dev> {
    let exe = std::env::current_exe().ok();
    let plugins =
        find_plugins(environment.get(PLUGIN_DIR).map(String::as_str), exe.as_deref()).map_err(Problems::from)?;
    let mut dev = Dev::open(data, &plugins).map_err(Problems::from)?;
    if wants_token(data, &args.backend) {
        let module = find_module(args.module.as_deref()).map_err(Problems::from)?;
        dev.make_token(&module).map_err(Problems::from)?;
        dev = dev.with_token(&module, &plugins, args.keep, args.backend == BackendChoice::SoftHsm);
    }
    if let BackendChoice::File(file) = &args.backend {
        dev = dev.with_file(file).map_err(Problems::from)?;
    }
    args.plugins.iter().try_fold(dev, |dev, project| Ok(dev.with_rule(plugin::rule(project)?)))
}

fn greeting(urls: &Urls, config: &Config, dev: Option<&Dev>, json: bool) -> String {
    match (json, dev) {
        (true, dev) => format!("{}\n", ready_line(urls, config, dev)),
        (false, Some(dev)) => welcome(urls, dev),
        (false, None) => {
            let private = urls.private.as_ref().map(|url| format!(", and {url} as the private endpoint"));
            format!("keygate serves {}{}\n", urls.public, private.unwrap_or_default())
        }
    }
}

/// The one line for machines: `{"url", "private_url", "iam_url", "instances", "api_keys"}`; `private_url` where there is a
/// private endpoint, the keys in dev mode only.
fn ready_line(urls: &Urls, config: &Config, dev: Option<&Dev>) -> Value {
    // All are what an SDK is given: it appends `/identity/token` or `/api/v2` by itself.
    let mut line = json!({"url": urls.public, "iam_url": urls.public});
    if let Some(url) = &urls.private {
        line["private_url"] = url.as_str().into();
    }
    let instances: Vec<String> = match dev {
        Some(dev) => dev.instances().iter().map(ToString::to_string).collect(),
        None => config.instances.iter().map(|instance| instance.id.to_string()).collect(),
    };
    line["instances"] = instances.into();
    if let Some(dev) = dev {
        let keys = dev.keys().iter().map(|(name, key)| ((*name).to_owned(), Value::from(key.text().expose())));
        line["api_keys"] = Value::Object(keys.collect());
    }
    line
}

/// What a person needs to get to a wrapped key.
fn welcome(urls: &Urls, dev: &Dev) -> String {
    let url = &urls.public;
    let private = urls.private.as_ref().map(|url| format!("private URL  {url}\n")).unwrap_or_default();
    let [first, second] = dev.instances();
    let keys: String = dev.keys().iter().map(|(name, key)| format!("  {name:<12} {}\n", key.text().expose())).collect();
    let manager = dev.keys().first().map(|(_, key)| key.text());
    let manager = manager.as_ref().map_or("", |key| key.expose());
    format!(
        r#"
  *** DEV MODE: NOT FOR PRODUCTION. Whoever reads this text, or the data directory, has every key. ***

URL          {url}
{private}instances    {first}
             {second}
API keys
{keys}
Try it:

  TOKEN=$(curl -s {url}/identity/token \
    -d grant_type=urn:ibm:params:oauth:grant-type:apikey \
    -d apikey={manager} | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

  curl -s {url}/api/v2/keys -H "Authorization: Bearer $TOKEN" -H "Bluemix-Instance: {first}" -d '{{
    "metadata": {{"collectionType": "application/vnd.ibm.kms.key+json", "collectionTotal": 1}},
    "resources": [{{"type": "application/vnd.ibm.kms.key+json", "name": "my-root-key", "aliases": ["mine"],
                   "extractable": false}}]}}'

  curl -s {url}/api/v2/keys/mine/actions/wrap -H "Authorization: Bearer $TOKEN" -H "Bluemix-Instance: {first}" \
    -d "{{\"plaintext\": \"$(printf 'a data key' | base64)\"}}"

Move the clock ahead, for what takes its time (anybody who can connect may do this here):

  curl -s {url}/dev/clock -d '{{"advance": "4h"}}'

Stop with Ctrl-C.
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn dev() -> (tempfile::TempDir, Dev, Config) {
        let dir = tempfile::tempdir().unwrap();
        let dev = Dev::open(dir.path(), Path::new("/plugins")).unwrap();
        let config = load(&dev.source(), &Environment::new(), &Flags::default()).config.unwrap();
        (dir, dev, config)
    }

    fn urls() -> Urls {
        Urls { public: "http://127.0.0.1:1".to_owned(), private: Some("http://127.0.0.1:2".to_owned()) }
    }

    #[test]
    fn the_line_for_machines_is_one_line_with_the_promised_names() {
        let (_dir, dev, config) = dev();
        let line = greeting(&urls(), &config, Some(&dev), true);
        assert_eq!(line.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["url"], "http://127.0.0.1:1");
        assert_eq!(line["iam_url"], "http://127.0.0.1:1");
        assert_eq!(line["private_url"], "http://127.0.0.1:2");
        assert_eq!(line["instances"].as_array().unwrap().len(), 2);
        let names: Vec<_> = line["api_keys"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["administrator", "manager", "manager2", "nobody", "purger", "reader", "reader_plus", "service", "writer"]
        );
        let production = ready_line(&Urls { private: None, ..urls() }, &config, None);
        assert!(production.get("private_url").is_none());
        assert!(production.get("api_keys").is_none());
        assert_eq!(production["instances"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_welcome_warns_and_holds_every_key_and_instance() {
        let (_dir, dev, config) = dev();
        let text = greeting(&urls(), &config, Some(&dev), false);
        assert!(text.contains("http://127.0.0.1:1\n") && text.contains("http://127.0.0.1:2\n"));
        assert!(text.contains("-d '{\"advance\": \"4h\"}'"));
        assert!(text.contains("NOT FOR PRODUCTION"));
        for (_, key) in dev.keys() {
            assert!(text.contains(key.text().expose()));
        }
        for instance in dev.instances() {
            assert!(text.contains(&instance.to_string()));
        }
        assert!(text.contains("-d '{\n    \"metadata\": {\"collectionType\""), "braces came out doubled");
    }
}
