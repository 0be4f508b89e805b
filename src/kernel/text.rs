//! A kernel log in any usual form, read into records: /dev/kmsg, `dmesg` and its options, syslog,
//! journalctl.
//!
//! Owns the forms of a line and nothing else: opens no file, reads no clock, interprets no wall
//! clock. A line is taken apart from the left, layer by layer (priority, wall-clock stamp, host and
//! tag, kernel stamp, caller), because tools stack these in every combination. What is left is the
//! text. `analyze` drives it.

use super::record::FACILITIES;
use super::{Caller, Level, Record, escape_controls};

/// What a file holds. Every line that has text is in `records`, but for journalctl's notes.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    /// Lines that are not blank, nor journalctl's own; a record's ` KEY=value` lines count too.
    pub(crate) lines: usize,
    /// Lines that fit no known form. They are records too, of which only the text is known.
    pub(crate) unreadable: usize,
}

/// Reads whatever bytes come: there is no input that fails.
pub(crate) fn read_log(bytes: &[u8]) -> Log {
    let mut log = Log::default();
    let mut from_kmsg = false;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Programs that dump /dev/kmsg read by read put a NUL before or after each record.
    for line in bytes.split(|byte| matches!(byte, b'\n' | 0)) {
        let decoded = String::from_utf8_lossy(line);
        let plain = without_ansi(decoded.trim_end_matches('\r'));
        if plain.trim().is_empty() || is_journal_note(&plain) {
            continue;
        }
        log.lines += 1;
        if from_kmsg
            && let (Some(detail), Some(last)) = (kmsg_detail(&plain), log.records.last_mut())
        {
            last.details.push(detail);
            continue;
        }
        let record = kmsg_record(&plain);
        from_kmsg = record.is_some();
        let record = record.or_else(|| stamped_record(&plain)).unwrap_or_else(|| {
            log.unreadable += 1;
            bare_record(&plain, log.records.last())
        });
        log.records.push(record);
    }
    log
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

const KERNEL: u16 = 0;
const USER: u16 = 1;

fn kmsg_record(line: &str) -> Option<Record> {
    line.starts_with(|first: char| first.is_ascii_digit())
        .then(|| Record::parse(line).ok())
        .flatten()
}

/// ` SUBSYSTEM=pci`: the kernel's own keys are upper case, which keeps prose with a `=` in it out.
fn kmsg_detail(line: &str) -> Option<(String, String)> {
    let (key, value) = line.strip_prefix(' ')?.split_once('=')?;
    let of_key = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!key.is_empty() && key.bytes().all(of_key))
        .then(|| (escape_controls(key), escape_controls(value)))
}

fn stamped_record(line: &str) -> Option<Record> {
    let mut reader = Reader { rest: line, ..Reader::default() };
    let known = reader.read();
    known.then(|| Record {
        usec: reader.usec,
        level: reader.level,
        facility: reader.facility,
        caller: reader.caller,
        stamp: reader.stamp.map(escape_controls),
        ..Record::from_text(reader.rest)
    })
}

/// What the layers taken so far have told, and what is left of the line.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a str,
    usec: Option<u64>,
    level: Option<Level>,
    facility: Option<u16>,
    caller: Option<Caller>,
    stamp: Option<&'a str>,
}

impl<'a> Reader<'a> {
    /// Takes every layer off; whether there was any.
    fn read(&mut self) -> bool {
        let mut known = self.number_priority().is_some() | self.decoded_priority().is_some();
        let mut tagged = false;
        if let Some((stamp, rest)) = wall_stamp(self.rest) {
            known = true;
            self.stamp = Some(stamp);
            self.rest = rest;
            // Only dmesg writes a comma before the fraction, and it names neither host nor tag.
            if !stamp.contains(',') {
                tagged = self.host_and_tag();
            }
        } else if let Some(rest) = self.rest.strip_prefix("kernel:") {
            known = true;
            self.written_by(KERNEL);
            self.rest = after_blank(rest);
        }
        // Behind a program's tag everything is that program's text, stamps included.
        if !tagged {
            known |= self.number_priority().is_some();
            known |= self.brackets();
        }
        known
    }

