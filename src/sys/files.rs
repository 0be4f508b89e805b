//! Files read whole and bounded, and written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::crash;

/// What changes when a file is written or replaced: device, inode, size, and the time (in seconds
/// and nanoseconds) of its last change of any kind, which no program can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([i64; 5]);

/// `None`: it cannot be looked at.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    let (device, inode, size) = (data.dev() as i64, data.ino() as i64, data.size() as i64);
    Some(Stamp([device, inode, size, data.ctime(), data.ctime_nsec()]))
}

/// A path as messages show it.
pub(crate) fn quoted(path: &Path) -> String {
    format!("\"{}\"", crate::kernel::escape_controls(&path.to_string_lossy()))
}

/// Reads a file of at most `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let failed = |error| format!("cannot read {}: {}", quoted(path), cause(&error));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{} is larger than {bytes_max} bytes", quoted(path)));
    }
    Ok(bytes)
}

/// As `read`, of a file that something makes: where it is not there, `maker` is told as well.
pub(crate) fn read_made(path: &Path, bytes_max: u64, maker: &str) -> Result<Vec<u8>, String> {
    let told = |reason: String| if is_missing(&reason) { reason + "; " + maker } else { reason };
    read(path, bytes_max).map_err(told)
}

/// Whether a reason is that nothing is there.
pub(crate) fn is_missing(reason: &str) -> bool {
    reason.ends_with("no such file or directory")
}

/// Whether a reason is that somebody else may.
pub(crate) fn is_forbidden(reason: &str) -> bool {
    reason.ends_with("permission denied")
}

/// Replaces `path` by `bytes`: after a crash at any instant it holds the old text or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let temporary = beside(path, "new");
    let written = write_synced(&temporary, bytes).and_then(|()| {
        crash::point("before the rename");
        std::fs::rename(&temporary, path)?;
        crash::point("after the rename");
        sync_folder(folder_of(path))
    });
    written.map_err(|error| format!("cannot write {}: {}", quoted(path), cause(&error)))
}

/// Makes a file that is not there, whole and with this mode, whatever the umask is: `false` where
/// one is there, which stays as it is.
pub(crate) fn make(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, String> {
    // Not by the link alone: who may not write in the folder may still find all there.
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    written_shared(path, bytes, mode, |temporary| {
        let linked = std::fs::hard_link(temporary, path);
        std::fs::remove_file(temporary)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    })
}

/// As `replace`, for a file that others read.
pub(crate) fn replace_shared(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, String> {
    written_shared(path, bytes, mode, |temporary| std::fs::rename(temporary, path).map(|()| true))
}

/// The name of what is not whole yet is nobody's: a file `api_key.new` may be an operator's.
fn written_shared(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    put: impl FnOnce(&Path) -> io::Result<bool>,
) -> Result<bool, String> {
    let temporary = beside(path, "tasseograph-init");
    let written = write_synced(&temporary, bytes).and_then(|()| {
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
        let put = put(&temporary)?;
        sync_folder(folder_of(path))?;
        Ok(put)
    });
    written.map_err(|error| format!("cannot write {}: {}", quoted(path), cause(&error)))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder's new and removed names survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Cuts a file off at `bytes`, for good.
pub(crate) fn truncate(path: &Path, bytes: u64) -> Result<(), String> {
    let file = OpenOptions::new().write(true).open(path);
    let cut = file.and_then(|file| {
        file.set_len(bytes)?;
        file.sync_all()
    });
    cut.map_err(|error| format!("cannot cut {}: {}", quoted(path), cause(&error)))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), String> {
    let renamed = std::fs::rename(from, to);
    renamed.map_err(|error| format!("cannot rename {}: {}", quoted(from), cause(&error)))
}

pub(crate) fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {}", quoted(path), cause(&error)))
        }
        _ => Ok(()),
    }
}

pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error| format!("cannot read {}: {}", quoted(folder), cause(&error));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    Ok(names)
}

/// Adds a line to a file for people to look into, unless it holds `bytes_max` already: `false`.
pub(crate) fn append_line(path: &Path, line: &str, bytes_max: u64) -> Result<bool, String> {
    if path.metadata().is_ok_and(|file| file.len() >= bytes_max) {
        return Ok(false);
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(line.trim_end().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    let written = written.map(|()| true);
    written.map_err(|error| format!("cannot write {}: {}", quoted(path), cause(&error)))
}

/// Holds a lock for as long as the file lives: `None` when another process holds it.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, String> {
    let failed = |error: io::Error| format!("cannot lock {}: {}", quoted(path), cause(&error));
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = opened.map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(failed(error.into())),
    }
}

/// Whether a file can be made in the folder of `path`. A folder that is missing may be made later
/// by `make_folder_of`, if the one above it is there.
pub(crate) fn writable(path: &Path) -> Result<(), String> {
    let folder = folder_of(path);
    if !folder.exists() {
        let above = folder_of(folder);
        if !above.is_dir() {
            return Err(format!("the folder {} does not exist; create it", quoted(folder)));
        }
        let may = rustix::fs::access(above, rustix::fs::Access::WRITE_OK);
        return may.map_err(|error| {
            format!("cannot make the folder {}: {}", quoted(folder), cause(&error.into()))
        });
    }
    if path.is_dir() {
        return Err(format!("{} is a folder, not a file", quoted(path)));
    }
    let probe = beside(path, "probe");
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe);
    made.and_then(|_| std::fs::remove_file(&probe)).map_err(|error| {
        let mend = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing, or name another folder",
            _ => "",
        };
        format!("cannot write in {}: {}{mend}", quoted(folder), cause(&error))
    })
}

/// Makes the folder that `path` lies in, for this user alone.
pub(crate) fn make_folder_of(path: &Path) -> Result<(), String> {
    make_private_folder(folder_of(path))
}

pub(crate) fn make_private_folder(folder: &Path) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make the folder {}: {}", quoted(folder), cause(&error)))
        }
        _ => Ok(()),
    }
}

/// A folder that others may look into, whatever the umask is; one that is there stays as it is.
pub(crate) fn make_shared_folder(folder: &Path) -> Result<(), String> {
    let made = match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => Err(error),
        Ok(()) => std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)),
    };
    made.map_err(|error| format!("cannot make the folder {}: {}", quoted(folder), cause(&error)))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `path` with `.ending` behind its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    path.with_file_name(name)
}

/// What went wrong, in the words of the field, without std's "(os error 2)".
pub(crate) fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => "unknown error".to_owned(),
    }
}
