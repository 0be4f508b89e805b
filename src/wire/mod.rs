//! The contract between agent and collector: what is posted to /ingest, and what is answered.
//!
//! Pure. `agent` encodes posts and decodes answers, `collector` the other way round; this is the
//! only place where the two meet. Everything is re-checked here: an agent is a stranger too.

mod host;
mod key;
mod post;
mod reply;

pub(crate) use host::HostName;
pub(crate) use key::{HostKey, MAC_BYTES};
pub(crate) use post::{Content, Outgoing, POST_BYTES_MIN, Post, line_bytes};
pub(crate) use reply::{Reply, ReplyStatus, error_body};

/// The path that agents post to.
pub(crate) const INGEST_PATH: &str = "/ingest";
/// The largest body that a collector takes unless it is configured otherwise.
pub(crate) const PAYLOAD_BYTES_DEFAULT: u64 = 1024 * 1024;
