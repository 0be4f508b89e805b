//! The kernel log device, or a file of records in its format.
//!
//! One `read` of the device is one record. Two processes never disturb each other: each open file
//! has its own place in the ring. A file that is not the device is read record by record in the
//! same way, for demonstrations and for logs from elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

use super::files;
use crate::kernel::{BootId, RECORD_BYTES_MAX};

/// Character device 1:11 (the kernel's `Documentation/admin-guide/devices.txt`).
const KMSG_DEVICE: (u32, u32) = (1, 11);

pub(crate) struct Kmsg {
    path: PathBuf,
    source: Source,
}

enum Source {
    Device {
        file: File,
        buffer: Box<[u8; RECORD_BYTES_MAX]>,
    },
    /// `next` is the first line of the record after the last; `begun` a line that is being written.
    File {
        lines: BufReader<File>,
        next: Vec<u8>,
        begun: Vec<u8>,
    },
}

/// What one read gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Record(String),
    /// Nothing more for now.
    End,
    /// The kernel overwrote what came next; the sequence numbers tell how much.
    Overrun,
}

impl Kmsg {
    /// Takes the device from fd 0 where systemd has put it there; else opens `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        if path == Path::new("/dev/kmsg") && is_kmsg(io::stdin()) {
            let file = inherited().map_err(|error| {
                OpenError::Failed(format!(
                    "cannot read the kernel log on fd 0: {}",
                    files::cause(&error)
                ))
            })?;
            return Ok(Self::device(Path::new("fd 0"), file));
        }
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32)
            .open(path);
        match opened {
            Ok(file) if is_kmsg(&file) => Ok(Self::device(path, file)),
            Ok(file) if file.metadata().is_ok_and(|meta| !meta.file_type().is_dir()) => {
                let lines = BufReader::new(file);
                let source = Source::File { lines, next: Vec::new(), begun: Vec::new() };
                Ok(Self { path: path.into(), source })
            }
            Ok(_) => Err(OpenError::Failed(format!("{} is a folder", files::quoted(path)))),
            Err(error) => Err(OpenError::new(path, &error)),
        }
    }

    fn device(path: &Path, file: File) -> Self {
        let buffer = Box::new([0; RECORD_BYTES_MAX]);
        Self { path: path.into(), source: Source::Device { file, buffer } }
    }

    /// Whether this is the running kernel's ring.
    pub(crate) fn is_device(&self) -> bool {
        matches!(self.source, Source::Device { .. })
    }

    /// The boot that a file's records belong to, told by its first line.
    pub(crate) fn boot_of_file(&self) -> Result<BootId, String> {
        let mut first = Vec::new();
        let opened = File::open(&self.path);
        let read = opened.and_then(|file| {
            BufReader::new(file).take(RECORD_BYTES_MAX as u64).read_until(b'\n', &mut first)
        });
        read.map_err(|error| {
            format!("cannot read {}: {}", files::quoted(&self.path), files::cause(&error))
        })?;
        Ok(BootId::from_digest(&super::digest::sha256(&[&first])))
    }

    pub(crate) fn read(&mut self) -> Result<Reading, String> {
        let reading = match &mut self.source {
            Source::Device { file, buffer } => read_device(file, buffer.as_mut_slice()),
            Source::File { lines, next, begun } => read_file(lines, next, begun),
        };
        reading.map_err(|error| {
            format!("cannot read {}: {}", files::quoted(&self.path), files::cause(&error))
        })
    }

    /// Waits until there is something to read, for at most `limit`. A file never says so: `false`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let Source::Device { file, .. } = &self.source else {
            super::clock::sleep(limit);
            return false;
        };
        let mut waited = [PollFd::new(file, PollFlags::IN)];
        let limit = rustix::time::Timespec::try_from(limit).ok();
        match rustix::event::poll(&mut waited, limit.as_ref()) {
            Ok(ready) => ready > 0,
            // A signal; or no memory, when sleeping is better than turning.
            Err(rustix::io::Errno::INTR) => false,
            Err(_) => {
                super::clock::sleep(Duration::from_millis(100));
                true
            }
        }
    }

    /// Back to the oldest record that is still there.
    pub(crate) fn rewind(&mut self) -> Result<(), String> {
        let moved = match &mut self.source {
            Source::Device { file, .. } => file.seek(SeekFrom::Start(0)),
            Source::File { lines, next, begun } => {
                next.clear();
                begun.clear();
                lines.seek(SeekFrom::Start(0))
            }
        };
        moved.map(drop).map_err(|error| {
            format!("cannot rewind {}: {}", files::quoted(&self.path), files::cause(&error))
        })
    }
}

