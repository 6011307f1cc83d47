//! What a component is and what it would need, told without running or compiling any of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{KnownCustom, Parser, Payload, ProducersSectionReader, Validator, WasmFeatures};

use crate::contract::{BackendContract, Contract, RuleContract};
use crate::host::wasi;
use crate::loader::{component, file};
use crate::manifest::{Grants, PluginLimits, World};

/// A page of linear memory, in bytes.
const PAGE: u64 = 65_536;
/// A MiB, in bytes.
const MIB: u64 = 1 << 20;

/// What there is to know of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Its size, in bytes.
    pub size: u64,
    /// The world that it is for, by what it exports; `None` when it exports neither contract.
    pub world: Option<&'static str>,
    /// The contract that it fulfils, with its version.
    pub contract: Option<String>,
    /// What it imports.
    pub imports: Vec<Import>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Functions of its contract that it does not have.
    pub missing: Vec<String>,
    /// The core modules in it.
    pub core_modules: usize,
    /// Their memories.
    pub memories: Vec<Memory>,
    /// What it was made with: languages, compilers, tools.
    pub producers: Vec<Producer>,
    /// The names and sizes of the custom sections, in bytes, by size.
    pub custom_sections: Vec<(String, u64)>,
    /// What keeps this gateway from loading it, whatever its entry says.
    pub problems: Vec<String>,
}

/// Something that a component imports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// Its whole name.
    pub name: String,
    /// The version in it.
    pub version: Option<String>,
    /// Whether this gateway offers it in a version that fits.
    pub offered: bool,
    /// The grant that it takes. None where only types are imported, or where there is no such grant.
    pub grant: Option<&'static str>,
}

/// A memory of a core module, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What it starts with.
    pub initial_pages: u64,
    /// What it may grow to, as far as the module says.
    pub maximum_pages: Option<u64>,
}

/// A tool that a part of the component was made with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Producer {
    /// `language`, `processed-by` or `sdk`.
    pub field: String,
    /// Its name.
    pub name: String,
    /// Its version, as it says.
    pub version: String,
}

/// Why a file cannot be looked into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// It cannot be read.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// It is something else.
    #[error("{0}; {1}")]
    NoComponent(&'static str, &'static str),
    /// It looks like one, and is damaged or uses what nobody knows.
    #[error("the component is not valid: {0}; build it again")]
    Invalid(String),
}

/// Looks into a file.
///
/// # Errors
/// When it cannot be read, or is no component.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let unreadable = |problem| InspectError::Unreadable { path: path.to_owned(), problem };
    inspect_bytes(&file::read_bytes(path).map_err(unreadable)?)
}

/// Looks into the bytes of a component.
///
/// # Errors
/// When they are none.
pub fn inspect_bytes(bytes: &[u8]) -> Result<Inspection, InspectError> {
    file::kind(bytes).map_err(|(problem, mend)| InspectError::NoComponent(problem, mend))?;
    let invalid = |e: wasmparser::BinaryReaderError| InspectError::Invalid(e.to_string());
    let types = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).map_err(invalid)?;
    let parts = Parts::read(bytes).map_err(invalid)?;
    let mut inspection = Inspection {
        sha256: Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
        size: bytes.len() as u64,
        world: None,
        contract: None,
        imports: Vec::new(),
        exports: parts.exports,
        missing: Vec::new(),
        core_modules: parts.core_modules,
        memories: parts.memories,
        producers: parts.producers,
        custom_sections: parts.custom_sections,
        problems: Vec::new(),
    };
    let world = inspection.find_contract(&types, &parts.imports);
    for name in &parts.imports {
        let used = types.component_item_for_import(name).is_none_or(|item| wants_something(&types, item.ty));
        inspection.take_import(name, used, world);
    }
    Ok(inspection)
}

impl Inspection {
    /// What an entry in `plugins.toml` would look like. It grants all that the component asks for: whether it should have
    /// it is the operator's to say.
    pub fn entry(&self, name: &str, file: &Path) -> String {
        let mut grants: Vec<&str> = self.imports.iter().filter_map(|import| import.grant).collect();
        grants.sort_unstable();
        grants.dedup();
        let grants: Vec<String> = grants
            .into_iter()
            .map(|grant| match grant {
                "secrets" => "secrets = [\"NAME\"]".to_owned(),
                "pkcs11" => "pkcs11 = [\"TOKEN\"]".to_owned(),
                other => format!("{other} = true"),
            })
            .collect();
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let mut entry = format!(
            "[[plugins]]\nname = {}\nfile = {}\nsha256 = \"{}\"\nworld = \"{}\"\n",
            text(name),
            text(&file.display().to_string()),
            self.sha256,
            self.world.unwrap_or("WORLD"),
        );
        if !grants.is_empty() {
            let _ = writeln!(entry, "grants = {{ {} }}", grants.join(", "));
        }
        if let Some(memory) = self.memory_wanted() {
            let _ = writeln!(entry, "limits = {{ memory = \"{}MiB\" }}", memory / MIB);
        }
        entry
    }

    /// What its memories start with, in bytes.
    pub fn initial_memory(&self) -> u64 {
        self.memories.iter().map(|memory| memory.initial_pages.saturating_mul(PAGE)).sum()
    }

