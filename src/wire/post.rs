//! The body of `POST /ingest`, both forms.
//!
//! Ours carries kernel records verbatim with the sequence range that they cover. The older one, of
//! the Go implementation's agents, carries `dmesg -T` text and nothing that could tell a
//! repetition.

use serde::{Deserialize, Serialize};

use super::HostName;
use crate::kernel::{BootId, Delta, Loss, LossReason, Seq, SeqRange};
use crate::time::Wall;

/// A post as it arrived, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) host: HostName,
    /// The agent's clock; `None` when it did not say.
    pub(crate) timestamp: Option<Wall>,
    /// Kernel release, such as `6.1.0-18-amd64`.
    pub(crate) kernel: Option<String>,
    /// The agent's version.
    pub(crate) agent: Option<String>,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// `boot_time` is the wall time of USEC zero, as of this read.
    Records { delta: Delta, boot_time: Option<Wall> },
    /// The older form.
    Text(Vec<String>),
}

/// What the agent says beside its records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) host: &'a HostName,
    pub(crate) timestamp: Wall,
    pub(crate) boot: &'a BootId,
    pub(crate) boot_time: Wall,
    pub(crate) kernel: &'a str,
    pub(crate) range: SeqRange,
    pub(crate) lost: &'a [Loss],
    pub(crate) lines: &'a [String],
}

/// Why a body is refused with 400, in words for the one who posted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostError(pub(crate) String);

/// What a post takes beside its lines, generously: names, times and numbers at their longest.
pub(crate) const POST_BYTES_MIN: usize = 1024;
/// Kernel and agent are shown in reports: longer ones are cut.
const RELEASE_CHARS_MAX: usize = 128;

/// How many bytes a line takes in the body: quoted, escaped, with its comma.
pub(crate) fn line_bytes(line: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    line.bytes().map(escaped).sum::<usize>() + 3
}

#[derive(Serialize)]
struct RawOutgoing<'a> {
    hostname: &'a str,
    timestamp: String,
    boot_id: &'a str,
    boot_time: String,
    kernel: &'a str,
    agent: &'static str,
    first_seq: u64,
    next_seq: u64,
    lost: Vec<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_reasons: Option<Vec<&'static str>>,
    lines: &'a [String],
}

/// Every field may be missing and more may be there: versions on both sides differ for years.
#[derive(Deserialize)]
struct RawPost {
    hostname: Option<String>,
    timestamp: Option<String>,
    boot_id: Option<String>,
    boot_time: Option<String>,
    kernel: Option<String>,
    agent: Option<String>,
    first_seq: Option<u64>,
    next_seq: Option<u64>,
    lost: Option<Vec<[u64; 2]>>,
    lost_reasons: Option<Vec<String>>,
    lines: Option<Vec<String>>,
}

impl Outgoing<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let raw = RawOutgoing {
            hostname: self.host.as_str(),
            timestamp: self.timestamp.to_string(),
            boot_id: self.boot.as_str(),
            boot_time: self.boot_time.to_string(),
            kernel: self.kernel,
            agent: env!("CARGO_PKG_VERSION"),
            first_seq: self.range.from.0,
            next_seq: self.range.to.0,
            lost: self.lost.iter().map(|loss| [loss.range.from.0, loss.range.to.0]).collect(),
            lost_reasons: self.reasons(),
            lines: self.lines,
        };
        serde_json::to_vec(&raw).expect("strings and numbers always make JSON")
    }
}

impl Outgoing<'_> {
    /// Beside `lost`, one for each; left out where all are the usual one.
    fn reasons(&self) -> Option<Vec<&'static str>> {
        let usual = self.lost.iter().all(|loss| loss.reason == LossReason::Overrun);
        (!usual).then(|| self.lost.iter().map(|loss| loss.reason.name()).collect())
    }
}

