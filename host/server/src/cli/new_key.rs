//! `keygate iam new-key`

use std::io::{self, Write};
use std::process::ExitCode;

use crate::iam::ApiKey;
use crate::system::OsEntropy;

/// Makes an API key and prints it: the only time that anybody sees it.
pub(super) fn new_key(json: bool) -> anyhow::Result<ExitCode> {
    print(&ApiKey::generate(&OsEntropy)?, json, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn print(key: &ApiKey, json: bool, out: &mut dyn Write) -> io::Result<()> {
    let (text, hash) = (key.text(), key.hash());
    if json {
        return writeln!(out, "{}", serde_json::json!({"api_key": text.expose(), "hash": hash.to_string()}));
    }
    writeln!(out, "API key (give it to its owner; it is not shown again):\n  {}", text.expose())?;
    writeln!(out, "hash (add it to the identity's `api_key_hashes` in plugins.toml):\n  {hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_belongs_together() {
        let key = ApiKey::from_bytes([3; 32]);
        let mut out = Vec::new();
        print(&key, true, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let parsed = ApiKey::parse(value["api_key"].as_str().unwrap()).unwrap();
        assert_eq!(parsed.hash().to_string(), value["hash"].as_str().unwrap());
        let mut out = Vec::new();
        print(&key, false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(key.text().expose()) && text.contains(&key.hash().to_string()));
    }
}
