//! One kernel record, as /dev/kmsg gives it: `PREFIX,SEQ,USEC,FLAGS[,more];TEXT\n[ KEY=value\n]*`.
//!
//! The format is the kernel's `Documentation/ABI/testing/dev-kmsg`. Fields that are added later are
//! ignored, as it asks. Text stays in its escaped form (`\xNN`), so that it is printable and
//! evidence can be compared byte by byte.

use super::Seq;

/// The severity that the kernel gave a record (`KERN_ERR` and so on): 0 is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level(u8);

impl Level {
    const NAMES: [&'static str; 8] =
        ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

    /// The low three bits of a record's prefix.
    pub(crate) fn from_prefix(prefix: u32) -> Self {
        Self((prefix & 7) as u8)
    }

    /// The name that dmesg and syslog print; `warning` and `error` are taken too.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let name = match name {
            "warning" => "warn",
            "error" => "err",
            name => name,
        };
        let index = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self(index as u8))
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[usize::from(self.0)]
    }
}

/// Who wrote a record. The kernel forces another facility than 0 on whatever user space writes to
/// /dev/kmsg, so this cannot be forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Kernel,
    User,
    /// The form that the record was read from does not say (`dmesg` output).
    Unknown,
}

/// The task or the processor that printed a record, where the kernel is built to say
/// (`CONFIG_PRINTK_CALLER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Task(u32),
    /// In an interrupt.
    Processor(u32),
}

impl Caller {
    /// `T123`, `C3`; `CPU3` on some consoles.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (digits, of_task) = match text.strip_prefix('T') {
            Some(digits) => (digits, true),
            None => (text.strip_prefix("CPU").or_else(|| text.strip_prefix('C'))?, false),
        };
        let id = number(Some(digits))?.try_into().ok()?;
        Some(if of_task { Self::Task(id) } else { Self::Processor(id) })
    }
}

/// A record from any form. What the form does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) seq: Option<Seq>,
    /// Microseconds since the kernel's clock started; not wall time, not CLOCK_MONOTONIC.
    pub(crate) usec: Option<u64>,
    pub(crate) level: Option<Level>,
    /// 0 is the kernel; `None` where the form does not say.
    pub(crate) facility: Option<u16>,
    pub(crate) caller: Option<Caller>,
    /// A wall-clock stamp as it stood in the text (`dmesg -T`, syslog), not interpreted.
    pub(crate) stamp: Option<String>,
    /// Without control characters: these stay, or become, `\xNN`. Lines that a mail program wrapped
    /// are one again.
    pub(crate) text: String,
    /// Where its lines end but for the last, when the text stood on several.
    pub(crate) line_ends: Vec<usize>,
    /// The kernel's own ` KEY=value` lines.
    pub(crate) details: Vec<(String, String)>,
}

/// The fields before the text of a /dev/kmsg record, and where the text lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) prefix: u32,
    pub(crate) seq: Seq,
    pub(crate) usec: u64,
    text_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordError {
    NoSemicolon,
    BadPrefix,
    BadSequence,
    BadTime,
    TooLong,
}

impl RecordError {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoSemicolon => "no \";\" ends its fields",
            Self::BadPrefix => "its first field is not a syslog priority",
            Self::BadSequence => "its second field is not a sequence number",
            Self::BadTime => "its third field is not a time in microseconds",
            Self::TooLong => "it is longer than any kernel's records",
        }
    }
}

impl Head {
    /// Reads the fields only: what the agent needs of each record, without copying it.
    pub(crate) fn parse(record: &str) -> Result<Self, RecordError> {
        if record.len() > super::RECORD_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        let semicolon = record.find(';').ok_or(RecordError::NoSemicolon)?;
        let mut fields = record[..semicolon].split(',');
        let prefix = number(fields.next())
            .filter(|prefix| *prefix <= PREFIX_MAX)
            .ok_or(RecordError::BadPrefix)?;
        let seq = number(fields.next())
            .filter(|seq| *seq < Seq::MAX.0)
            .ok_or(RecordError::BadSequence)?;
        let usec =
            number(fields.next()).filter(|usec| *usec <= USEC_MAX).ok_or(RecordError::BadTime)?;
        Ok(Self { prefix: prefix as u32, seq: Seq(seq), usec, text_at: semicolon + 1 })
    }

    pub(crate) fn level(&self) -> Level {
        Level::from_prefix(self.prefix)
    }