impl Post {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, PostError> {
        let raw: RawPost = serde_json::from_slice(body)
            .map_err(|error| PostError(format!("the body is not a post: {error}")))?;
        let name = raw.hostname.as_deref().ok_or_else(|| refused("hostname", "missing"))?;
        let host = HostName::parse(name).ok_or_else(|| refused("hostname", HostName::RULE))?;
        let lines = raw.lines.unwrap_or_default();
        let content = match raw.boot_id {
            None => Content::Text(lines),
            Some(id) => {
                let boot = BootId::parse(&id).ok_or_else(|| refused("boot_id", "not a UUID"))?;
                let range =
                    SeqRange::new(seq("first_seq", raw.first_seq)?, seq("next_seq", raw.next_seq)?);
                let lost = losses(raw.lost.unwrap_or_default(), raw.lost_reasons)?;
                let delta = Delta::new(boot, range, lines, lost)
                    .map_err(|error| PostError(error.reason()))?;
                Content::Records { delta, boot_time: time("boot_time", raw.boot_time)? }
            }
        };
        Ok(Self {
            host,
            timestamp: time("timestamp", raw.timestamp)?,
            kernel: raw.kernel.map(release),
            agent: raw.agent.map(release),
            content,
        })
    }
}

/// Reasons are new on the wire: without them it is the usual one.
fn losses(ranges: Vec<[u64; 2]>, reasons: Option<Vec<String>>) -> Result<Vec<Loss>, PostError> {
    let reasons = match reasons {
        None => vec![LossReason::Overrun; ranges.len()],
        Some(names) if names.len() == ranges.len() => names
            .iter()
            // A newer agent may know more of them.
            .map(|name| LossReason::from_name(name).unwrap_or(LossReason::Unexplained))
            .collect(),
        Some(_) => return Err(refused("lost_reasons", "not as many as lost has ranges")),
    };
    let loss = |([from, to], reason): ([u64; 2], LossReason)| Loss {
        range: SeqRange::new(Seq(from), Seq(to)),
        reason,
    };
    Ok(ranges.into_iter().zip(reasons).map(loss).collect())
}

fn refused(field: &str, why: &str) -> PostError {
    PostError(format!("{field}: {why}"))
}

fn seq(field: &str, value: Option<u64>) -> Result<Seq, PostError> {
    let value = value.ok_or_else(|| refused(field, "missing beside a boot_id"))?;
    let seq = Seq(value);
    if seq > Seq::MAX { Err(refused(field, "larger than any sequence number")) } else { Ok(seq) }
}

fn time(field: &str, value: Option<String>) -> Result<Option<Wall>, PostError> {
    value
        .filter(|text| !text.is_empty())
        .map(|text| Wall::parse(&text).ok_or_else(|| refused(field, "not an RFC 3339 time")))
        .transpose()
}

