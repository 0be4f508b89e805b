//! The body of `POST /ingest`, both forms.
//!
//! Ours carries kernel records verbatim with the sequence range that they cover. The older one, of
//! the Go implementation's agents, carries `dmesg -T` text and nothing that could tell a
//! repetition.

use serde::{Deserialize, Serialize};

use super::HostName;
use crate::kernel::{BootId, Delta, Loss, LossReason, Seq, SeqRange};
use crate::time::Wall;

/// What is told of an error in JSON.
const ERROR_BEGIN_CHARS: usize = 200;
const ERROR_END_CHARS: usize = 80;

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

/// serde quotes a value that it did not expect, all of it; then comes where that was.
fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= ERROR_BEGIN_CHARS + ERROR_END_CHARS {
        return text;
    }
    let (begin, end) = (&chars[..ERROR_BEGIN_CHARS], &chars[chars.len() - ERROR_END_CHARS..]);
    [begin, &['.', '.', '.'], end].concat().into_iter().collect()
}

impl Post {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, PostError> {
        let raw: RawPost = serde_json::from_slice(body)
            .map_err(|error| PostError(format!("the body is not a post: {}", short(&error))))?;
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
    use crate::time::{Random, tests::generate, tests::without_numbers};

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

    /// A post as names and JSON texts, so that fields can be dropped, repeated and spoilt.
    type Fields = Vec<(String, String)>;

    const HUGE: &str = "18446744073709551615";
    const SPOILT: [&str; 16] = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e400",
        HUGE,
        "18446744073709551616",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "[[1]]",
        "[[1,2,3]]",
        "[null]",
        "\"\\ud800\"",
    ];
    const LINES_SPOILT: [&str; 8] = [
        "null",
        "7",
        "\"\"",
        "\"no record\"",
        "\"6,1,1,-;a\\u0000b\"",
        "\"\\u001b[31m\"",
        "\"6,-1,1,-;x\"",
        "\"6,9223372036854775807,1,-;x\"",
    ];

