//! Kernel records: one record parsed from any usual form, deltas of them, and the cursor's
//! arithmetic.
//!
//! Pure: opens nothing, reads no clock. `agent` drives `head` and `cursor`, `collector` drives
//! `delta`,
//! `analyze` drives `text`.

mod boot;
mod clock;
mod cursor;
mod delta;
mod event;
mod event_form;
mod journal;
mod prefix;
mod record;
mod tag;
mod text;
mod trace;

pub(crate) use boot::BootId;
pub(crate) use clock::BootClock;
pub(crate) use cursor::{Cursor, Seq, SeqRange, State, Step};
pub(crate) use delta::{Delta, Loss, LossReason};
pub(crate) use event::{Event, events};
pub(crate) use record::{
    Caller, Head, Level, Origin, Record, RecordError, escape_controls, is_unprintable,
};
pub(crate) use text::{Log, read_log};

/// The longest record that any kernel gives: 8192 bytes on old ones, 2048 on recent ones. A buffer
/// that is too small makes the kernel consume the record, so ours is twice the longest.
pub(crate) const RECORD_BYTES_MAX: usize = 16 * 1024;