/// Under the unit's sandbox there is no device to be opened.
const HANDED_OVER: &str = "hands it over by StandardInput=file:/dev/kmsg";

/// Why the kernel log cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    Permission(String),
    Failed(String),
}

impl OpenError {
    fn new(path: &Path, error: &io::Error) -> Self {
        let shown = format!("cannot open {}: {}", files::quoted(path), files::cause(error));
        match error.kind() {
            ErrorKind::PermissionDenied => Self::Permission(format!(
                "{shown}; run as root or grant CAP_SYSLOG; a unit {HANDED_OVER}"
            )),
            ErrorKind::NotFound => {
                Self::Failed(format!("{shown}; a unit {HANDED_OVER}; most containers have none"))
            }
            _ => Self::Failed(shown),
        }
    }
}

fn is_kmsg(file: impl AsFd) -> bool {
    let Ok(owned) = file.as_fd().try_clone_to_owned() else { return false };
    File::from(owned).metadata().is_ok_and(|meta| {
        let device = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        meta.file_type().is_char_device() && device == KMSG_DEVICE
    })
}

/// fd 0, made non-blocking: permission was checked when systemd opened it.
fn inherited() -> io::Result<File> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags | OFlags::NONBLOCK)?;
    Ok(file)
}

fn read_device(file: &mut File, buffer: &mut [u8]) -> io::Result<Reading> {
    loop {
        return match file.read(buffer) {
            Ok(0) => Ok(Reading::End),
            Ok(length) => Ok(Reading::Record(printable(&buffer[..length]))),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Ok(Reading::End),
                ErrorKind::BrokenPipe => Ok(Reading::Overrun),
                // The kernel has consumed a record that our buffer could not hold: also a gap.
                ErrorKind::InvalidInput => Ok(Reading::Overrun),
                ErrorKind::Interrupted => continue,
                _ => Err(error),
            },
        };
    }
}

/// The kernel promises printable ASCII; should it ever break that, the bytes are kept its own way.
fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes
            .iter()
            .map(|byte| match byte {
                0x80.. => format!("\\x{byte:02x}"),
                byte => char::from(*byte).to_string(),
            })
            .collect(),
    }
}

/// A record is a line and the lines after it that start with a space. A line without its end is
/// still being written: it waits for the rest.
fn read_file(
    lines: &mut BufReader<File>,
    next: &mut Vec<u8>,
    begun: &mut Vec<u8>,
) -> io::Result<Reading> {
    let mut record = std::mem::take(next);
    loop {
        let mut line = std::mem::take(begun);
        let room = RECORD_BYTES_MAX.saturating_sub(line.len()) as u64;
        lines.by_ref().take(room).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") && line.len() < RECORD_BYTES_MAX {
            *begun = line;
            let end = record.is_empty();
            return Ok(if end { Reading::End } else { Reading::Record(printable(&record)) });
        }
        if line == b"\n" {
            continue;
        }
        if !record.is_empty() && line[0] != b' ' {
            *next = line;
            return Ok(Reading::Record(printable(&record)));
        }
        if record.len() + line.len() <= RECORD_BYTES_MAX {
            record.append(&mut line);
        }
    }
}
