//! A kernel log in any usual form, read into records: /dev/kmsg, `dmesg` and its options, syslog,
//! journalctl, a console's capture, and what a mail program made of them.
//!
//! Owns what a line is, and which lines go on the one before; `prefix` takes a line apart. Opens no
//! file, reads no clock. `analyze` drives it.

use std::borrow::Cow;

use super::journal::{is_entry, take_field};
use super::prefix::{self, KERNEL, Prefix, Seen, unquoted};
use super::{Origin, RECORD_BYTES_MAX, Record, Seq, escape_controls};

/// What a file holds. Every line that has text is in `records`, but for journalctl's notes.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    /// Lines that are not blank, nor journalctl's own: each is a record, a ` KEY=value` line of
    /// one, or wrapped.
    pub(crate) lines: usize,
    /// Lines that go on the one before them, whose record they are part of.
    pub(crate) wrapped: usize,
    /// Lines that fit no known form. They are records too, of which only the text is known.
    pub(crate) unreadable: usize,
    /// Records in a known form that programs wrote: nobody judges those.
    pub(crate) programs: usize,
    /// Records that the kernel numbered and that the log does not hold, between two that it does.
    pub(crate) missing: u64,
    /// One more than the kernel's clock steps back.
    pub(crate) boots: usize,
}

/// Reads whatever bytes come: there is no input that fails.
pub(crate) fn read_log(bytes: &[u8]) -> Log {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Ten times as fast as looking for what is broken, and hardly any log is.
    let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::from);
    let text = without_escapes(&text);
    let mut reader = Reader::default();
    // Growing step by step would copy, and take, twice as much.
    reader.log.records.reserve(1 + memchr::memchr_iter(b'\n', text.as_bytes()).count());
    // Programs that dump /dev/kmsg read by read put a NUL before or after each record.
    if memchr::memchr2(0, b'\r', text.as_bytes()).is_some() {
        // A carriage return beside a newline is part of it, and one alone ends a line too.
        let lines = text.split(['\n', '\0']).map(|line| line.trim_matches('\r'));
        lines.flat_map(|line| line.split('\r')).for_each(|line| reader.read(line));
    } else {
        text.split('\n').for_each(|line| reader.read(line));
    }
    let mut log = reader.log;
    log.count();
    log
}

impl Log {
    /// What only the whole tells.
    fn count(&mut self) {
        let (mut usec, mut seq) = (None, None);
        self.boots = 1;
        for record in &self.records {
            if let (Some(now), Some(before)) = (record.usec, usec)
                && now + CLOCK_USEC_STEP < before
            {
                self.boots += 1;
                seq = None;
            }
            if let (Some(Seq(now)), Some(Seq(before))) = (record.seq, seq) {
                self.missing += now.saturating_sub(before + 1);
            }
            (usec, seq) = (record.usec.or(usec), record.seq.or(seq));
        }
    }
}

/// Processors that print at once may be out of order by less.
const CLOCK_USEC_STEP: u64 = 2_000_000;

/// What is read so far, and what it tells of the next line.
#[derive(Default)]
struct Reader<'a> {
    log: Log,
    seen: Seen<'a>,
    /// The line before, where it can go on: in a known form, or the rest of such a one.
    last: Option<Last<'a>>,
}

#[derive(Clone, Copy)]
struct Last<'a> {
    line: &'a str,
    form: Form,
}

/// What may follow a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Kmsg,
    /// An entry's head (`journalctl -o verbose`).
    Journal,
    Line,
}

impl<'a> Reader<'a> {
    fn read(&mut self, line: &'a str) {
        if is_blank(line) || is_journal_note(line) {
            // What programs put between two records of /dev/kmsg parts none of their lines, nor
            // does a blank line of a message part an entry.
            self.last = self.last.filter(|last| last.form != Form::Line);
            return;
        }
        self.log.lines += 1;
        if self.is_detail(line) || self.is_field(line) {
            return;
        }
        let text = unquoted(line);
        if let Some((record, fragment)) = kmsg_record(text) {
            if !self.joins(&record, fragment) {
                self.push(record, Some(Last { line, form: Form::Kmsg }));
            }
        } else if let Some(prefix) = prefix::read(text, &mut self.seen) {
            let form = if is_entry(prefix.text) { Form::Journal } else { Form::Line };
            self.push(prefix.into(), Some(Last { line, form }));
        } else if !self.goes_on(line) {
            self.log.unreadable += 1;
            let record = bare_record(line, self.log.records.last());
            self.push(record, None);
        }
    }

    fn push(&mut self, record: Record, last: Option<Last<'a>>) {
        let by_program = last.is_some() && record.origin() == Origin::User;
        self.log.programs += usize::from(by_program);
        self.log.records.push(record);
        self.last = last;
    }

    /// Takes a ` KEY=value` line of a record of /dev/kmsg.
    fn is_detail(&mut self, line: &str) -> bool {
        if !self.last.is_some_and(|last| last.form == Form::Kmsg) {
            return false;
        }
        let (Some(detail), Some(record)) = (kmsg_detail(line), self.log.records.last_mut()) else {
            return false;
        };
        record.details.push(detail);
        true
    }

