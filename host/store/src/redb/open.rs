//! Opening the file: making it whole or not at all, and refusing what is not a store of a format known here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::error::{OpenError, Trouble};
use super::live::Live;
use super::{owner, upgrade};
use crate::schema::{META, META_FORMAT, STORE_FORMAT, STORE_FORMAT_1, Table};

/// What redb's files begin with.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// A table of bytes. Types of redb's own are avoided: they go into the file by name.
pub(super) type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The engine's table of a table of the schema.
pub(super) const fn table(table: Table) -> Bytes {
    TableDefinition::new(table.name())
}

/// The engine's table of the store's own facts.
pub(super) const META_TABLE: Bytes = TableDefinition::new(META);

/// Makes a database of an open file. Tests put a disk that fails in between.
pub(super) type Connect = Arc<dyn Fn(&Builder, FileBackend) -> Result<Database, DatabaseError> + Send + Sync>;

/// Which file, on which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

/// Opens one store, at first and again after its disk failed.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) path: PathBuf,
    pub(super) cache_bytes: usize,
    pub(super) program: String,
    pub(super) connect: Connect,
}

impl Opener {
    /// Opens the store, which is made if it is not there.
    pub(super) fn open_or_create(&self) -> Result<(Live, FileId), OpenError> {
        self.ensure_directory()?;
        if !self.path.try_exists().map_err(|source| self.io(source))? {
            self.create()?;
        }
        let (file, id) = self.open_file()?;
        Ok((self.load(file)?, id))
    }

    /// Opens the store again, which must be the file that it was.
    pub(super) fn open_again(&self, before: FileId) -> Result<Live, OpenError> {
        let (file, id) = self.open_file()?;
        // An empty file would become a new, empty store without a word.
        let length = file.metadata().map_err(|source| self.io(source))?.len();
        if id != before || length == 0 {
            return Err(OpenError::Replaced { path: self.path.clone() });
        }
        self.load(file)
    }

    /// Makes a database of the file and reads what is kept of it in memory.
    fn load(&self, file: File) -> Result<Live, OpenError> {
        let database = self.connect(file)?;
        match catch_unwind(AssertUnwindSafe(|| Live::load(database))) {
            Ok(loaded) => loaded.map_err(|trouble| self.trouble(trouble)),
            Err(_) => Err(self.gave_up()),
        }
    }