    pub(crate) fn facility(&self) -> u16 {
        (self.prefix >> 3) as u16
    }
}

/// What follows these are fields with a name.
const HEAD_FIELDS: usize = 4;
/// Level and facility together: the kernel keeps the facility in 13 bits.
const PREFIX_MAX: u64 = 0xffff;
/// A century since boot: what is later is no kernel's clock, and would overflow a date.
const USEC_MAX: u64 = 100 * 366 * 24 * 3600 * 1_000_000;

/// Digits only: no sign, no white space, no empty field.
fn number(field: Option<&str>) -> Option<u64> {
    field
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

impl Record {
    /// Parses one whole record; a missing last newline is no fault.
    pub(crate) fn parse(record: &str) -> Result<Self, RecordError> {
        let head = Head::parse(record)?;
        let mut lines = record[head.text_at..].split('\n');
        let text = escape_controls(lines.next().unwrap_or(""));
        let details = lines.filter_map(detail).collect();
        Ok(Self {
            seq: Some(head.seq),
            usec: Some(head.usec),
            level: Some(head.level()),
            facility: Some(head.facility()),
            caller: record[..head.text_at - 1]
                .split(',')
                .skip(HEAD_FIELDS)
                .find_map(|field| Caller::parse(field.strip_prefix("caller=")?)),
            stamp: None,
            text,
            line_ends: Vec::new(),
            details,
        })
    }

    /// A line of which only the text is known.
    pub(crate) fn from_text(text: &str) -> Self {
        Self {
            seq: None,
            usec: None,
            level: None,
            facility: None,
            caller: None,
            stamp: None,
            text: escape_controls(text),
            line_ends: Vec::new(),
            details: Vec::new(),
        }
    }

    /// What a finding quotes: the line of the log as it stands there, though it was wrapped; with
    /// those that follow it where it is too short to say anything.
    pub(crate) fn quote(&self) -> &str {
        let end = self.line_ends.iter().find(|end| **end >= QUOTE_BYTES_MIN);
        &self.text[..end.copied().unwrap_or(self.text.len())]
    }

    /// The lines that the text stood on, without their indentation.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.line_ends);
        let ends = self.line_ends.iter().copied().chain([self.text.len()]);
        starts.zip(ends).map(|(start, end)| self.text[*start..end].trim_start())
    }

    pub(crate) fn origin(&self) -> Origin {
        match self.facility {
            Some(0) => Origin::Kernel,
            Some(_) => Origin::User,
            None => Origin::Unknown,
        }
    }

    /// `kern.err`, as syslog writes it; `-` where the form does not say.
    pub(crate) fn priority(&self) -> String {
        let facility = match self.facility {
            Some(facility) => FACILITIES
                .get(usize::from(facility))
                .map_or(format!("{facility}"), |name| (*name).into()),
            None => "-".into(),
        };
        let level = self.level.map_or("-", Level::name);
        if facility == "-" && level == "-" { "-".into() } else { format!("{facility}.{level}") }
    }
}

/// `md/raid:md9: Disk` says nothing yet. More would be no line of the log.
const QUOTE_BYTES_MIN: usize = 20;

/// `sys/syslog.h`, in order.
pub(super) const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Only lines that start with a space are the kernel's own; text cannot forge them.
fn detail(line: &str) -> Option<(String, String)> {
    let (key, value) = line.strip_prefix(' ')?.split_once('=')?;
    Some((escape_controls(key), escape_controls(value)))
}

