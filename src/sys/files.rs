//! Files read whole and bounded, and written whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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

/// Replaces `path` by `bytes`: after a crash at any instant it holds the old text or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let temporary = beside(path, "new");
    let written = write_synced(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(folder_of(path))?.sync_all());
    written.map_err(|error| format!("cannot write {}: {}", quoted(path), cause(&error)))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether a file can be made in the folder of `path`. A folder that is missing may be made later
/// by `make_folder_of`, if the one above it is there.
pub(crate) fn writable(path: &Path) -> Result<(), String> {
    let folder = folder_of(path);
    if !folder.exists() {
        let above = folder_of(folder);
        return if above.is_dir() {
            Ok(())
        } else {
            Err(format!("the folder {} does not exist; create it", quoted(folder)))
        };
    }
    if path.is_dir() {
        return Err(format!("{} is a folder, not a file", quoted(path)));
    }
    let probe = beside(path, "probe");
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe);
    made.and_then(|_| std::fs::remove_file(&probe))
        .map_err(|error| format!("cannot write in {}: {}", quoted(folder), cause(&error)))
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

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
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
