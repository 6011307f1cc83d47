//! `keygate plugin inspect`: what a component is, without running any of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use keygate_runtime::inspect::{Inspection, inspect as look};

use super::super::terminal::plain;
use super::InspectArgs;

/// Tells what a component is. Ends with 1 where this gateway could not load it, whatever its entry said.
pub(super) fn inspect(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let inspection = look(&args.file)?;
    let out = &mut io::stdout().lock();
    let name = args.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("plugin");
    let entry = inspection.entry(name, &args.file);
    if args.json {
        let mut value = serde_json::to_value(&inspection)?;
        value["entry"] = entry.into();
        writeln!(out, "{value}")?;
    } else {
        tell(&args.file, &inspection, &entry, out)?;
    }
    Ok(if inspection.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(file: &Path, found: &Inspection, entry: &str, out: &mut dyn Write) -> io::Result<()> {
    // Whoever made the component chose these names, and nobody trusts it yet.
    writeln!(out, "{}", file.display())?;
    writeln!(out, "  sha256    {}", found.sha256)?;
    writeln!(out, "  size      {} bytes, {} core modules", found.size, found.core_modules)?;
    writeln!(out, "  world     {}", found.world.unwrap_or("none that a gateway knows"))?;
    if let Some(contract) = &found.contract {
        writeln!(out, "  contract  {}", plain(contract))?;
    }
    writeln!(out, "  memory    {} bytes to begin with", found.initial_memory())?;
    let made: Vec<String> = found.producers.iter().map(|made| format!("{} {}", made.name, made.version)).collect();
    if !made.is_empty() {
        writeln!(out, "  made by   {}", plain(&made.join(", ")))?;
    }
    writeln!(out, "  imports   {}", if found.imports.is_empty() { "nothing" } else { "" })?;
    for import in &found.imports {
        let note = match (import.offered, import.grant) {
            (false, _) => "not to be had from this gateway".to_owned(),
            (true, Some(grant)) => format!("with the grant {grant}"),
            (true, None) => "types only".to_owned(),
        };
        writeln!(out, "    {:<44}  {note}", plain(&import.name))?;
    }
    for problem in &found.problems {
        writeln!(out, "  PROBLEM   {}", plain(problem))?;
    }
    if found.world.is_some() {
        writeln!(out, "\nIts entry in plugins.toml, with all that it asks for:\n")?;
        for line in entry.lines() {
            writeln!(out, "    {}", plain(line))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use keygate_runtime::inspect::{Import, Producer};

    use super::*;

    #[test]
    fn what_a_component_says_of_itself_does_not_reach_the_terminal_as_it_is() {
        let evil = "x\u{1b}[2J\u{202e}\ny".to_owned();
        let found = Inspection {
            sha256: "ab".to_owned(),
            size: 1,
            world: Some("policy-rule"),
            contract: Some(evil.clone()),
            imports: vec![Import { name: evil.clone(), version: None, offered: false, grant: None }],
            exports: Vec::new(),
            missing: Vec::new(),
            core_modules: 1,
            memories: Vec::new(),
            producers: vec![Producer { field: "language".to_owned(), name: evil.clone(), version: evil.clone() }],
            custom_sections: Vec::new(),
            problems: vec![evil.clone()],
        };
        let mut out = Vec::new();
        tell(Path::new("x.wasm"), &found, &evil, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.chars().any(|c| c == '\u{202e}' || (c.is_control() && c != '\n')), "{text:?}");
        assert_eq!(text.matches("x\u{fffd}[2J").count(), 6, "{text}");
    }
}