    /// A limit of memory to begin with, where the default leaves no room beside what it starts with.
    fn memory_wanted(&self) -> Option<u64> {
        let initial = self.initial_memory();
        let default = PluginLimits::default().memory as u64;
        (initial.saturating_mul(2) > default).then(|| initial.saturating_mul(2).next_multiple_of(16 * MIB))
    }

    /// Finds the contract that it fulfils, and what is missing of it.
    fn find_contract(&mut self, types: &Types, imports: &[String]) -> Option<World> {
        let of = |interface: &str| self.exports.iter().find(|name| component::split(name).0 == interface).cloned();
        let (world, contract, version, functions) = match (of(RuleContract::EXPORT), of(BackendContract::EXPORT)) {
            (Some(name), _) => (World::PolicyRule, name, RuleContract::VERSION, RuleContract::functions()),
            (None, Some(name)) => {
                let pkcs11 = imports.iter().any(|name| component::split(name).0 == "keygate:host/pkcs11");
                let world = if pkcs11 { World::HsmBackend } else { World::SoftwareBackend };
                (world, name, BackendContract::VERSION, BackendContract::functions())
            }
            (None, None) => {
                let (rule, backend) = (RuleContract::EXPORT, BackendContract::EXPORT);
                self.problems.push(format!("it exports neither `{rule}` nor `{backend}`, so it is no plugin"));
                return None;
            }
        };
        let (interface, found) = component::split(&contract);
        if component::compatible(found, version) {
            let instance = types.component_item_for_export(&contract).map(|item| item.ty);
            if let Some(ComponentEntityType::Instance(id)) = instance {
                let has = &types[id].exports;
                let lacks = |name: &&str| !has.contains_key(*name);
                self.missing = functions.into_iter().filter(lacks).map(str::to_owned).collect();
            }
            if !self.missing.is_empty() {
                let missing = self.missing.join("`, `");
                self.problems.push(format!("its `{interface}` lacks `{missing}`; {}", component::REBUILD));
            }
        } else {
            self.problems.push(component::other_version("exports", interface, found, version));
        }
        self.world = Some(world.as_str());
        self.contract = Some(contract);
        Some(world)
    }

    fn take_import(&mut self, name: &str, used: bool, world: Option<World>) {
        let (interface, version) = component::split(name);
        let grant = match interface.strip_prefix("keygate:host/") {
            _ if !used => None,
            _ if wasi::interface(name).is_some() => Some(wasi::GRANT),
            Some(capability) => component::capability(capability),
            None => None,
        };
        let world = world.unwrap_or(World::SoftwareBackend);
        let problem = used.then(|| component::import_problem(world, &everything(), name)).flatten();
        let offered = problem.is_none();
        self.problems.extend(problem.map(|(_, problem, mend)| format!("{problem}; {mend}")));
        let version = Some(version.to_owned()).filter(|version| !version.is_empty());
        self.imports.push(Import { name: name.to_owned(), version, offered, grant });
    }
}

/// Every grant there is.
fn everything() -> Grants {
    Grants {
        log: true,
        random: true,
        clock: true,
        wasi_minimal: true,
        secrets: vec![String::new()],
        pkcs11: vec![String::new()],
        pkcs11_transport: true,
    }
}

/// Types are only named by an import; functions and resources have to come from somewhere.
fn wants_something(types: &Types, item: ComponentEntityType) -> bool {
    match item {
        ComponentEntityType::Type { referenced, .. } => {
            matches!(referenced, wasmparser::component_types::ComponentAnyTypeId::Resource(_))
        }
        ComponentEntityType::Instance(id) => types[id].exports.values().any(|item| wants_something(types, item.ty)),
        _ => true,
    }
}

/// What reading a component from its beginning to its end shows.
#[derive(Default)]
struct Parts {
    imports: Vec<String>,
    exports: Vec<String>,
    core_modules: usize,
    memories: Vec<Memory>,
    producers: Vec<Producer>,
    custom_sections: Vec<(String, u64)>,
}

impl Parts {
    fn read(bytes: &[u8]) -> wasmparser::Result<Self> {
        let mut parts = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } => {
                    parts.core_modules += 1;
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        parts.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        parts.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        let memory = memory?;
                        let (initial_pages, maximum_pages) = (memory.initial, memory.maximum);
                        parts.memories.push(Memory { initial_pages, maximum_pages });
                    }
                }
                Payload::CustomSection(section) => {
                    parts.custom_sections.push((section.name().to_owned(), section.data().len() as u64));
                    if let KnownCustom::Producers(producers) = section.as_known() {
                        // What is in there is a hint: one that cannot be read is left out.
                        let _ = parts.take_producers(producers);
                    }
                }
                _ => {}
            }
        }
        parts.producers.sort();
        parts.producers.dedup();
        parts.custom_sections.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(parts)
    }

    fn take_producers(&mut self, fields: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in fields {
            let field = field?;
            for value in field.values {
                let value = value?;
                let (name, version) = (value.name.to_owned(), value.version.to_owned());
                self.producers.push(Producer { field: field.name.to_owned(), name, version });
            }
        }
        Ok(())
    }
}
