//! `docs/wit-reference.md`: the contract between host and plugins as a document, made from the WIT files, so that it says
//! what they say.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use wit_parser::{Docs, Function, Handle, Interface, Resolve, Type, TypeDef, TypeDefKind, World, WorldItem, WorldKey};

use crate::project::{Project, say};

/// The packages, in the order in which the document has them: each needs only those before it.
const PACKAGES: [&str; 3] = ["host", "policy", "crypto"];

/// Where the document is, from the root.
const FILE: &str = "docs/wit-reference.md";

const HEAD: &str = "# The contract between host and plugins\n\n\
    Made from the files in `wit/` by `cargo xtask reference`: do not edit. [`plugin-authors.md`](plugin-authors.md) is the guide \
    to it.\n";

/// Writes the document anew.
///
/// # Errors
/// WIT files that cannot be read.
pub(crate) fn write() -> Result<()> {
    let project = Project::find()?;
    let file = project.root.join(FILE);
    fs::write(&file, reference(&project.root)?).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("{FILE} is written"));
    Ok(())
}

/// The document.
fn reference(root: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let mut text = String::from(HEAD);
    for name in PACKAGES {
        let directory = root.join("wit").join(name);
        let (id, _) = resolve.push_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let package = &resolve.packages[id];
        let _ = write!(text, "\n## Package `{}`\n", package.name);
        documented(&mut text, &package.docs);
        for world in package.worlds.values() {
            self::world(&mut text, &resolve, &resolve.worlds[*world]);
        }
        for interface in package.interfaces.values() {
            self::interface(&mut text, &resolve, &resolve.interfaces[*interface]);
        }
    }
    Ok(text)
}

fn documented(text: &mut String, docs: &Docs) {
    if let Some(docs) = &docs.contents {
        let _ = write!(text, "\n{}\n", docs.trim());
    }
}

/// The same in one line, for a table or a list.
fn inline(docs: &Docs) -> String {
    let words: Vec<&str> = docs.contents.as_deref().unwrap_or_default().split_whitespace().collect();
    words.join(" ")
}

fn world(text: &mut String, resolve: &Resolve, world: &World) {
    let _ = write!(text, "\n### World `{}`\n", world.name);
    documented(text, &world.docs);
    text.push('\n');
    for (verb, items) in [("imports", &world.imports), ("exports", &world.exports)] {
        for (key, item) in items {
            if let (WorldKey::Interface(_), WorldItem::Interface { .. }) = (key, item) {
                let _ = writeln!(text, "- {verb} `{}`", resolve.name_world_key(key));
            }
        }
    }
}

fn interface(text: &mut String, resolve: &Resolve, interface: &Interface) {
    let _ = write!(text, "\n### Interface `{}`\n", interface.name.as_deref().unwrap_or_default());
    documented(text, &interface.docs);
    for (name, id) in &interface.types {
        type_def(text, resolve, name, &resolve.types[*id]);
    }
    for function in interface.functions.values() {
        // `[method]token.find-key` is the encoding's way to say `token.find-key`.
        let name = function.name.split_once(']').map_or(function.name.as_str(), |(_, name)| name);
        let _ = write!(text, "\n#### `{name}`\n\n```wit\n{}\n```\n", signature(resolve, function));
        documented(text, &function.docs);
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<String> = function
        .params
        .iter()
        .map(|parameter| format!("{}: {}", parameter.name, name_of(resolve, &parameter.ty)))
        .collect();
    let result = function.result.as_ref().map(|ty| format!(" -> {}", name_of(resolve, ty))).unwrap_or_default();
    format!("{}: func({}){result};", function.item_name(), parameters.join(", "))
}

/// A type with what it is made of. One that is another interface's, and only named here, is left out.
fn type_def(text: &mut String, resolve: &Resolve, name: &str, ty: &TypeDef) {
    let parts: Vec<(String, &Docs)> = match &ty.kind {
        TypeDefKind::Type(Type::Id(other)) if resolve.types[*other].name.as_deref() == Some(name) => return,
        TypeDefKind::Record(record) => record
            .fields
            .iter()
            .map(|field| (format!("`{}: {}`", field.name, name_of(resolve, &field.ty)), &field.docs))
            .collect(),
        TypeDefKind::Variant(variant) => variant
            .cases
            .iter()
            .map(|case| {
                let of = case.ty.as_ref().map(|ty| format!("({})", name_of(resolve, ty))).unwrap_or_default();
                (format!("`{}{of}`", case.name), &case.docs)
            })
            .collect(),
        TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| (format!("`{}`", case.name), &case.docs)).collect(),
        TypeDefKind::Flags(flags) => flags.flags.iter().map(|flag| (format!("`{}`", flag.name), &flag.docs)).collect(),
        _ => Vec::new(),
    };
    let _ = write!(text, "\n#### {} `{name}`", ty.kind.as_str());
    if parts.is_empty() && !matches!(ty.kind, TypeDefKind::Resource) {
        let _ = write!(text, " = `{}`", kind(resolve, &ty.kind));
    }
    text.push('\n');
    documented(text, &ty.docs);
    if !parts.is_empty() {
        text.push('\n');
    }
    for (part, docs) in parts {
        let docs = inline(docs);
        let _ = if docs.is_empty() { writeln!(text, "- {part}") } else { writeln!(text, "- {part}: {docs}") };
    }
}

/// A type as WIT writes it where it is used.
fn name_of(resolve: &Resolve, ty: &Type) -> String {
    let name = match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::Id(id) => {
            let ty = &resolve.types[*id];
            return ty.name.clone().unwrap_or_else(|| kind(resolve, &ty.kind));
        }
    };
    name.to_owned()
}

fn kind(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let of = |ty: &Type| name_of(resolve, ty);
    let maybe = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), of);
    match kind {
        TypeDefKind::Option(ty) => format!("option<{}>", of(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", of(ty)),
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (None, None) => "result".to_owned(),
            (ok, None) => format!("result<{}>", maybe(ok)),
            (ok, err) => format!("result<{}, {}>", maybe(ok), maybe(err)),
        },
        TypeDefKind::Handle(Handle::Own(id)) => resolve.types[*id].name.clone().unwrap_or_default(),
        TypeDefKind::Handle(Handle::Borrow(id)) => {
            format!("borrow<{}>", resolve.types[*id].name.as_deref().unwrap_or_default())
        }
        TypeDefKind::Type(ty) => of(ty),
        other => other.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn the_document_says_what_the_files_say() {
        let known = fs::read_to_string(root().join(FILE)).unwrap_or_default();
        assert!(known == reference(root()).unwrap(), "{FILE} is old: run `cargo xtask reference`");
    }

    #[test]
    fn everything_in_the_contract_is_in_the_document() {
        let text = reference(root()).unwrap();
        for part in [
            "## Package `keygate:policy@0.1.0`",
            "### World `policy-rule`",
            "- exports `keygate:policy/rule@0.1.0`",
            "evaluate: func(request: request) -> result<verdict, string>;",
            "#### record `denial`",
            "- `deny(denial)`: No. The first in the chain is final.",
            "#### flags `facts`",
            "#### `token.find-key`",
        ] {
            assert!(text.contains(part), "{part:?} is missing");
        }
    }
}