    /// Takes a field of an entry, of which the record is made.
    fn is_field(&mut self, line: &str) -> bool {
        if !self.last.is_some_and(|last| last.form == Form::Journal) {
            return false;
        }
        let Some(record) = self.log.records.last_mut() else { return false };
        let was_programs = record.origin() == Origin::User;
        if !take_field(record, line) {
            return false;
        }
        self.log.wrapped += 1;
        let is_programs = record.origin() == Origin::User;
        self.log.programs += usize::from(is_programs && !was_programs);
        true
    }

    /// Takes a further fragment of the record before it.
    fn joins(&mut self, record: &Record, fragment: bool) -> bool {
        let Some(first) = self.log.records.last_mut().filter(|_| fragment) else { return false };
        let fits = first.text.len() + record.text.len() < RECORD_BYTES_MAX;
        if !fits || (first.seq, first.usec) != (record.seq, record.usec) {
            return false;
        }
        first.text.push_str(&record.text);
        self.log.wrapped += 1;
        true
    }

    /// Takes a line that goes on the one before: indented as the kernel indents what it prints with
    /// one call, or wrapped.
    fn goes_on(&mut self, line: &'a str) -> bool {
        let (Some(last), Some(record)) = (self.last, self.log.records.last_mut()) else {
            return false;
        };
        let indented = line.starts_with([' ', '\t']) && last.form != Form::Kmsg;
        let fits = record.text.len() + line.len() < RECORD_BYTES_MAX;
        if !fits || !(indented || is_wrapped(last.line, line)) {
            return false;
        }
        self.log.wrapped += 1;
        record.line_ends.push(record.text.len());
        // A terminal breaks within a word, a mail program between two.
        let within = last.line.chars().count() == TERMINAL_CHARS;
        if !within && !record.text.ends_with(' ') {
            record.text.push(' ');
        }
        let text = if within { line } else { line.trim_start() };
        record.text.push_str(&escape_controls(text));
        self.last = Some(Last { line, ..last });
        true
    }
}

/// Mail programs wrap lines of some 70 characters and more, and before the word that has no room.
const WRAPPED_CHARS_MIN: usize = 65;
const TERMINAL_CHARS: usize = 80;

/// Whether the first word of `line` had no room behind `last`.
fn is_wrapped(last: &str, line: &str) -> bool {
    if CONSOLE_NOTES.iter().any(|note| line.starts_with(note)) {
        return false;
    }
    let word = line.split(' ').next().unwrap_or("");
    last.trim_end().chars().count() + 1 + word.chars().count() >= WRAPPED_CHARS_MIN
}

/// What systemd writes on a console, between the kernel's lines.
const CONSOLE_NOTES: [&str; 5] =
    ["[  OK  ]", "[FAILED]", "[DEPEND]", "[ TIME ]", "         Starting "];

fn is_blank(line: &str) -> bool {
    !line.starts_with(|first: char| first.is_ascii_graphic()) && line.trim().is_empty()
}

/// `-- No entries --`, `-- Reboot --`, `-- Boot 422187ae... --`: what journalctl says itself.
fn is_journal_note(line: &str) -> bool {
    let note = line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"));
    note.is_some_and(|note| JOURNAL_NOTES.iter().any(|begin| note.starts_with(begin)))
}

const JOURNAL_NOTES: [&str; 5] =
    ["No entries", "Reboot", "Boot ", "Logs begin at ", "Journal begins at "];

/// A line of its own text. It may be the rest of the record before it, so it must not lose that
/// record's mark of user space: text with a newline in it would otherwise pass for the kernel's.
fn bare_record(line: &str, before: Option<&Record>) -> Record {
    let mut record = Record::from_text(line);
    record.facility =
        before.and_then(|before| before.facility).filter(|facility| *facility != KERNEL);
    record
}

/// A record, and whether it is a further fragment of one. The netconsole may write the kernel's
/// release before a record, and sends a long one in several: `6.4.0,6,7,9,-,ncfrag=0/1200;text`.
fn kmsg_record(line: &str) -> Option<(Record, bool)> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let line = match line.as_bytes().get(digits) {
        Some(b',') if digits > 0 => line,
        Some(b'.') if digits > 0 => {
            let end =
                line.bytes().take(RELEASE_BYTES_MAX).position(|byte| b", ".contains(&byte))?;
            line[end..].strip_prefix(',')?
        }
        _ => return None,
    };
    let record = Record::parse(line).ok()?;
    let head = line.split(';').next().unwrap_or("");
    let (_, offset) = head.split_once(",ncfrag=").unwrap_or(("", "0/"));
    Some((record, !offset.starts_with("0/")))
}

/// `struct new_utsname`.
const RELEASE_BYTES_MAX: usize = 65;

/// ` SUBSYSTEM=pci`: the kernel's own keys are upper case, which keeps prose with a `=` in it out.
fn kmsg_detail(line: &str) -> Option<(String, String)> {
    let (key, value) = line.strip_prefix(' ')?.split_once('=')?;
    let of_key = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!key.is_empty() && key.bytes().all(of_key))
        .then(|| (escape_controls(key), escape_controls(value)))
}

