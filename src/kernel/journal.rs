//! An entry as `journalctl -o verbose` writes it: a head, and a ` KEY=value` line for each field.
//!
//! Owns which fields make a record of it. Pure; `text` drives it.

use super::prefix::KERNEL;
use super::record::Level;
use super::{Record, escape_controls};

/// Of whom the journal has no more than that he is not the kernel.
const USER: u16 = 1;

/// Whether it is what stands behind the stamp of an entry's head: `[s=6ab7...;i=2;b=...]`.
pub(super) fn is_entry(text: &str) -> bool {
    text.starts_with("[s=") && text.ends_with(']')
}

/// Whether the line is a field of the entry that the record is of.
pub(super) fn take_field(record: &mut Record, line: &str) -> bool {
    let Some((key, value)) = line.trim_start().split_once('=') else { return false };
    let of_key = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    // Further lines of a message stand further to the right than its key.
    let indented = line.len() - line.trim_start().len();
    if !(1..=INDENT_MAX).contains(&indented) || key.is_empty() || !key.bytes().all(of_key) {
        return false;
    }
    match key {
        "MESSAGE" => record.text = escape_controls(value),
        "_TRANSPORT" if value == "kernel" => record.facility = Some(KERNEL),
        "_TRANSPORT" => record.facility = Some(USER),
        "PRIORITY" => record.level = value.parse().ok().map(Level::from_prefix),
        "_SOURCE_MONOTONIC_TIMESTAMP" => record.usec = value.parse().ok(),
        _ => {}
    }
    true
}

const INDENT_MAX: usize = 4;
