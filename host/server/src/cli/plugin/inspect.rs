//! `keygate plugin inspect`: what a component is, without running any of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use keygate_runtime::inspect::{Inspection, inspect as look};

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
    writeln!(out, "{}", file.display())?;
    writeln!(out, "  sha256    {}", found.sha256)?;
    writeln!(out, "  size      {} bytes, {} core modules", found.size, found.core_modules)?;
    writeln!(out, "  world     {}", found.world.unwrap_or("none that a gateway knows"))?;
    if let Some(contract) = &found.contract {
        writeln!(out, "  contract  {contract}")?;
    }
    writeln!(out, "  memory    {} bytes to begin with", found.initial_memory())?;
    let made: Vec<String> = found.producers.iter().map(|made| format!("{} {}", made.name, made.version)).collect();
    if !made.is_empty() {
        writeln!(out, "  made by   {}", made.join(", "))?;
    }
    writeln!(out, "  imports   {}", if found.imports.is_empty() { "nothing" } else { "" })?;
    for import in &found.imports {
        let note = match (import.offered, import.grant) {
            (false, _) => "not to be had from this gateway".to_owned(),
            (true, Some(grant)) => format!("with the grant {grant}"),
            (true, None) => "types only".to_owned(),
        };
        writeln!(out, "    {:<44}  {note}", import.name)?;
    }
    for problem in &found.problems {
        writeln!(out, "  PROBLEM   {problem}")?;
    }
    if found.world.is_some() {
        writeln!(out, "\nIts entry in plugins.toml, with all that it asks for:\n")?;
        for line in entry.lines() {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}