fn release(text: String) -> String {
    crate::kernel::escape_controls(&text).chars().take(RELEASE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "422187ae-7ed4-4935-b73e-ea4262667985";

    fn decode(body: &str) -> Result<Post, String> {
        Post::decode(body.as_bytes()).map_err(|error| error.0)
    }

    #[test]
    fn a_post_comes_back_as_it_went() {
        let lines = [
            "6,5,517252418,-;nvme nvme0: controller is down; \"reset\" \\x0a é\n SUBSYSTEM=nvme\n",
            "6,9,517252419,-,caller=T7;text\n",
        ]
        .map(String::from);
        let wall = |text| Wall::parse(text).unwrap();
        let (host, boot) = (HostName::parse("web-1").unwrap(), BootId::parse(BOOT).unwrap());
        let lost = [Loss { range: SeqRange::new(Seq(6), Seq(9)), reason: LossReason::SpoolFull }];
        let outgoing = Outgoing {
            host: &host,
            timestamp: wall("2026-02-03T12:30:00.123456Z"),
            boot: &boot,
            boot_time: wall("2026-01-30T08:00:11.500000Z"),
            kernel: "6.1.0-18-amd64",
            range: SeqRange::new(Seq(5), Seq(10)),
            lost: &lost,
            lines: &lines,
        };
        let body = outgoing.encode();
        let post = Post::decode(&body).unwrap();
        assert_eq!(post.host, host);
        assert_eq!(post.timestamp, Some(outgoing.timestamp));
        assert_eq!(post.kernel.as_deref(), Some("6.1.0-18-amd64"));
        assert_eq!(post.agent.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        let Content::Records { delta, boot_time } = post.content else { panic!("text") };
        assert_eq!(boot_time, Some(outgoing.boot_time));
        assert_eq!(
            (delta.boot, delta.range, delta.lost),
            (boot.clone(), outgoing.range, lost.to_vec())
        );
        assert_eq!(delta.records, [(Seq(5), lines[0].clone()), (Seq(9), lines[1].clone())]);
        let room = lines.iter().map(|line| line_bytes(line)).sum::<usize>() + POST_BYTES_MIN;
        assert!(body.len() <= room, "{} bytes do not fit in {room}", body.len());
    }

    #[test]
    fn line_bytes_is_exact() {
        for line in ["", "plain", "\"\\\n\t\r\u{8}\u{c}", "\u{1}\u{1f}\u{7f}", "é\u{2028}"] {
            let encoded = serde_json::to_string(line).unwrap();
            assert_eq!(line_bytes(line), encoded.len() + 1, "{line:?}");
        }
    }

    #[test]
    fn the_older_form() {
        let text = |body: &str| match decode(body).unwrap().content {
            Content::Text(lines) => lines,
            Content::Records { .. } => panic!("{body}"),
        };
        let line = "[Tue Feb  3 12:25:01 2026] EDAC MC0: 1 CE on DIMM0";
        let body = format!(
            r#"{{"hostname":"h","timestamp":"2026-02-03T14:30:00+02:00","lines":["{line}"]}}"#
        );
        assert_eq!(text(&body), [line]);
        assert_eq!(decode(&body).unwrap().timestamp, Wall::parse("2026-02-03T12:30:00Z"));
        assert_eq!(text(r#"{"hostname":"h","lines":null}"#), [""; 0]);
        assert_eq!(text(r#"{"hostname":"h","unknown":{"a":[1]}}"#), [""; 0]);
        assert_eq!(decode(r#"{"hostname":"h","timestamp":""}"#).unwrap().timestamp, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, reason) in [
            (r#"{"lines":[]}"#, "hostname: missing"),
            (r#"{"hostname":"a b"}"#, "hostname: a host name is 1 to 253"),
            (r#"{"hostname":"h","timestamp":"noon"}"#, "timestamp: not an RFC 3339 time"),
            (r#"{"hostname":"h","boot_id":"x"}"#, "boot_id: not a UUID"),
            (r#"{"hostname":"h","hostname":"i"}"#, "the body is not a post: duplicate field"),
            (r#"{"hostname":"h","lines":"x"}"#, "the body is not a post: invalid type"),
            ("[1]", "the body is not a post"),
            ("", "the body is not a post"),
            ("{", "the body is not a post"),
        ] {
            let error = decode(body).unwrap_err();
            assert!(error.starts_with(reason), "{body}: {error}");
        }
        let with = |rest: &str| {
            decode(&format!(r#"{{"hostname":"h","boot_id":"{BOOT}"{rest}}}"#)).unwrap_err()
        };
        assert_eq!(with(""), "first_seq: missing beside a boot_id");
        assert_eq!(with(r#","first_seq":1"#), "next_seq: missing beside a boot_id");
        let huge = with(r#","first_seq":1,"next_seq":18446744073709551615"#);
        assert_eq!(huge, "next_seq: larger than any sequence number");
        let reasons = r#","first_seq":1,"next_seq":3,"lost":[[1,2]],"lost_reasons""#;
        for bad in [r#":[]"#, r#":["overrun","overrun"]"#] {
            assert!(with(&format!("{reasons}{bad}")).starts_with("lost_reasons: "), "{bad}");
        }
        let record = with(r#","first_seq":1,"next_seq":2,"lines":["hello"]"#);
        assert_eq!(record, "lines[0] is not a kernel record: no \";\" ends its fields");
    }

    #[test]
    fn deep_and_broken_bodies_are_refused_without_harm() {
        for body in [
            format!(r#"{{"hostname":"h","x":{}"#, "[".repeat(100_000)),
            format!(r#"{{"hostname":{}"#, "{\"a\":".repeat(100_000)),
            "\u{0}".repeat(1000),
        ] {
            assert!(decode(&body).is_err());
        }
        assert!(Post::decode(b"{\"hostname\":\"\xff\xfe\"}").is_err());
    }
}