    /// `<6>`, as `dmesg -r` and old consoles write it.
    fn number_priority(&mut self) -> Option<()> {
        let (digits, rest) = self.rest.strip_prefix('<')?.split_once('>')?;
        let prefix: u16 = all_digits(digits).then(|| digits.parse().ok())??;
        self.level = Some(Level::from_prefix(prefix.into()));
        self.written_by(prefix >> 3);
        self.rest = rest;
        Some(())
    }

    /// `kern  :err   : `, as `dmesg -x` writes it.
    fn decoded_priority(&mut self) -> Option<()> {
        let (facility, rest) = self.rest.split_once(':')?;
        let (level, rest) = rest.split_once(':')?;
        let level = Level::from_name(level.trim_end())?;
        self.written_by(facility_from_name(facility.trim_end())?);
        self.level = Some(level);
        self.rest = after_blank(rest);
        Some(())
    }

    /// What looks like a further layer may be text: once one says user space, none after it takes
    /// that back.
    fn written_by(&mut self, facility: u16) {
        self.facility = self.facility.filter(|known| *known != KERNEL).or(Some(facility));
    }

    /// What follows a syslog stamp: `host kernel: `, `host sshd[71]: `, `host kern.err kernel: `
    /// (BusyBox), or our own `kern.err `. A line without the kernel's tag is a program's, whatever
    /// it says; whether it is.
    fn host_and_tag(&mut self) -> bool {
        if let Some(rest) = self.dotted_priority(self.rest) {
            self.rest = rest;
            return false;
        }
        let mut rest = self.rest;
        // rsyslog may leave no blank behind the kernel's tag; a program's ends its word.
        if !rest.starts_with("kernel:")
            && !rest.split(' ').next().is_some_and(|word| word.ends_with(':'))
        {
            rest = after_word(rest);
            rest = self.dotted_priority(rest).unwrap_or(rest);
        }
        let kernels = rest.strip_prefix("kernel:");
        self.written_by(if kernels.is_some() { KERNEL } else { USER });
        self.rest = kernels.map_or(rest, after_blank);
        kernels.is_none()
    }

    /// `kern.err `, and `-` for both where a form did not say.
    fn dotted_priority(&mut self, text: &'a str) -> Option<&'a str> {
        let (word, rest) = text.split_once(' ')?;
        if word != "-" {
            let (facility, level) = word.split_once('.')?;
            let known_facility = facility_from_name(facility);
            let known_level = Level::from_name(level);
            if (known_facility.is_none() && facility != "-")
                || (known_level.is_none() && level != "-")
            {
                return None;
            }
            if let Some(facility) = known_facility {
                self.written_by(facility);
            }
            self.level = known_level;
        }
        Some(rest)
    }

    /// `[   12.345678] `, `[Tue Feb  3 12:25:01 2026] `, both as some consoles write, then
    /// `[  T123] `.
    fn brackets(&mut self) -> bool {
        let mut known = false;
        while let Some((inner, rest)) = bracket(self.rest) {
            if let Some(usec) = microseconds(inner) {
                self.usec = Some(usec);
            } else if is_calendar(inner) {
                self.stamp = Some(inner);
            } else if let Some(caller) = Caller::parse(inner) {
                self.caller = Some(caller);
            } else if !is_difference(inner) {
                break;
            }
            known = true;
            self.rest = rest;
        }
        if known {
            // One blank belongs to the stamp; more of them are the text's own indentation.
            self.rest = after_blank(self.rest);
        }
        known
    }
}

/// What stands in the brackets that the text starts with, blanks before them skipped. Some mail
/// programs make the padding no-break spaces, and some archives broke these.
fn bracket(text: &str) -> Option<(&str, &str)> {
    let inner = text.trim_start_matches(PADDING).strip_prefix('[')?;
    // No stamp is longer, and a line may be.
    let end = inner.bytes().take(48).position(|byte| byte == b']')?;
    Some((inner[..end].trim_matches(PADDING), &inner[end + 1..]))
}

const PADDING: [char; 4] = [' ', '\t', '\u{a0}', '\u{fffd}'];

/// `12.345678`, also with the difference that `dmesg -d` puts behind it.
fn microseconds(inner: &str) -> Option<u64> {
    let stamp = inner.split('<').next()?.trim_end();
    let (seconds, fraction) = stamp.split_once('.')?;
    if seconds.len() > 11 || fraction.len() > 9 || !all_digits(seconds) || !all_digits(fraction) {
        return None;
    }
    let nanos = fraction.parse::<u64>().ok()? * 10_u64.pow(9 - fraction.len() as u32);
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + nanos / 1_000)
}