impl From<Prefix<'_>> for Record {
    fn from(prefix: Prefix<'_>) -> Self {
        Self {
            usec: prefix.usec,
            level: prefix.level,
            facility: prefix.facility,
            caller: prefix.caller,
            stamp: prefix.stamp.map(escape_controls),
            ..Self::from_text(prefix.text)
        }
    }
}

/// Colours (`dmesg --color=always`) and what else drives a terminal. What is no whole sequence
/// stays, and is shown as `\x1b`.
fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return text.into();
    }
    let mut pieces = text.split('\u{1b}');
    let mut plain = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        match after_sequence(piece) {
            Some(text) => plain.push_str(text),
            None => plain.extend(["\u{1b}", piece]),
        }
    }
    plain.into()
}

/// What follows the sequence that an escape before this began: `[0;31m`, `(B`, `]0;title` to its
/// bell, and those of one character.
fn after_sequence(text: &str) -> Option<&str> {
    if let Some(text) = text.strip_prefix('[') {
        let text = text.trim_start_matches(|parameter| matches!(parameter, ' '..='?'));
        return text.strip_prefix(|last| matches!(last, '@'..='~'));
    }
    if let Some(text) = text.strip_prefix(['(', ')']) {
        return text.strip_prefix(|set: char| set.is_ascii_alphanumeric());
    }
    if text.starts_with(']') {
        let (title, rest) = text.split_once('\u{7}')?;
        return (!title.contains(['\n', '\0'])).then_some(rest);
    }
    text.strip_prefix(['7', '8', 'D', 'E', 'H', 'M', 'c', '=', '>'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Caller;
    use crate::time::{Random, tests::generate};

    /// `priority usec stamp | text`, `-` for what is not known.
    fn shown(record: &Record) -> String {
        let usec = record.usec.map_or("-".to_owned(), |usec| usec.to_string());
        format!(
            "{} {usec} {} | {}",
            record.priority(),
            record.stamp.as_deref().unwrap_or("-"),
            record.text
        )
    }

    fn check(input: &[u8], unreadable: usize, expected: &[&str]) {
        let log = read_log(input);
        let found: Vec<_> = log.records.iter().map(shown).collect();
        assert_eq!(found, expected, "{}", input.escape_ascii());
        assert_eq!(log.unreadable, unreadable, "{}", input.escape_ascii());
    }

    #[test]
    fn kmsg_records_with_their_details() {
        let log = read_log(
            b"6,7,9,-;first\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:1c.0\n4,8,10,-,caller=T1;more\n",
        );
        assert_eq!(log.records.len(), 2);
        assert_eq!((log.records[0].seq, log.records[0].details.len()), (Some(Seq(7)), 2));
        assert_eq!(log.lines, 4);
        check(
            b"\x006,7,9,-;one\n\x0012,8,10,-;two\n\x00",
            0,
            &["kern.info 9 - | one", "user.warn 10 - | two"],
        );
        check(
            b"6,7,9,-;one\x00\n SUBSYSTEM=pci\x006,8,10,-;two",
            0,
            &["kern.info 9 - | one", "kern.info 10 - | two"],
        );
        check(
            b"6,7,9,-;one\n of=two, wrapped\n",
            1,
            &["kern.info 9 - | one", "- - - |  of=two, wrapped"],
        );
        // Some programs print the NUL in front of a record, some indent it, a mail quotes it.
        check(
            b"6,7,9,-,caller=T1;one\n\0 6,8,10,-;two\n SUBSYSTEM=pci\n> 4,9,11,-;three\n",
            0,
            &["kern.info 9 - | one", "kern.info 10 - | two", "kern.warn 11 - | three"],
        );
    }

    #[test]
    fn who_printed_a_record() {
        let caller = |line: &str| read_log(line.as_bytes()).records[0].caller;
        for (line, expected) in [
            ("6,7,9,-,caller=T1;text", Some(Caller::Task(1))),
            ("6,7,9,-,new=1,caller=C12;text", Some(Caller::Processor(12))),
            ("6,7,9,-;text,caller=T1", None),
            ("6,7,9,caller=T1;text", None),
            ("[    1.234567] [  T123] text", Some(Caller::Task(123))),
            ("[    1.234567][   C3] text", Some(Caller::Processor(3))),
            ("[    1.234567] [ CPU3] text", Some(Caller::Processor(3))),
            ("Feb  3 12:25:01 web kernel: [ T7] text", Some(Caller::Task(7))),
            ("[    1.234567] [ Tx] text", None),
            ("[    1.234567] text", None),
        ] {
            assert_eq!(caller(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_that_were_wrapped_are_one_record() {
        let usual = "[   79.321993] pcieport 0000:3a:00.0: AER: Correctable error message received";
        for (rest, joined) in [
            // A mail program wraps between two words, and may leave the blank.
            ("\nfrom 0000:3b:00.0", " from 0000:3b:00.0"),
            (" \nfrom 0000:3b:00.0", " from 0000:3b:00.0"),
            ("\r\nfrom 0000:3b:00.0\r", " from 0000:3b:00.0"),
            // A terminal of 80 columns breaks where it is full.
            (" fr\nom 0000:3b:00.0", " from 0000:3b:00.0"),
            // The kernel's own second line, which it indents.
            ("\n         from 0000:3b:00.0", " from 0000:3b:00.0"),
            (
                "\nfrom 0000:3b:00.0 and from the next one, which has a name that is long\nenough",
                " from 0000:3b:00.0 and from the next one, which has a name that is long enough",
            ),
        ] {
            let log = read_log(format!("{usual}{rest}\n[   80.000000] next").as_bytes());
            assert_eq!(log.records.len(), 2, "{rest:?}");
            assert_eq!(log.unreadable, 0, "{rest:?}");
            assert_eq!(log.records.len() + log.wrapped, log.lines, "{rest:?}");
            assert_eq!(
                log.records[0].text,
                format!("{}{joined}", &usual["[   79.321993] ".len()..])
            );
            // What is quoted stands in the log as it is.
            let quoted = log.records[0].quote();
            assert!(quoted.len() < log.records[0].text.len(), "{rest:?}");
            assert!(format!("{usual}{rest}").contains(quoted), "{rest:?}");
        }
        for whole in [
            usual,
            "Feb 13 12:25:01 database-17 kernel: [   79.321993] md/raid:md9: Disk\nfailure on sdi1",
        ] {
            let records = read_log(whole.as_bytes()).records;
            assert_eq!((records.len(), records[0].quote()), (1, records[0].text.as_str()));
        }
    }

    #[test]
    fn a_host_that_is_known_tells_programs_from_drivers() {
        check(
            b"Feb  3 12:25:01 web k3s: a\nFeb  3 12:25:01 web kernel: b\n\
              Feb  3 12:25:01 web k3s: c\nFeb  3 12:25:01 web EDAC MC2: d\n",
            0,
            &[
                "- - Feb  3 12:25:01 | web k3s: a",
                "kern.- - Feb  3 12:25:01 | b",
                "user.- - Feb  3 12:25:01 | k3s: c",
                "- - Feb  3 12:25:01 | EDAC MC2: d",
            ],
        );
    }

    #[test]
    fn entries_of_the_journal_with_all_their_fields() {
        let head = "Tue 2026-02-03 12:25:01.5 UTC [s=6a;i=2;b=3;m=4;t=5;x=6]\n";
        let entry = |transport: &str| {
            format!(
                "{head}    PRIORITY=3\n    MESSAGE=one\n            _TRANSPORT=kernel\n\
                 \x20   _TRANSPORT={transport}\n    _SOURCE_MONOTONIC_TIMESTAMP=1500000\n"
            )
        };
        let rest = "1500000 Tue 2026-02-03 12:25:01.5 UTC | one _TRANSPORT=kernel";
        for (transport, priority, programs) in
            [("kernel", "kern.err", 0), ("syslog", "user.err", 1)]
        {
            let entry = entry(transport);
            check(entry.as_bytes(), 0, &[&format!("{priority} {rest}")]);
            let log = read_log(entry.as_bytes());
            assert_eq!((log.programs, log.lines, log.wrapped), (programs, 6, 5), "{transport}");
        }
    }

    #[test]
    fn forms_of_the_netconsole() {
        for (lines, expected) in [
            ("6.4.0,6,7,9,-;text\n", "kern.info 9 - | text"),
            ("5.15.0-91-generic,3,7,9,-;text\n", "kern.err 9 - | text"),
            (
                "3,7,9,-,ncfrag=0/9;one, \n3,7,9,-,ncfrag=5/9;two,\n3,7,9,-,ncfrag=9/9; three\n",
                "kern.err 9 - | one, two, three",
            ),
        ] {
            check(lines.as_bytes(), 0, &[expected]);
        }
        check(
            b"3,7,9,-,ncfrag=0/9;one\n3,8,9,-,ncfrag=5/9;two\n3,8,9,-,ncfrag=0/9;three\n",
            0,
            &["kern.err 9 - | one", "kern.err 9 - | two", "kern.err 9 - | three"],
        );
        check(b"6.4.0, 6,7,9,-;text", 1, &["- - - | 6.4.0, 6,7,9,-;text"]);
    }

    #[test]
    fn what_is_missing_and_how_often_the_kernel_started() {
        for (lines, missing, boots) in [
            ("3,7,1000000,-;a\n3,8,2000000,-;b\n", 0, 1),
            ("3,7,1000000,-;a\n3,10,2000000,-;b\n3,12,2000000,-;c\n", 3, 1),
            ("3,7,9000000,-;a\n3,0,0,-;b\n3,2,0,-;c\n", 1, 2),
            ("3,0,9000000,-;a\n3,7,0,-;of another boot\n", 0, 2),
            ("[    9.0] a\n[    8.9] b\n[    9.5] c\n", 0, 1),
            ("[    9.0] a\nno form\n[    0.0] b\n[   50.0] c\n[    0.1] d\n", 0, 3),
        ] {
            let log = read_log(lines.as_bytes());
            assert_eq!((log.missing, log.boots), (missing, boots), "{lines}");
        }
    }

    #[test]
    fn lines_that_go_on_nothing_are_records() {
        let usual = "[   79.321993] EXT4-fs (sda1): mounted filesystem with ordered data mode";
        for (text, records) in [
            ("[   79.321993] short\nnot wrapped".to_owned(), 2),
            (format!("{usual}\n\nbehind a blank line"), 2),
            (format!("{usual}\n[  OK  ] Mounted the example file system."), 2),
            (format!("{usual}\n[   79.4] next"), 2),
            ("a line without any stamp that is as long as one that a mail wraps\nnext".into(), 2),
            ("6,7,9,-;text\n indented".to_owned(), 2),
        ] {
            assert_eq!(read_log(text.as_bytes()).records.len(), records, "{text}");
        }
        let long = format!("{usual}{}\n more", "x".repeat(RECORD_BYTES_MAX));
        assert_eq!(read_log(long.as_bytes()).records.len(), 2);
    }

    #[test]
    fn forms_of_dmesg() {
        for (line, expected) in [
            ("[    1.234567] text", "- 1234567 - | text"),
            ("[1234567.000001] a: b", "- 1234567000001 - | a: b"),
            ("[    1.234567]  indented", "- 1234567 - |  indented"),
            ("[    1.234567]", "- 1234567 - | "),
            ("[    1.234567] [ T123] text", "- 1234567 - | text"),
            ("[    1.234567][   C3] text", "- 1234567 - | text"),
            ("[    1.234567] [ CPU3] [sda] text", "- 1234567 - | [sda] text"),
            ("<3>[    1.234567] text", "kern.err 1234567 - | text"),
            ("<12>[    1.234567] text", "user.warn 1234567 - | text"),
            ("<6>text", "kern.info - - | text"),
            ("kern  :err   : [    1.234567] text", "kern.err 1234567 - | text"),
            (
                "daemon:notice: [Tue Feb  3 12:25:01 2026] x",
                "daemon.notice - Tue Feb  3 12:25:01 2026 | x",
            ),
            ("[Tue Feb  3 12:25:01 2026] text", "- - Tue Feb  3 12:25:01 2026 | text"),
            (
                "2026-02-03T12:25:01,123456+00:00 h kernel: x",
                "- - 2026-02-03T12:25:01,123456+00:00 | h kernel: x",
            ),
            (
                "kern  :err   : 2026-02-03T12:25:01,123456+00:00 x",
                "kern.err - 2026-02-03T12:25:01,123456+00:00 | x",
            ),
            ("[    1.234567 <    0.000010>] text", "- 1234567 - | text"),
            ("[<    0.000010>] text", "- - - | text"),
            ("[Feb 3 12:25] text", "- - Feb 3 12:25 | text"),
            ("[  +0.000011] text", "- - - | text"),
            ("[2026-02-03 12:25:01.123][   1.5] text", "- 1500000 2026-02-03 12:25:01.123 | text"),
            ("[\u{a0}\u{a0} 1.234567]\u{a0}text", "- 1234567 - | text"),
            ("  [    1.234567] text", "- 1234567 - | text"),
            ("> > [    1.234567] text", "- 1234567 - | text"),
            (">[    1.234567] text", "- 1234567 - | text"),
            ("[    1.234567@2] text", "- 1234567 - | text"),
            ("[    1.234567,0] text", "- 1234567 - | text"),
            ("[9.876543 0.000011] text", "- 9876543 - | text"),
            ("[99999999999.999999] text", "- 99999999999999999 - | text"),
            ("[Di M\u{e4}r  3 12:25:01 2026] text", "- - Di M\u{e4}r  3 12:25:01 2026 | text"),
            ("Tue Feb  3 12:25:01 2026 text", "- - Tue Feb  3 12:25:01 2026 | text"),
            ("Tue Feb  3 12:25:01 UTC 2026 text", "- - Tue Feb  3 12:25:01 UTC 2026 | text"),
            ("Feb 03 12:25:01 [    1.5] text", "- 1500000 Feb 03 12:25:01 | text"),
            (
                "<4>[    1.234567] [ T123] [<0000000000405060>] main+0x1/0x2",
                "kern.warn 1234567 - | [<0000000000405060>] main+0x1/0x2",
            ),
            ("\u{1b}(B\u{1b}[m[    1.5] text\u{1b}]0;title\u{7}", "- 1500000 - | text"),
        ] {
            check(line.as_bytes(), 0, &[expected]);
        }
    }

    #[test]
    fn forms_of_syslog_and_the_journal() {
        for (line, expected) in [
            ("Feb  3 12:25:01 web kernel: [   1.5] text", "kern.- 1500000 Feb  3 12:25:01 | text"),
            ("Feb 13 12:25:01 web kernel: text: a", "kern.- - Feb 13 12:25:01 | text: a"),
            ("Feb 13 12:25:01.123456 web kernel: text", "kern.- - Feb 13 12:25:01.123456 | text"),
            (
                "Feb  3 12:25:01 web kernel:[   1.5][ T4] text",
                "kern.- 1500000 Feb  3 12:25:01 | text",
            ),
            (
                "Feb  3 12:25:01 web kernel: <4>[   1.5] text",
                "kern.warn 1500000 Feb  3 12:25:01 | text",
            ),
            ("Feb  3 12:25:01 kernel: text", "kern.- - Feb  3 12:25:01 | text"),
            ("Feb  3 12:25:01 web kern.err kernel: text", "kern.err - Feb  3 12:25:01 | text"),
            ("Feb  3 12:25:01 web sshd[71]: text", "user.- - Feb  3 12:25:01 | sshd[71]: text"),
            ("Feb  3 12:25:01 web sh: kernel: text", "user.- - Feb  3 12:25:01 | sh: kernel: text"),
            ("Feb  3 12:25:01 web no tag at all", "- - Feb  3 12:25:01 | web no tag at all"),
            ("Feb  3 12:25:01 web [   1.5] text", "- 1500000 Feb  3 12:25:01 | text"),
            ("Feb  3 12:25:01 web kernel[0]: text", "kern.- - Feb  3 12:25:01 | text"),
            ("Feb  3 12:25:01 web vmunix: text", "kern.- - Feb  3 12:25:01 | text"),
            ("Feb  3 12:25:01 web klogd: text", "kern.- - Feb  3 12:25:01 | text"),
            ("Feb  3 12:25:01 web kernel[x]: text", "- - Feb  3 12:25:01 | web kernel[x]: text"),
            ("Feb  3 12:25:01 web user.notice kernel: text", "-.notice - Feb  3 12:25:01 | text"),
            ("Feb 03 12:25:01 EDAC MC2: text", "- - Feb 03 12:25:01 | EDAC MC2: text"),
            ("2026-02-03 12:25:01 nvme nvme4: x", "- - 2026-02-03 12:25:01 | nvme nvme4: x"),
            ("2026-02-03 12:25:01 ata3.00: text", "- - 2026-02-03 12:25:01 | ata3.00: text"),
            ("2026-02-03 12:25:01 sh[7]: ata3: x", "user.- - 2026-02-03 12:25:01 | sh[7]: ata3: x"),
            (
                "Feb  3 12:25:01 web sh: [   1.5] text",
                "user.- - Feb  3 12:25:01 | sh: [   1.5] text",
            ),
            ("Feb  3 12:25:01 web daemon.err kernel: x", "daemon.err - Feb  3 12:25:01 | x"),
            ("<13>Feb  3 12:25:01 web sh: text", "user.notice - Feb  3 12:25:01 | sh: text"),
            (
                "2026-02-03T12:25:01.5+00:00 web kernel: [ 1.5] x",
                "kern.- 1500000 2026-02-03T12:25:01.5+00:00 | x",
            ),
            ("2026-02-03T12:25:01Z web sh[1]: x", "user.- - 2026-02-03T12:25:01Z | sh[1]: x"),
            ("2026-02-03T12:25:01+0000 web kernel: x", "kern.- - 2026-02-03T12:25:01+0000 | x"),
            (
                "Tue 2026-02-03 12:25:01 UTC web kernel: x",
                "kern.- - Tue 2026-02-03 12:25:01 UTC | x",
            ),
            (
                "2026-02-03T12:25:01.5Z kern.err EDAC MC0: 1",
                "kern.err - 2026-02-03T12:25:01.5Z | EDAC MC0: 1",
            ),
            ("2026-02-03T12:25:01.5Z - EDAC MC0: 1", "- - 2026-02-03T12:25:01.5Z | EDAC MC0: 1"),
            (
                "2026-02-03T12:25:01.5Z user.- web kernel: 1",
                "user.- - 2026-02-03T12:25:01.5Z | web kernel: 1",
            ),
            ("kernel: text", "kern.- - - | text"),
            ("Feb  3 2026 12:25:01 web kernel: x", "kern.- - Feb  3 2026 12:25:01 | x"),
            ("1770121501.123456 web kernel: x", "kern.- - 1770121501.123456 | x"),
            ("1770121501.123456 web sh[1]: x", "user.- - 1770121501.123456 | sh[1]: x"),
            (
                "<4>1 2026-02-03T12:25:01Z web kernel - - - [   1.5] x",
                "kern.warn 1500000 2026-02-03T12:25:01Z | x",
            ),
            (
                "<12>1 2026-02-03T12:25:01Z web sh 71 - - [   1.5] x",
                "user.warn - 2026-02-03T12:25:01Z | [   1.5] x",
            ),
            (
                "Tue Feb  3 12:25:01 2026 kern.err kernel: [   1.5] x",
                "kern.err 1500000 Tue Feb  3 12:25:01 2026 | x",
            ),
            (
                "Tue Feb  3 12:25:01 2026 daemon.err sh[7]: [   1.5] x",
                "daemon.err - Tue Feb  3 12:25:01 2026 | sh[7]: [   1.5] x",
            ),
            ("Tue Feb  3 12:25:01 2026 web kernel: x", "kern.- - Tue Feb  3 12:25:01 2026 | x"),
            ("[    1.234567] web kernel: x", "kern.- 1234567 - | x"),
            ("Feb  3 12:25:01 rebooting", "- - Feb  3 12:25:01 | rebooting"),
        ] {
            check(line.as_bytes(), 0, &[expected]);
        }
    }

    #[test]
    fn a_host_behind_monotonic_stamps_is_known_by_the_first_line() {
        check(
            b"[ 1.5] web kernel: one\n[ 2.5] web sh[7]: two\n[ 3.5] other kernel: three\n",
            0,
            &[
                "kern.- 1500000 - | one",
                "user.- 2500000 - | sh[7]: two",
                "- 3500000 - | other kernel: three",
            ],
        );
        check(
            b"[ 1.5] one\n[ 2.5] Booting kernel: two\n[ 3.5] Booting three\n",
            0,
            &[
                "- 1500000 - | one",
                "- 2500000 - | Booting kernel: two",
                "- 3500000 - | Booting three",
            ],
        );
    }

    #[test]
    fn lines_that_fit_no_form_are_kept_and_counted() {
        for line in [
            "plain text",
            "[sda] text",
            "[Hardware Error]: text",
            "[Tue] text",
            "6,7;text",
            "<x>text",
            "Feb text",
            "2026-02-03 text",
            "May be 12:25:01 later",
            "[ 1.5",
            "user :news :x",
            "é",
            "12:25:01",
            "[1.5555555555] x",
        ] {
            check(line.as_bytes(), 1, &[&format!("- - - | {line}")]);
        }
        check(b"\n  \n\r\n\0\0", 0, &[]);
        check(b"", 0, &[]);
    }

    #[test]
    fn what_journalctl_says_itself_is_no_record() {
        for note in [
            "-- No entries --",
            "-- Reboot --",
            "-- Boot 422187ae7ed44935b73eea4262667985 --",
            "-- Logs begin at Tue 2026-02-03 12:25:01 UTC, end at Tue 2026-02-03 12:30:00 UTC. --",
            "-- Journal begins at Tue 2026-02-03 12:25:01 UTC, ends at Tue 2026-02-03 12:30. --",
        ] {
            check(note.as_bytes(), 0, &[]);
        }
        for text in ["-- No entries", "-- text --", "--", "-- --"] {
            check(text.as_bytes(), 1, &[&format!("- - - | {text}")]);
        }
    }

    #[test]
    fn line_ends_colours_and_broken_text() {
        check(
            b"[    1.5] one\r\n[    2.5] two\r\n",
            0,
            &["- 1500000 - | one", "- 2500000 - | two"],
        );
        for end in ["\n\r", "\r\r\n", "\r"] {
            check(
                format!("[    1.5] one{end}[    2.5] two{end}").as_bytes(),
                0,
                &["- 1500000 - | one", "- 2500000 - | two"],
            );
        }
        check(b"\xef\xbb\xbf[ 1.5] one", 0, &["- 1500000 - | one"]);
        check(
            b"\x1b[32m[    1.5] \x1b[0m\x1b[33msda: \x1b[0mtext",
            0,
            &["- 1500000 - | sda: text"],
        );
        check(b"\x1b[1;31m[ 1.5] a\x1b[31", 0, &[r"- 1500000 - | a\x1b[31"]);
        check("\x1b[é ;m".as_bytes(), 1, &[r"- - - | \x1b[é ;m"]);
        check(b"[ 1.5] a\xffb\tc", 0, &["- 1500000 - | a\u{fffd}b\\x09c"]);
        check(b"[\xa0\xa0 1.5]\xa0x", 0, &["- 1500000 - | \u{fffd}x"]);
    }

    #[test]
    fn text_of_user_space_cannot_shed_its_mark_with_a_newline() {
        check(
            b"<12>[    1.5] one\nsecond\n[    2.5] three\nfour\n",
            2,
            &[
                "user.warn 1500000 - | one",
                "user.- - - | second",
                "- 2500000 - | three",
                "- - - | four",
            ],
        );
    }

    #[test]
    fn what_user_space_wrote_cannot_dress_as_the_kernels() {
        for (line, expected) in [
            ("<12><3>text", "user.err"),
            ("<12>kernel: text", "user.warn"),
            ("<12>kern  :err   : text", "user.err"),
            ("user  :err   : kernel: text", "user.err"),
            ("<12>2026-02-03T12:25:01Z kern.err text", "user.err"),
            ("<12>2026-02-03T12:25:01Z web kernel: text", "user.warn"),
        ] {
            assert_eq!(read_log(line.as_bytes()).records[0].priority(), expected, "{line}");
        }
    }

    /// Lines stacked from the layers that tools write, sound and broken ones.
    fn generated(random: &mut Random) -> Vec<u8> {
        const PIECES: [&[u8]; 42] = [
            b"[",
            b"]",
            b" ",
            b"[   1.5] ",
            b"[1234567.000001] ",
            b"[99999999999.999999999]",
            b"[ T123]",
            b"[ CPU3] ",
            b"[<    0.000010>] ",
            b"[  +0.000011] ",
            b"[Tue Feb  3 12:25:01 2026] ",
            b"[Feb 3 12:25] ",
            b"[\xa0\xa0 1.5]\xa0",
            b"<6>",
            b"<12>",
            b"<99999>",
            b"kern  :err   : ",
            b"daemon:notice: ",
            b"Feb  3 12:25:01",
            b"Feb 13 12:25:01.123456 web ",
            b" web ",
            b"kernel:",
            b"kernel: <4>",
            b"sshd[71]: ",
            b"6,1,1,-;",
            b"12,18446744073709551615,1,-;",
            b"\n",
            b"\n SUBSYSTEM=pci\n",
            b"\n \xe2\x80\xaeA=\x1b",
            b"\0",
            b"\r\n",
            b"\xff",
            b"\xe2\x80",
            b"\xe2\x80\xae",
            b"\x1b[",
            b"\x1b[0;31m",
            b"2026-02-03T12:25:01,5Z ",
            b"Tue 2026-02-03 12:25:01 UTC ",
            b"kern.err ",
            b"-- Reboot --",
            b"EDAC MC0: 1 CE",
            b"\xc3\xa9",
        ];
        let mut bytes = Vec::new();
        for _ in 0..random.below(24) {
            bytes.extend_from_slice(random.one_of(&PIECES));
        }
        if random.one_in(500) {
            bytes.extend(std::iter::repeat_n(b'[', random.below(10_000) as usize));
        }
        for _ in 0..if random.one_in(3) { random.below(3) } else { 0 } {
            random.damage(&mut bytes);
        }
        bytes
    }

    /// Seeded: whatever bytes come, no line with text is lost, no control character is kept, and
    /// what is kept is not much longer than what came: four for a byte (`\x1b`).
    #[test]
    fn generated_logs_lose_no_line() {
        let tally = generate("logs", 0x7a55_7e87, |random| {
            let input = generated(random);
            let log = read_log(&input);
            let shown = input.escape_ascii();
            let details: Vec<_> = log.records.iter().flat_map(|record| &record.details).collect();
            assert_eq!(log.records.len() + details.len() + log.wrapped, log.lines, "{shown}");
            let details = details.into_iter().flat_map(|(key, value)| [key, value]);
            let texts = log.records.iter().map(|record| &record.text).chain(details);
            let stamps = log.records.iter().filter_map(|record| record.stamp.as_ref());
            let mut length = 0;
            for text in texts.chain(stamps) {
                assert!(!text.chars().any(crate::kernel::is_unprintable), "{shown}");
                length += text.len();
            }
            assert!(length <= 4 * input.len(), "{shown}");
            let whole = log.lines > 0 && log.unreadable == 0;
            whole.then_some(()).ok_or_else(|| "nothing, or a line that fits no form".to_owned())
        });
        tally.reached(10, &["nothing, or a line that fits no form"]);
    }

    /// Real logs, which lie beside the project where it is developed: what each line says is kept,
    /// and as many records have a stamp as the label of the log counts.
    #[test]
    fn real_logs_are_read_whole() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus");
        let Ok(entries) = std::fs::read_dir(folder) else {
            println!("skipped: no logs in {folder}");
            return;
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        let (mut lines, mut stamped) = (0, 0);
        for path in paths.filter(|path| path.extension().is_some_and(|kind| kind == "log")) {
            let name = path.display();
            let bytes = std::fs::read(&path).unwrap();
            let log = read_log(&bytes);
            let label = std::fs::read(path.with_extension("json")).unwrap();
            let label: serde_json::Value = serde_json::from_slice(&label).unwrap();

            let details: Vec<_> = log.records.iter().flat_map(|record| &record.details).collect();
            assert_eq!(log.records.len() + details.len() + log.wrapped, log.lines, "{name}");
            let mut kept: String =
                log.records.iter().map(|record| format!("{}\n", record.text)).collect();
            kept.extend(details.iter().map(|(key, value)| format!("{key}={value}\n")));
            let text = String::from_utf8_lossy(&bytes);
            let text = without_escapes(&text);
            let with_text = text.split(['\n', '\0']).filter(|line| !line.trim().is_empty());
            for line in with_text.clone() {
                let last = line.split_whitespace().last().unwrap_or("");
                // Some lines are nothing but a stamp.
                let only_stamp = last.trim_matches(['[', ']']).parse::<f64>().is_ok();
                let said = only_stamp || kept.contains(&escape_controls(last));
                assert!(said, "{name}: {line}");
            }
            assert_eq!(with_text.count(), log.lines, "{name}");

            let known = log.records.iter();
            let known = known.filter(|record| record.usec.is_some() || record.stamp.is_some());
            let expected = match label["format"].as_str() {
                Some("bare-kernel-prefix") => 0,
                // Details of /dev/kmsg are among the lines that it counts.
                Some("kmsg") => log.lines as u64 - details.len() as u64 - log.wrapped as u64,
                _ => label["log_lines"].as_u64().unwrap(),
            };
            let count = known.count();
            assert!(count as u64 >= expected, "{name}: {count} of {expected} with a stamp");
            lines += log.lines;
            stamped += count;
        }
        println!("{lines} lines, {stamped} records with a stamp");
        assert!(lines > 0, "{folder} holds no log");
    }
}