/// Writes control characters the kernel's way (`\x1b`), so that what is stored and shown cannot
/// drive a terminal. Bidirectional overrides and other invisible format characters reorder what a
/// person reads: they go the same way.
pub(crate) fn escape_controls(text: &str) -> String {
    // Almost all kernel text is printable ASCII. Without an early end, the compiler tests many
    // bytes at once.
    let odd = |odd: bool, byte: u8| odd | !matches!(byte, b' '..=b'~');
    if !text.bytes().fold(false, odd) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut bytes = [0; 4];
    for character in text.chars() {
        if is_unprintable(character) {
            for byte in character.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("\\x{byte:02x}"));
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether it drives a terminal, or reorders or hides what a person reads.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Random, tests::generate};

    fn check(input: &str, seq: u64, priority: &str, text: &str, details: &[(&str, &str)]) {
        let record = Record::parse(input).unwrap_or_else(|error| panic!("{input:?}: {error:?}"));
        assert_eq!(record.seq, Some(Seq(seq)), "{input:?}");
        assert_eq!(record.priority(), priority, "{input:?}");
        assert_eq!(record.text, text, "{input:?}");
        let found: Vec<_> =
            record.details.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, details, "{input:?}");
    }

    #[test]
    fn records_in_every_shape_that_kernels_give() {
        check("6,0,0,-;Linux version 6.1\n", 0, "kern.info", "Linux version 6.1", &[]);
        check(
            "3,8001,517252418,-;EDAC MC0: 1 CE on DIMM0",
            8001,
            "kern.err",
            "EDAC MC0: 1 CE on DIMM0",
            &[],
        );
        let pci = "4,7,9,-,caller=T1;pcieport 0000:00:1c.0: AER\n SUBSYSTEM=pci\n \
                   DEVICE=+pci:0000:00:1c.0\n";
        let details = [("SUBSYSTEM", "pci"), ("DEVICE", "+pci:0000:00:1c.0")];
        check(pci, 7, "kern.warn", "pcieport 0000:00:1c.0: AER", &details);
        check("6,8,9,c;part", 8, "kern.info", "part", &[]);
        check("6,8,9,+,caller=C3,new=1,newer;x;y,z", 8, "kern.info", "x;y,z", &[]);
        check("12,9,9,-;login: a;b", 9, "user.warn", "login: a;b", &[]);
        check("191,9,9,-;local", 9, "local7.debug", "local", &[]);
        check("208,9,9,-;unnamed facility", 9, "26.emerg", "unnamed facility", &[]);
        check(r"6,1,1,-;one\x0atwo\x5cthree", 1, "kern.info", r"one\x0atwo\x5cthree", &[]);
        check(r"6,1,1,-;cut in an escape \x5", 1, "kern.info", r"cut in an escape \x5", &[]);
        check("6,1,1,-;", 1, "kern.info", "", &[]);
        check(
            "6,1,1,-;text\nnot the kernel's=1\n A=b=c\n noequals\n",
            1,
            "kern.info",
            "text",
            &[("A", "b=c")],
        );
    }

    #[test]
    fn long_records_of_recent_and_of_old_kernels() {
        for length in [2048, 8192] {
            let text = "x".repeat(length - "6,1,1,-;".len() - 1);
            check(&format!("6,1,1,-;{text}\n"), 1, "kern.info", &text, &[]);
        }
        let text = "x".repeat(super::super::RECORD_BYTES_MAX);
        assert_eq!(Record::parse(&format!("6,1,1,-;{text}")), Err(RecordError::TooLong));
    }

    /// Each with what it does to a reader; what a person can see stays as it is.
    #[test]
    fn what_drives_reorders_or_hides_is_escaped() {
        for (character, escaped) in [
            ('\u{0}', r"\x00"),
            ('\u{1b}', r"\x1b"),
            ('\u{7f}', r"\x7f"),
            ('\u{9b}', r"\xc2\x9b"),
            ('\u{ad}', r"\xc2\xad"),
            ('\u{61c}', r"\xd8\x9c"),
            ('\u{200b}', r"\xe2\x80\x8b"),
            ('\u{200d}', r"\xe2\x80\x8d"),
            ('\u{200e}', r"\xe2\x80\x8e"),
            ('\u{2028}', r"\xe2\x80\xa8"),
            ('\u{2029}', r"\xe2\x80\xa9"),
            ('\u{202a}', r"\xe2\x80\xaa"),
            ('\u{202e}', r"\xe2\x80\xae"),
            ('\u{2066}', r"\xe2\x81\xa6"),
            ('\u{2069}', r"\xe2\x81\xa9"),
            ('\u{fe0f}', r"\xef\xb8\x8f"),
            ('\u{feff}', r"\xef\xbb\xbf"),
            ('\u{e0041}', r"\xf3\xa0\x81\x81"),
            (' ', " "),
            ('\\', r"\"),
            ('\u{e9}', "\u{e9}"),
            ('\u{5d0}', "\u{5d0}"),
            ('\u{1f600}', "\u{1f600}"),
        ] {
            assert_eq!(escape_controls(&character.to_string()), escaped);
        }
    }

    #[test]
    fn garbage_is_refused_with_its_reason() {
        let cases = [
            ("", RecordError::NoSemicolon),
            ("6,1,1,-", RecordError::NoSemicolon),
            (";", RecordError::BadPrefix),
            ("-6,1,1,-;x", RecordError::BadPrefix),
            ("65536,1,1,-;x", RecordError::BadPrefix),
            ("+6,1,1,-;x", RecordError::BadPrefix),
            ("6;x", RecordError::BadSequence),
            ("6,,1,-;x", RecordError::BadSequence),
            ("6,18446744073709551616,1,-;x", RecordError::BadSequence),
            ("6,9223372036854775807,1,-;x", RecordError::BadSequence),
            ("6,1;x", RecordError::BadTime),
            ("6,1, 1,-;x", RecordError::BadTime),
            ("6,1,99999999999999999,-;x", RecordError::BadTime),
        ];
        for (input, expected) in cases {
            assert_eq!(Record::parse(input), Err(expected), "{input:?}");
        }
    }

    /// A record as kernels write them, and a little beyond.
    fn generated(random: &mut Random) -> Vec<u8> {
        const NUMBERS: [&str; 12] = [
            "0",
            "6",
            "12",
            "65535",
            "65536",
            "-1",
            "+1",
            "",
            " 1",
            "3162240000000001",
            "9223372036854775807",
            "18446744073709551616",
        ];
        const FLAGS: [&str; 6] = ["-", "c", "+", "-,caller=T1", "-,a=b,newer", ""];
        const PIECES: [&str; 21] = [
            "EDAC MC0: 1 CE on DIMM0 ",
            "nvme nvme0: controller is down",
            "; a=b, c",
            "\\x0a",
            "\\x5",
            "\n",
            "\n SUBSYSTEM=pci",
            "\n DEVICE=+pci:0000:00:1c.0",
            "\n =",
            "\n \u{202e}KEY\u{7f}=\u{feff}",
            "\nnot the kernel's=1",
            "\u{1b}[31m",
            "\u{9b}",
            "\u{e9}\u{1f600}",
            "\u{202e}",
            "\u{200b}",
            "\u{61c}\u{e0041}",
            "\0",
            "\r",
            "\t",
            "=",
        ];
        let sound = !random.one_in(3);
        let numbers = |random: &mut Random| match sound {
            true => random.below(65_536).to_string(),
            false => random.one_of(&NUMBERS).to_owned(),
        };
        let mut record = [numbers(random), numbers(random), numbers(random)].join(",");
        record.push(',');
        record.push_str(random.one_of(&FLAGS));
        record.push(if sound || random.one_in(2) { ';' } else { ',' });
        for _ in 0..random.below(12) {
            record.push_str(random.one_of(&PIECES));
        }
        if random.one_in(200) {
            let long = crate::kernel::RECORD_BYTES_MAX / 2 + random.below(16 * 1024) as usize;
            record.push_str(&"\u{1b}".repeat(long));
        }
        let mut bytes = record.into_bytes();
        for _ in 0..if sound { 0 } else { random.below(3) } {
            random.damage(&mut bytes);
        }
        bytes
    }

    /// Seeded: whatever bytes come, parsing ends; what parses holds no control character, is not
    /// much longer than what came, and begins as the agent's reading of the head alone found.
    #[test]
    fn generated_records_never_panic_and_never_keep_control_characters() {
        let tally = generate("records", 0x7a55_e06a, |random| {
            let bytes = generated(random);
            let input = String::from_utf8_lossy(&bytes);
            let record = Record::parse(&input).map_err(|error| error.reason().to_owned())?;
            let mut length = 0;
            let details = record.details.iter().flat_map(|(key, value)| [key, value]);
            for text in details.chain([&record.text]) {
                assert!(!text.chars().any(is_unprintable), "{input:?}");
                assert_eq!(escape_controls(text), *text, "{input:?}");
                length += text.len();
            }
            assert!(length <= ESCAPED_BYTES * input.len(), "{input:?}");
            let head = Head::parse(&input).unwrap();
            assert_eq!((record.seq, record.usec), (Some(head.seq), Some(head.usec)), "{input:?}");
            assert_eq!(
                (record.level, record.facility),
                (Some(head.level()), Some(head.facility())),
                "{input:?}"
            );
            assert!(record.priority().contains('.'), "{input:?}");
            Ok(())
        });
        let refusals = [
            RecordError::NoSemicolon,
            RecordError::BadPrefix,
            RecordError::BadSequence,
            RecordError::BadTime,
            RecordError::TooLong,
        ];
        tally.reached(50, &refusals.map(RecordError::reason));
    }

    /// `\xNN` for one byte.
    const ESCAPED_BYTES: usize = 4;
}
