//! The answer to a post. Only a 200 with this body counts: a captive portal's 200 does not.

use serde::{Deserialize, Serialize};

use crate::kernel::Seq;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyStatus {
    /// On disk.
    Stored,
    /// Nothing of it was new.
    Duplicate,
    /// A heartbeat: there was nothing to store.
    Skipped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: ReplyStatus,
    /// Where the agent is to go on; `None` for the older form, which has no sequence numbers.
    pub(crate) next_seq: Option<Seq>,
}

#[derive(Serialize, Deserialize)]
struct RawReply {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_seq: Option<u64>,
}

impl ReplyStatus {
    const ALL: [Self; 3] = [Self::Stored, Self::Duplicate, Self::Skipped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Skipped => "skipped",
        }
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> String {
        let raw = RawReply {
            status: self.status.name().into(),
            next_seq: self.next_seq.map(|seq| seq.0),
        };
        serde_json::to_string(&raw).expect("strings and numbers always make JSON")
    }

    /// `None`: not an answer of a collector's.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let raw: RawReply = serde_json::from_slice(body).ok()?;
        let status = ReplyStatus::ALL.into_iter().find(|status| status.name() == raw.status)?;
        let next_seq = raw.next_seq.map(Seq);
        next_seq.is_none_or(|seq| seq <= Seq::MAX).then_some(Self { status, next_seq })
    }
}

/// The body of every answer that is no success.
pub(crate) fn error_body(reason: &str) -> String {
    serde_json::json!({ "error": reason }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_as_they_went() {
        for status in ReplyStatus::ALL {
            for next_seq in [None, Some(Seq(0)), Some(Seq(8123))] {
                let reply = Reply { status, next_seq };
                assert_eq!(Reply::decode(reply.encode().as_bytes()), Some(reply));
            }
        }
        let stored = Reply { status: ReplyStatus::Stored, next_seq: Some(Seq(8123)) };
        assert_eq!(stored.encode(), r#"{"status":"stored","next_seq":8123}"#);
    }

    #[test]
    fn a_captive_portal_is_no_collector() {
        let huge = r#"{"status":"stored","next_seq":18446744073709551615}"#;
        for body in ["", "<html>sign in</html>", "{}", r#"{"status":"ok"}"#, "\"stored\"", huge] {
            assert_eq!(Reply::decode(body.as_bytes()), None, "{body}");
        }
    }
}