    fn ensure_directory(&self) -> Result<(), OpenError> {
        let directory = self.directory();
        if directory.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| OpenError::Directory { path: directory.to_owned(), source })?;
        for above in directory.ancestors().skip(1) {
            // Not all of them may be opened by this user, nor were all of them changed.
            drop(sync_directory(above));
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// Makes the file under another name and gives it its own when it is whole and on the disk, so that a crash in
    /// between leaves no half-made store.
    fn create(&self) -> Result<(), OpenError> {
        let mut draft = self.path.clone().into_os_string();
        draft.push(format!(".draft-{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let io = |source| self.io(source);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft).map_err(io)?;
        drop(self.connect(file)?);
        let rename = |from: &Path, to: &Path| Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?);
        put_in_place(&draft, &self.path, rename).map_err(io)?;
        // Without this the loss of power could take the name away, and every commit with it.
        sync_directory(self.directory()).map_err(io)
    }

    fn open_file(&self) -> Result<(File, FileId), OpenError> {
        let io = |source| self.io(source);
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.mode() & 0o077 != 0 {
            tracing::warn!(
                path = %self.path.display(),
                mode = format!("{:o}", metadata.mode() & 0o777),
                "others than its owner have access to the store's file; `chmod 600` it"
            );
        }
        if metadata.len() > 0 {
            let mut magic = [0; MAGIC.len()];
            match file.read_exact(&mut magic) {
                Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(io(error)),
                Ok(()) if magic == *MAGIC => {}
                _ => return Err(OpenError::NotAStore { path: self.path.clone() }),
            }
        }
        Ok((file, FileId(metadata.dev(), metadata.ino())))
    }

    /// Makes a database of the file and checks that it is a store.
    fn connect(&self, file: File) -> Result<Database, OpenError> {
        let path = self.path.clone();
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes).set_repair_callback(|session| {
            let percent = (session.progress() * 100.0) as u32;
            tracing::warn!(percent, "the store was not closed properly and is being repaired");
        });
        // redb may panic over a file that was altered behind its back.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let backend = FileBackend::new(file)?;
            let database = (self.connect)(&builder, backend)?;
            Ok::<_, DatabaseError>(self.check_format(&database).map(|()| database))
        }));
        match opened {
            Ok(Ok(checked)) => checked,
            Ok(Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) => {
                Err(OpenError::InUse { path, holder: owner::holder(&self.path) })
            }
            Ok(Err(DatabaseError::Storage(redb::StorageError::Io(source)))) => Err(OpenError::Io { path, source }),
            Ok(Err(error)) => Err(OpenError::Damaged { path, detail: error.to_string() }),
            Err(_) => Err(self.gave_up()),
        }
    }

    /// Checks that the database is a store whose format is known; an empty one becomes a store.
    fn check_format(&self, database: &Database) -> Result<(), OpenError> {
        let path = self.path.clone();
        let damaged = |detail: &str| OpenError::Damaged { path: self.path.clone(), detail: detail.to_owned() };
        match read_format(database).map_err(|trouble| self.trouble(trouble))? {
            Format::Empty => write_format(database).map_err(|trouble| self.trouble(trouble)),
            Format::Foreign => Err(OpenError::Foreign { path }),
            Format::Is(found) if found > STORE_FORMAT => Err(OpenError::Newer { path, found, known: STORE_FORMAT }),
            Format::Is(0) => Err(damaged("its format number is 0")),
            Format::Is(from) if from < STORE_FORMAT => {
                let to = STORE_FORMAT;
                let copy = self.keep_copy(from).map_err(|source| self.io(source))?;
                tracing::warn!(path = %path.display(), copy = %copy.display(), from, to, "the store is being upgraded");
                let upgraded = match from {
                    STORE_FORMAT_1 => upgrade::from_format_1(database),
                    _ => upgrade::from_format_2(database),
                };
                upgraded.map_err(|trouble| self.trouble(trouble))?;
                tracing::warn!(path = %path.display(), from, to, "the store was upgraded; older Keygates refuse it now");
                tracing::warn!(
                    copy = %copy.display(),
                    "remove the copy once you need not go back: keys that are purged from now on are in it still"
                );
                Ok(())
            }
            Format::Is(_) => Ok(()),
            Format::Unreadable => Err(damaged("its format number cannot be read")),
        }
    }

    /// Copies the file beside itself, under its name with the number of its format, for whoever has to go back. Nothing has
    /// been written to it since it was opened, but that it is open: whoever opens the copy repairs that.
    fn keep_copy(&self, format: u32) -> io::Result<PathBuf> {
        let named = |end: String| {
            let mut name = self.path.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        let (draft, copy) = (named(format!(".draft-{}", std::process::id())), named(format!(".format-{format}")));
        // With the mode of the file: for its owner alone.
        fs::copy(&self.path, &draft)?;
        File::open(&draft)?.sync_all()?;
        fs::rename(&draft, &copy)?;
        sync_directory(self.directory())?;
        Ok(copy)
    }

    fn gave_up(&self) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), detail: "the engine gave up over it".to_owned() }
    }

    fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io { path: self.path.clone(), source }
    }

    fn trouble(&self, trouble: Trouble) -> OpenError {
        let path = self.path.clone();
        match trouble {
            Trouble::Refused(error) => OpenError::Damaged { path, detail: error.to_string() },
            Trouble::Engine(error) => match *error {
                redb::Error::Io(source) => OpenError::Io { path, source },
                other => OpenError::Damaged { path, detail: other.to_string() },
            },
        }
    }
}

/// Gives a draft its own name, unless a file has that name already: another process may have been quicker, and then its
/// file stays, and is opened or found to be in use. The draft's name goes in either case.
///
/// `rename` renames without replacing. Some file systems cannot; a hard link never replaces anything either.
pub(super) fn put_in_place(
    draft: &Path,
    path: &Path,
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let taken = |error: &io::Error| error.kind() == ErrorKind::AlreadyExists;
    let placed = match rename(draft, path) {
        Ok(()) => return Ok(()),
        Err(error) if taken(&error) => Ok(()),
        Err(renamed) => match fs::hard_link(draft, path) {
            Err(linked) if !taken(&linked) => Err(io::Error::new(
                linked.kind(),
                format!("the new file could neither be renamed ({renamed}) nor linked ({linked}) into its place"),
            )),
            _ => Ok(()),
        },
    };
    let removed = fs::remove_file(draft);
    placed.and(removed)
}

/// Makes the names in a directory survive the loss of power.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// What a database says it is.
enum Format {
    /// Nothing yet.
    Empty,
    /// A store of this format.
    Is(u32),
    /// A store, but of which format?
    Unreadable,
    /// Something else.
    Foreign,
}

fn read_format(database: &Database) -> Result<Format, Trouble> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META_TABLE) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            let empty =
                transaction.list_tables()?.next().is_none() && transaction.list_multimap_tables()?.next().is_none();
            return Ok(if empty { Format::Empty } else { Format::Foreign });
        }
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(Format::Foreign),
    };
    let format = meta.get(META_FORMAT)?;
    Ok(match format.map(|format| <[u8; 4]>::try_from(format.value())) {
        Some(Ok(format)) => Format::Is(u32::from_be_bytes(format)),
        Some(Err(_)) => Format::Unreadable,
        // Whoever has a table of this name and no format in it is not a store.
        None => Format::Foreign,
    })
}

fn write_format(database: &Database) -> Result<(), Trouble> {
    let transaction = super::writer::begin(database)?;
    upgrade::make_tables(&transaction)?;
    transaction.commit()?;
    Ok(())
}
