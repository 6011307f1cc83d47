//! What a new project is made of: the files under `templates/`, the SDK's sources and the contract, in the program itself.

use super::project::Lang;
use super::{Kind, NewArgs};

/// The version of the SDK and of the contract that a project gets.
const VERSION: &str = env!("CARGO_PKG_VERSION");

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $path))
    };
}

macro_rules! table {
    ($root:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), $root, $name)))),*]
    };
}

/// Files of the contract by their names.
type Files = &'static [(&'static str, &'static str)];

const WIT_HOST: Files = table!("/../../wit/host/": "clock.wit", "log.wit", "pkcs11.wit", "random.wit", "secrets.wit");
const WIT_POLICY: Files = table!("/../../wit/policy/": "rule.wit", "types.wit", "world.wit");
const WIT_CRYPTO: Files = table!("/../../wit/crypto/": "backend.wit", "types.wit", "world.wit");

const SDK: Files = table!("/../../plugins/sdk/src/":
    "alloc.rs", "alloc/settling.rs", "backend.rs", "backend_tests.rs", "bindings.rs", "host.rs", "host/pkcs11.rs", "lib.rs", "macros.rs",
    "panics.rs", "rule.rs", "settings.rs", "slot.rs", "testing.rs", "testing/no_token.rs", "testing/token.rs",
    "testing/token/aes_modes.rs", "testing/token/door.rs", "testing/token/rsa_modes.rs",
);

/// A file of a project: where, and what.
pub(super) type NewFile = (String, String);

/// The contract as the toolchains of most languages want it: one package, and under `deps` what it uses.
pub(super) fn wit(backend: bool) -> Vec<NewFile> {
    let package = if backend { WIT_CRYPTO } else { WIT_POLICY };
    let own = package.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let host = WIT_HOST.iter().map(|(name, text)| (format!("deps/keygate-host/{name}"), (*text).to_owned()));
    own.chain(host).collect()
}

/// All files of a new project.
pub(super) fn files(args: &NewArgs) -> Vec<NewFile> {
    let backend = args.kind == Kind::Backend;
    let (grants, limits) = needs(args.kind, args.lang);
    let mut files: Vec<NewFile> = Vec::new();
    let mut add = |path: &str, text: &str| files.push((path.to_owned(), text.to_owned()));
    let own = |policy: &'static str, other: &'static str| if backend { other } else { policy };
    add("keygate-plugin.toml", own(template!("policy/keygate-plugin.toml"), template!("backend/keygate-plugin.toml")));
    add("cases.toml", own(template!("policy/cases.toml"), template!("backend/cases.toml")));
    let readme = match args.lang {
        Lang::Rust => rust(backend, &mut add),
        Lang::Python => python(backend, &mut add),
        Lang::Javascript => javascript(backend, &mut add),
    };
    let deploy = own(template!("policy/deploy.md"), template!("backend/deploy.md"));
    add("README.md", &readme.replace("{{deploy}}", deploy.trim_end()));
    let lang = args.lang.as_str();
    let fill = |text: &str| {
        text.replace("{{what}}", own("A policy rule", "A backend"))
            .replace("{{grants}}", &grants)
            .replace("{{limits}}", limits)
            .replace("{{lang}}", lang)
            .replace("{{version}}", VERSION)
            .replace("{{source}}", own("rule.js", "backend.js"))
            .replace("{{name}}", &args.name)
    };
    let mut files: Vec<NewFile> = files.into_iter().map(|(path, text)| (path, fill(&text))).collect();
    files.extend(contract(backend, args.lang));
    files
}

/// What plugins of a kind and language are granted and may consume, as TOML.
fn needs(kind: Kind, lang: Lang) -> (String, &'static str) {
    let own = match (kind, lang) {
        (Kind::Policy, _) => "log = true",
        (Kind::Backend, Lang::Rust) => "log = true, random = true, secrets = [\"kek\"]",
        // These toolchains import all of the world, used or not.
        (Kind::Backend, _) => "log = true, clock = true, random = true, secrets = [\"kek\"]",
    };
    match lang {
        Lang::Rust => (format!("{{ {own} }}"), "{ deadline = \"1s\", memory = \"16MiB\" }"),
        Lang::Python => (format!("{{ {own}, wasi-minimal = true }}"), "{ deadline = \"5s\", memory = \"128MiB\" }"),
        Lang::Javascript => (format!("{{ {own} }}"), "{ deadline = \"5s\", memory = \"64MiB\" }"),
    }
}

fn rust(backend: bool, add: &mut dyn FnMut(&str, &str)) -> &'static str {
    let dependencies = "chacha20poly1305 = { version = \"0.11\", default-features = false, features = [\"alloc\", \"zeroize\"] }\n\
                        hmac = { version = \"0.13\", default-features = false }\n\
                        sha2 = { version = \"0.11\", default-features = false }\n";
    // A rule fits into one page of memory, and a cipher does not.
    let (dependencies, stack) = if backend { (dependencies, "65536") } else { ("", "16384") };
    add("Cargo.toml", &template!("rust/Cargo.toml").replace("{{dependencies}}", dependencies));
    add(".cargo/config.toml", &template!("rust/config.toml").replace("{{stack}}", stack));
    add("rust-toolchain.toml", template!("rust/rust-toolchain.toml"));
    add(".gitignore", "/target\n/*.wasm\n/*.wasm.*\n");
    if backend {
        add("src/lib.rs", template!("backend/rust/lib.rs"));
        add("src/seal.rs", template!("backend/rust/seal.rs"));
        add("src/tests.rs", template!("backend/rust/tests.rs"));
    } else {
        add("src/lib.rs", template!("policy/rust/lib.rs"));
    }
    add("sdk/Cargo.toml", template!("rust/sdk.toml"));
    template!("rust/README.md")
}

