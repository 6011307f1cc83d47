//! `[[tokens]]`

use keygate_pkcs11::{Find, PinSource};

use super::*;

const TOKEN: &str = r#"
[[tokens]]
name = "hsm"
module = "/usr/lib/softhsm/libsofthsm2.so"
label = "keygate"
pin_env = "HSM_PIN"
"#;

fn with(token: &str) -> String {
    format!("{token}\n{GOOD}")
}

#[test]
fn a_token_has_its_defaults_and_takes_what_is_said() {
    let config = good(&with(TOKEN), &[("HSM_PIN", "geheim-4711")]);
    let [token] = &config.tokens[..] else { panic!("one token: {:?}", config.tokens) };
    assert_eq!((token.name.as_str(), token.sessions, token.queue), ("hsm", 4, 256));
    assert_eq!(token.find, Find::Label("keygate".to_owned()));
    assert_eq!(token.pin, PinSource::Environment("HSM_PIN".to_owned()));
    assert_eq!(config.environment.get("HSM_PIN"), Some("geheim-4711"));

    let text = TOKEN.replace("label = \"keygate\"\npin_env = \"HSM_PIN\"", "serial = \"0815\"\npin_file = \"pin\"");
    let more = "module_parameters = \"x\"\nsessions = 8\nqueue = 9\nhang = \"3s\"\nhang_generating = \"1m\"\nwritten_off = 2\n\
                handles = 10\nunwrapped = 11\nlabel_prefix = \"p\"\n\
                breaker = { failures = 2, open_for = \"2s\", open_at_most = \"9s\", slow = \"4s\" }\n";
    let config = good(&with(&format!("{text}{more}")), &[]);
    let token = &config.tokens[0];
    assert_eq!(token.find, Find::Serial("0815".to_owned()));
    assert_eq!(token.pin, PinSource::File(config.base.join("pin")));
    assert_eq!((token.sessions, token.queue, token.written_off), (8, 9, 2));
    assert_eq!((token.handles, token.unwrapped, token.label_prefix.as_str()), (10, 11, "p"));
    assert_eq!((token.hang, token.hang_generating), (Duration::from_secs(3), Duration::from_secs(60)));
    assert_eq!(token.module_parameters.as_deref(), Some("x"));
    assert_eq!((token.breaker.failures, token.breaker.open_for), (2, Duration::from_secs(2)));
    assert_eq!((token.breaker.open_at_most, token.breaker.slow), (Duration::from_secs(9), Duration::from_secs(4)));
}

#[test]
fn a_pin_is_in_no_dump_of_the_configuration() {
    let config = good(&with(TOKEN), &[("HSM_PIN", "geheim-4711"), ("OTHER", "geheim-4712")]);
    let dump = format!("{config:?}");
    assert!(dump.contains("HSM_PIN") && !dump.contains("geheim"), "{dump}");
    assert_eq!(config.environment.get("OTHER"), None, "no other variable is kept");
}

#[test]
fn what_is_wrong_with_a_token_is_said_with_its_mend() {
    for (from, to, at, part) in [
        ("label = ", "lable = ", "tokens[0].lable", "did you mean `label`?"),
        ("pin_env = ", "pin = ", "tokens[0].pin", "did you mean `pin_"),
        ("label = \"keygate\"", "", "tokens[0]", "exactly one of `label` and `serial`"),
        ("label = ", "serial = \"1\"\nlabel = ", "tokens[0]", "exactly one of `label` and `serial`"),
        ("pin_env = ", "pin_file = \"x\"\npin_env = ", "tokens[0]", "exactly one of `pin_file` and `pin_env`"),
        ("module = \"/usr", "module = \"usr", "tokens[0]", "must be an absolute path"),
        ("label = ", "sessions = 0\nlabel = ", "tokens[0]", "`sessions` must be 1 to 256"),
        ("label = ", "breaker = { failure = 1 }\nlabel = ", "tokens[0].breaker.failure", "did you mean `failures`?"),
        ("label = ", "hang = 3\nlabel = ", "tokens[0].hang", "no unit"),
    ] {
        let loaded = load_text(&with(&TOKEN.replace(from, to)), &[]);
        let found = loaded.problems.iter().find(|problem| {
            problem.at.as_deref() == Some(at) && format!("{} {}", problem.problem, problem.mend).contains(part)
        });
        assert!(found.is_some(), "{to}: {:?}", loaded.problems);
    }
    let twice = load_text(&with(&format!("{TOKEN}{TOKEN}")), &[]).problems;
    assert_eq!(twice[0].at.as_deref(), Some("tokens[1].name"));
    let (at, ..) = wrong(&with(TOKEN), &[("KEYGATE__TOKENS__PIN_ENV", "geheim")]);
    assert!(at.starts_with("tokens"), "{at}");
}