/// `Tue Feb  3 12:25:01 2026`, `Feb 3 12:25` (`dmesg -H`), `2026-02-03 12:25:01.123`.
fn is_calendar(inner: &str) -> bool {
    let first = inner.split([' ', '-']).next().unwrap_or("");
    (WEEKDAYS.contains(&first) || MONTHS.contains(&first) || is_like(first, "0000"))
        && inner.contains(':')
}

/// `+0.000011` (`dmesg -H`) and `<    0.000010>` (`dmesg -d`): time since the line before, of no
/// use alone.
fn is_difference(inner: &str) -> bool {
    let number = inner.strip_prefix('+').or_else(|| inner.strip_prefix('<')?.strip_suffix('>'));
    number.is_some_and(|number| {
        number.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A stamp without brackets, and what follows: `Feb  3 12:25:01`, `2026-02-03 12:25:01`,
/// `2026-02-03T12:25:01.123456+00:00`, `Tue 2026-02-03 12:25:01 UTC`.
fn wall_stamp(line: &str) -> Option<(&str, &str)> {
    let mut rest = line;
    let first = rest.get(..3)?;
    if MONTHS.contains(&first) {
        rest = rest[3..].strip_prefix(' ')?.trim_start_matches(' ');
        let day = rest.get(..rest.find(' ')?).filter(|day| day.len() <= 2 && all_digits(day))?;
        rest = rest[day.len()..].trim_start_matches(' ');
        rest = after_time(rest)?;
    } else {
        let weekday = WEEKDAYS.contains(&first) && rest[3..].starts_with(' ');
        rest = if weekday { &rest[4..] } else { rest };
        let date = rest.get(..10).filter(|date| is_like(date, "0000-00-00"))?;
        rest = after_time(rest[date.len()..].strip_prefix(['T', ' '])?)?;
        if weekday {
            rest = after_word(rest);
        }
    }
    Some((line[..line.len() - rest.len()].trim_end(), rest))
}

/// What follows `12:25:01`, its fraction, its zone and a blank.
fn after_time(text: &str) -> Option<&str> {
    let end = text.find(' ').unwrap_or(text.len());
    let of_zone = |byte: u8| byte.is_ascii_digit() || b".,+-:Z".contains(&byte);
    let clock = text.get(..8).filter(|clock| is_like(clock, "00:00:00"))?;
    text[clock.len()..end].bytes().all(of_zone).then(|| after_blank(&text[end..]))
}

/// A digit for each digit, and every other byte as it is.
fn is_like(text: &str, shape: &str) -> bool {
    let like =
        |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(like)
}

fn after_blank(text: &str) -> &str {
    text.strip_prefix([' ', '\u{a0}']).unwrap_or(text)
}

fn after_word(text: &str) -> &str {
    text.split_once(' ').map_or(text, |(_, rest)| rest)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn facility_from_name(name: &str) -> Option<u16> {
    FACILITIES.iter().position(|known| *known == name).map(|index| index as u16)
}

/// Colours (`dmesg --color=always`). What is no whole sequence of that kind stays, and is shown as
/// `\x1b`.
fn without_ansi(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return line.into();
    }
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        let text = piece.trim_start_matches(|parameter| matches!(parameter, ' '..='?'));
        match text.strip_prefix(|last| matches!(last, '@'..='~')) {
            Some(text) => plain.push_str(text),
            None => plain.extend(["\u{1b}[", piece]),
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(
            (log.records[0].seq, log.records[0].details.len()),
            (Some(crate::kernel::Seq(7)), 2)
        );
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
            ("Feb  3 12:25:01 web no tag at all", "user.- - Feb  3 12:25:01 | no tag at all"),
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
            ("Feb  3 12:25:01 rebooting", "user.- - Feb  3 12:25:01 | rebooting"),
        ] {
            check(line.as_bytes(), 0, &[expected]);
        }
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
            assert_eq!(log.records.len() + details.len(), log.lines, "{shown}");
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
}