fn python(backend: bool, add: &mut dyn FnMut(&str, &str)) -> &'static str {
    let cipher = if backend { "tlslite-ng==0.8.2\n" } else { "" };
    add("requirements.txt", &format!("componentize-py==0.25.1\n{cipher}"));
    add(".gitignore", "/.venv\n__pycache__\n/*.wasm\n/*.wasm.*\n");
    add("app.py", if backend { template!("backend/python/app.py") } else { template!("policy/python/app.py") });
    template!("python/README.md")
}

fn javascript(backend: bool, add: &mut dyn FnMut(&str, &str)) -> &'static str {
    let ciphers = "{\n    \"@noble/ciphers\": \"2.4.0\",\n    \"@noble/hashes\": \"2.4.0\"\n  }";
    let dependencies = if backend { ciphers } else { "{}" };
    add("package.json", &template!("javascript/package.json").replace("{{dependencies}}", dependencies));
    add("build.mjs", template!("javascript/build.mjs"));
    add(".gitignore", "/node_modules\n/.build-*\n/*.wasm\n/*.wasm.*\n");
    if backend {
        add("backend.js", template!("backend/javascript/backend.js"));
    } else {
        add("rule.js", template!("policy/javascript/rule.js"));
    }
    template!("javascript/README.md")
}

/// The contract and, for Rust, the SDK: as they are, word for word.
fn contract(backend: bool, lang: Lang) -> Vec<NewFile> {
    if lang != Lang::Rust {
        return wit(backend).into_iter().map(|(path, text)| (format!("wit/{path}"), text)).collect();
    }
    // The SDK is for both kinds, so it reads all packages.
    let packages = [("host", WIT_HOST), ("policy", WIT_POLICY), ("crypto", WIT_CRYPTO)];
    let wit = packages.iter().flat_map(|(package, files)| {
        files.iter().map(move |(name, text)| (format!("wit/{package}/{name}"), (*text).to_owned()))
    });
    let sdk = SDK.iter().map(|(name, text)| (format!("sdk/src/{name}"), text.replace("\"../../wit/", "\"../wit/")));
    wit.chain(sdk).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn all() -> impl Iterator<Item = NewArgs> {
        let kinds = [Kind::Policy, Kind::Backend];
        let langs = [Lang::Rust, Lang::Python, Lang::Javascript];
        kinds.into_iter().flat_map(move |kind| {
            langs.into_iter().map(move |lang| NewArgs { kind, lang, name: "my-plugin".to_owned(), dir: None })
        })
    }

    #[test]
    fn nothing_is_left_to_be_filled_in_and_no_file_stands_twice() {
        for args in all() {
            let files = files(&args);
            let paths: BTreeSet<_> = files.iter().map(|(path, _)| path).collect();
            assert_eq!(paths.len(), files.len());
            for (path, text) in &files {
                assert!(!text.contains("{{") || path.starts_with("sdk/"), "{path}: {text}");
            }
            for needed in ["keygate-plugin.toml", "cases.toml", "README.md", ".gitignore"] {
                assert!(paths.contains(&needed.to_owned()), "{needed}");
            }
        }
    }

    #[test]
    fn the_embedded_contract_and_sdk_are_whole() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tables =
            [("wit/host", WIT_HOST), ("wit/policy", WIT_POLICY), ("wit/crypto", WIT_CRYPTO), ("plugins/sdk/src", SDK)];
        for (directory, files) in tables {
            let (mut there, mut open) = (BTreeSet::new(), vec![root.join(directory)]);
            while let Some(next) = open.pop() {
                for path in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
                    if path.is_dir() {
                        open.push(path);
                    } else {
                        let name = path.strip_prefix(root.join(directory)).unwrap();
                        there.insert(name.to_str().unwrap().to_owned());
                    }
                }
            }
            assert_eq!(there, files.iter().map(|(name, _)| (*name).to_owned()).collect(), "{directory}");
        }
    }

    #[test]
    fn the_vendored_sdk_wants_what_the_sdk_wants() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap().parse::<toml::Table>().unwrap();
        let (workspace, sdk) = (read("Cargo.toml"), read("plugins/sdk/Cargo.toml"));
        let vendored = template!("rust/sdk.toml").replace("{{version}}", VERSION).parse::<toml::Table>().unwrap();
        assert_eq!(sdk["features"], vendored["features"]);
        let names = |table: &toml::Table| -> BTreeSet<String> {
            table["dependencies"].as_table().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(&sdk), names(&vendored));
        let pinned = &workspace["workspace"]["dependencies"]["wit-bindgen"]["version"];
        assert_eq!(pinned, &vendored["dependencies"]["wit-bindgen"]["version"]);
    }
}
