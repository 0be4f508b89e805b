//! What talks to the system: clock, kernel log device, files, environment, TLS, HTTP, systemd, log.
//!
//! Decides nothing beyond what each call needs; never names a room that composes.

pub(crate) mod certificate;
pub(crate) mod clock;
pub(crate) mod cores;
pub(crate) mod crash;
pub(crate) mod descriptors;
pub(crate) mod digest;
pub(crate) mod env;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod http;
mod http_tls;
pub(crate) mod kmsg;
pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod out;
pub(crate) mod probe;
pub(crate) mod random;
pub(crate) mod syncer;
pub(crate) mod terminal;
pub(crate) mod tls;
mod verify;