    fn quoted(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    fn pair([from, to]: [u64; 2]) -> String {
        format!("[{from},{to}]")
    }

    fn sound(random: &mut Random) -> Fields {
        let mut fields: Fields = Vec::new();
        let mut put = |name: &str, json: String| fields.push((name.to_owned(), json));
        let times = [
            "2026-02-03T12:30:00.123456Z",
            "2026-02-03T14:30:00+02:00",
            "-009999-01-02T01:59:59Z",
            "9999-12-30T22:00:00.999999999Z",
            "",
        ];
        put("hostname", quoted(random.one_of(&["web-1", "db_2.example.org", "h"])));
        put("timestamp", quoted(random.one_of(&times)));
        put("kernel", quoted(random.one_of(&["6.1.0-18-amd64", "\u{202e}\u{7f}a", ""])));
        put("agent", quoted(&"0.1\u{1b}\u{e9}".repeat(random.below(60) as usize)));
        if random.one_in(4) {
            let line = "[Tue Feb  3 12:25:01 2026] EDAC MC0: 1 CE\u{0}";
            let lines: Vec<_> = (0..random.below(5)).map(|_| quoted(line)).collect();
            put("lines", format!("[{}]", lines.join(",")));
            return fields;
        }
        put("boot_id", quoted(random.one_of(&[BOOT, &BOOT.to_uppercase(), &format!(" {BOOT}\n")])));
        put("boot_time", quoted(random.one_of(&times)));
        let room = if random.one_in(10) { i64::MAX as u64 } else { 2000 };
        let first = random.below(room - 100);
        let (mut next, mut lines, mut lost) = (first, Vec::new(), Vec::new());
        for _ in 0..random.below(6) {
            if random.one_in(4) {
                let to = next + 1 + random.below(9);
                lost.push([next, to]);
                next = to;
            }
            let text =
                random.one_of(&["text", "a;b\\x0a\n SUBSYSTEM=pci\n", "\u{0}\u{202e}\u{e9}"]);
            lines.push(quoted(&format!("6,{next},{},-;{text}", random.below(1 << 40))));
            next += 1 + random.below(2);
        }
        put("first_seq", first.to_string());
        put("next_seq", next.to_string());
        if random.one_in(2) {
            let known = ["\"overrun\"", "\"spool_full\"", "\"gone\"", "\"of a newer agent\""];
            let reasons: Vec<_> = lost.iter().map(|_| random.one_of(&known)).collect();
            put("lost_reasons", format!("[{}]", reasons.join(",")));
        }
        put("lost", format!("[{}]", lost.into_iter().map(pair).collect::<Vec<_>>().join(",")));
        put("lines", format!("[{}]", lines.join(",")));
        fields
    }

    fn spoil(random: &mut Random, fields: &mut Fields) {
        let at = random.below(fields.len().max(1) as u64) as usize;
        let mut set = |name: &str, json: String| {
            fields.retain(|(known, _)| known != name);
            fields.push((name.to_owned(), json));
        };
        match random.below(12) {
            0 => set(random.one_of(&["first_seq", "next_seq"]), random.below(3000).to_string()),
            1 => set(random.one_of(&["first_seq", "next_seq"]), HUGE.to_owned()),
            2 => {
                let mut number = || random.below(2100);
                let ranges = [[number(), number()], [number(), number()]].map(pair);
                set("lost", format!("[{}]", ranges.join(",")));
            }
            3 => {
                let lines = [random.one_of(&LINES_SPOILT), random.one_of(&LINES_SPOILT)];
                set("lines", format!("[{},{}]", lines[0], lines[1]));
            }
            4 => {
                let long = "x".repeat(random.below(20_000) as usize);
                let more = random.one_of(&["", ",\"6,7,1,-;y\"", ",\"6,6,1,-;y\""]);
                set("lines", format!("[\"6,7,1,-;{long}\"{more}]"));
                set("first_seq", "0".to_owned());
            }
            5 => {
                let depth = random.below(300) as usize;
                set("deep", format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            }
            6 => set("hostname", quoted(random.one_of(&["", "a b", "a\0", &"x".repeat(254)]))),
            7 => set("lost_reasons", "[\"overrun\"]".to_owned()),
            _ if fields.is_empty() => {}
            8 => drop(fields.remove(at)),
            9 => fields.push(fields[at].clone()),
            10 => fields[at].1 = random.one_of(&SPOILT).to_owned(),
            _ => fields.swap(0, at),
        }
    }

    fn generated(random: &mut Random) -> Vec<u8> {
        let mut fields = sound(random);
        let is_sound = random.one_in(3);
        for _ in 0..if is_sound { 0 } else { random.below(4) } {
            spoil(random, &mut fields);
        }
        let fields = fields.iter().map(|(name, json)| format!("\"{name}\":{json}"));
        let mut body = format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes();
        if !is_sound && random.one_in(3) {
            for _ in 0..=random.below(3) {
                random.damage(&mut body);
            }
        }
        body
    }

    /// What the store and everything behind it rely on.
    fn keeps_the_contract(post: &Post, body_bytes: usize, random: &mut Random) {
        assert!(HostName::parse(post.host.as_str()).is_some());
        for release in post.kernel.iter().chain(&post.agent) {
            assert!(release.chars().count() <= RELEASE_CHARS_MAX);
            assert!(!release.chars().any(crate::kernel::is_unprintable));
        }
        let delta = match &post.content {
            Content::Text(lines) => {
                assert!(lines.iter().map(String::len).sum::<usize>() <= body_bytes);
                return;
            }
            Content::Records { delta, .. } => delta,
        };
        let SeqRange { from, to } = delta.range;
        assert!(from <= to && to <= Seq::MAX);
        assert_eq!(BootId::parse(delta.boot.as_str()), Some(delta.boot.clone()));
        assert!(delta.records.iter().map(|(_, line)| line.len()).sum::<usize>() <= body_bytes);
        assert!(delta.records.iter().all(|(seq, _)| (from..to).contains(seq)));
        assert!(delta.records.is_sorted_by(|one, other| one.0 < other.0));
        for ((seq, line), record) in delta.records.iter().zip(delta.parsed()) {
            assert!(line.len() <= crate::kernel::RECORD_BYTES_MAX);
            assert_eq!(record.seq, Some(*seq));
        }
        assert_eq!(delta.parsed().len(), delta.records.len());
        let lost = delta.lost.iter().map(|loss| loss.range);
        assert!(lost.clone().all(|gap| gap.len() > 0 && from <= gap.from && gap.to <= to));
        assert!(delta.lost.is_sorted_by(|one, other| one.range.to <= other.range.from));
        // Every number is a record, lost or unaccounted for; where an agent says two of these of
        // one number, the record counts.
        let within = |seq: Seq| lost.clone().any(|gap| (gap.from..gap.to).contains(&seq));
        let twice = delta.records.iter().filter(|(seq, _)| within(*seq)).count() as u64;
        let holes: u64 = delta.unaccounted().iter().map(|hole| hole.len()).sum();
        let known = delta.records.len() as u64 + lost.map(SeqRange::len).sum::<u64>() - twice;
        assert_eq!(known + holes, delta.range.len());
        let mut trimmed = delta.clone();
        let cursor = Seq(from.0 + random.below(delta.range.len() + 2));
        trimmed.trim(cursor);
        assert!(trimmed.records.iter().all(|(seq, _)| *seq >= cursor));
        assert!(trimmed.lost.iter().all(|loss| loss.range.from >= cursor));
        let read_at = post.timestamp.unwrap_or(Wall::from_micros(0));
        let readable = delta.readable(read_at, read_at);
        assert_eq!(readable.lines().count(), delta.records.len());
    }

    /// Encoded by the agent's own encoder, and as the Go implementation's agents had it.
    fn comes_back(post: &Post) {
        let epoch = Wall::from_micros(0);
        let mut expected = post.clone();
        let timestamp = *expected.timestamp.get_or_insert(epoch);
        let body = match &mut expected.content {
            Content::Text(lines) => serde_json::to_vec(&serde_json::json!({
                "hostname": post.host.as_str(), "timestamp": timestamp.to_string(),
                "kernel": post.kernel, "agent": post.agent, "lines": lines,
            }))
            .unwrap(),
            Content::Records { delta, boot_time } => {
                expected.agent = Some(env!("CARGO_PKG_VERSION").into());
                let lines: Vec<_> = delta.records.iter().map(|(_, line)| line.clone()).collect();
                let outgoing = Outgoing {
                    host: &post.host,
                    timestamp,
                    boot: &delta.boot,
                    boot_time: *boot_time.get_or_insert(epoch),
                    kernel: expected.kernel.get_or_insert_default(),
                    range: delta.range,
                    lost: &delta.lost,
                    lines: &lines,
                };
                outgoing.encode()
            }
        };
        assert_eq!(Post::decode(&body), Ok(expected));
    }

    const ERROR_BYTES_MAX: usize = 1500;

    /// Seeded: no body makes decoding panic, and what is accepted keeps the contract and comes back
    /// as it went.
    #[test]
    fn generated_posts_never_panic_and_keep_the_contract() {
        let tally = generate("posts", 0x9057, |random| {
            let body = generated(random);
            let post = Post::decode(&body).map_err(|error| {
                assert!(error.0.len() <= ERROR_BYTES_MAX, "{}", error.0);
                // serde's words are many, and name what it met.
                let reason = error.0.split_once(" is not a post").map(|(before, _)| before);
                without_numbers(reason.unwrap_or(&error.0))
            })?;
            let kept = std::panic::AssertUnwindSafe(|| {
                keeps_the_contract(&post, body.len(), random);
                comes_back(&post);
            });
            if let Err(fault) = std::panic::catch_unwind(kept) {
                println!("{}", body.escape_ascii());
                std::panic::resume_unwind(fault);
            }
            Ok(())
        });
        tally.reached(
            40,
            &[
                "the body",
                "hostname: missing",
                "hostname: a host name is",
                "timestamp: not an RFC",
                "boot_time: not an RFC",
                "boot_id: not a UUID",
                "first_seq: missing",
                "next_seq: missing",
                "next_seq: larger than any",
                "next_seq # is below first_seq #",
                "lost_reasons: not as many",
                "lost[#] is not a range",
                "lines[#] is not a kernel record: it is longer",
                "lines[#] does not come after its neighbour",
                "lines[#] lies outside",
            ],
        );
    }
}
