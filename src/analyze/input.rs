//! What `tasseograph analyze` reads: a file, stdin or this host's ring, whole and bounded, and no
//! file that is no kernel log.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::cli::Input;
use crate::exit::Exit;
use crate::sys::files;
use crate::sys::kmsg::{Kmsg, OpenError, Reading};

/// A year of a noisy host; what is larger is no kernel log.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A record takes some 200 bytes of memory beside its text.
const LOG_LINES_MAX: usize = 3_000_000;

/// Its name, for people, and what it holds.
pub(super) fn read(input: &Input) -> Result<(String, Vec<u8>), (Exit, String)> {
    match input {
        Input::Ring => read_ring().map(|bytes| ("this host's kernel log".to_owned(), bytes)),
        Input::Stdin => {
            let bytes = read_all(std::io::stdin().lock())
                .map_err(|why| (Exit::Failed, format!("cannot read stdin: {why}")))?;
            Ok(("stdin".to_owned(), bytes))
        }
        Input::File(path) => {
            let shown = files::quoted(path);
            let file = File::open(path).map_err(|error| files::cause(&error));
            let bytes = file
                .and_then(read_all)
                .map_err(|why| (Exit::Failed, format!("cannot read {shown}: {why}")))?;
            Ok((path.display().to_string(), bytes))
        }
    }
}

fn read_all(from: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = from.take(LOG_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| files::cause(&error))?;
    if bytes.len() as u64 > LOG_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", LOG_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

fn read_ring() -> Result<Vec<u8>, (Exit, String)> {
    let mut kmsg = Kmsg::open(Path::new("/dev/kmsg")).map_err(|error| match error {
        OpenError::Permission(reason) => (Exit::Permission, reason),
        OpenError::Failed(reason) => (Exit::Failed, reason),
    })?;
    let mut bytes = Vec::new();
    loop {
        match kmsg.read().map_err(|reason| (Exit::Failed, reason))? {
            Reading::Record(record) => bytes.extend_from_slice(record.as_bytes()),
            // The numbers of the records tell how many are missing.
            Reading::Overrun => {}
            Reading::End => return Ok(bytes),
        }
    }
}

/// A compressed or binary file would be judged, and found to be fine.
pub(super) fn text_at_all(bytes: &[u8]) -> Result<(), String> {
    let packed = PACKED.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, tool)) = packed {
        return Err(format!("it is compressed; try: {tool} FILE | tasseograph analyze -"));
    }
    if is_json(bytes) {
        return Err("it is JSON; take journalctl without -o json, dmesg without --json".to_owned());
    }
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    // Escapes colour a log, and some tools put a NUL between records.
    let foreign =
        |byte: &&u8| matches!(byte, 0x01..=0x08 | 0x0b | 0x0c | 0x0e..=0x1a | 0x1c..=0x1f);
    let foreign = sample.iter().filter(foreign).count();
    let nuls = sample.iter().filter(|byte| **byte == 0).count();
    if foreign > sample.len() / 50 || nuls > sample.len() / 4 {
        return Err("it is not text in UTF-8 or ASCII".to_owned());
    }
    let count = |byte| memchr::memchr_iter(byte, bytes).count();
    if (count(b'\n') + count(0)).max(count(b'\r')) > LOG_LINES_MAX {
        return Err(format!("it has more than {LOG_LINES_MAX} lines; take a part of it"));
    }
    Ok(())
}

/// `{"`, with white space between; firmware's `{7}[Hardware Error]` is none.
fn is_json(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.trim_ascii_start().strip_prefix(b"{") else { return false };
    rest.trim_ascii_start().starts_with(b"\"")
}

/// How compressed files begin, and what unpacks them.
const PACKED: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "zcat"),
    (b"\xfd7zXZ\0", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "zstdcat"),
    (b"BZh", "bzcat"),
];
const SAMPLE_BYTES: usize = 64 * 1024;
