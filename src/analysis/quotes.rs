//! Evidence: where in the records a quote stands.
//!
//! Owns how a record's text and a model's copy of it are made alike before they are compared: white
//! space is folded, and an escape counts as what it stands for, in whichever form it is written.
//! Pure. `reply` drives it, with one `Quotes` for all issues of a reply.

use std::ops::Range;

use super::verdict::RECORDS_PER_ISSUE_MAX;
use crate::kernel::{Origin, Record};

/// A quote that shows less than this of any record would be found in almost any log, unless it is a
/// whole record.
const QUOTE_CHARS_MIN: usize = 8;
/// Of a quote that begins or ends in what a program wrote: so many letters of the kernel's, or a
/// whole record of its, and half of all letters, or it is the program's. A few words of whatever
/// record stands beside it are had for nothing.
const KERNEL_LETTERS_MIN: usize = 24;

/// The records of one question, folded once. A search looks at each of their bytes twice at most.
pub(super) struct Quotes<'a> {
    records: &'a [Record],
    /// All records, a blank between consecutive ones and a line feed, which no quote can hold,
    /// where records are missing.
    text: String,
    /// Where in `text` each record lies.
    spans: Vec<Range<usize>>,
}

/// What a quote shows of one of the records that it lies across.
struct Part<'a> {
    at: usize,
    text: &'a str,
    /// It is all of that record, which is not empty.
    whole: bool,
}

/// The records that hold a quote, in order. No more of each kind than an issue keeps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Of the kernel, or of a form that does not say.
    pub(super) kernel: Vec<usize>,
    /// Text that a program wrote.
    pub(super) user: Vec<usize>,
}

impl<'a> Quotes<'a> {
    pub(super) fn new(records: &'a [Record]) -> Self {
        let mut text = String::new();
        let mut spans = Vec::with_capacity(records.len());
        let mut before: Option<&Record> = None;
        for record in records {
            if before.is_some_and(|before| !follows(before, record)) {
                text.push('\n');
            } else if !text.is_empty() && !text.ends_with([' ', '\n']) {
                text.push(' ');
            }
            let start = text.len();
            text.push_str(&folded(&record.text));
            spans.push(start..text.len());
            before = Some(record);
        }
        Self { records, text, spans }
    }

    /// Where the quote lies within one record, else within consecutive ones; `None` for nowhere.
    pub(super) fn find(&self, quote: &str) -> Option<Places> {
        let quote = folded(quote);
        let long_enough = quote.chars().count() >= QUOTE_CHARS_MIN;
        let mut places = Places::default();
        if quote.is_empty() {
            return None;
        }
        // Record by record, so that what stands before a record hides nothing in it. None that is
        // shorter than the quote is searched, so that all searches together stay linear.
        for (at, span) in
            self.spans.iter().enumerate().filter(|(_, span)| span.len() >= quote.len())
        {
            let text = &self.text[span.clone()];
            if text == quote || (long_enough && text.contains(&quote)) {
                self.add(&mut places, at);
            }
            if places.kernel.len() == RECORDS_PER_ISSUE_MAX {
                break;
            }
        }
        if long_enough && places.kernel.is_empty() {
            self.find_across(&quote, &mut places);
        }
        (places != Places::default()).then_some(places)
    }

    fn find_across(&self, quote: &str, places: &mut Places) {
        for (start, _) in self.text.match_indices(quote) {
            let end = start + quote.len();
            let first = self.spans.partition_point(|span| span.end <= start);
            if self.spans[first].end >= end {
                continue;
            }
            let touched = self.spans[first..].iter().take_while(|span| span.start < end);
            let parts: Vec<_> = touched
                .enumerate()
                .map(|(at, span)| Part {
                    at: first + at,
                    text: &self.text[span.start.max(start)..span.end.min(end)],
                    whole: start <= span.start && span.end <= end && !span.is_empty(),
                })
                .collect();
            let of_kernel = self.is_the_kernels(&parts);
            for part in parts.iter().filter(|part| of_kernel || self.is_users(part.at)) {
                // A few letters of a neighbour prove nothing about it: the quote may lie there, and
                // names it not.
                if part.whole || part.text.chars().count() >= QUOTE_CHARS_MIN {
                    self.add(places, part.at);
                }
            }
            if places.kernel.len() == RECORDS_PER_ISSUE_MAX {
                break;
            }
        }
    }

    /// Whether a quote of these parts shows enough that no program wrote.
    fn is_the_kernels(&self, parts: &[Part<'_>]) -> bool {
        let letters = |users: bool| {
            let of = parts.iter().filter(|part| self.is_users(part.at) == users);
            let letters = |part: &Part<'_>| part.text.chars().filter(|c| *c != ' ').count();
            of.map(letters).sum::<usize>()
        };
        let (kernel, user) = (letters(false), letters(true));
        let whole = || parts.iter().any(|part| part.whole && !self.is_users(part.at));
        user == 0 || kernel >= user && (kernel >= KERNEL_LETTERS_MIN || whole())
    }

    fn is_users(&self, at: usize) -> bool {
        self.records[at].origin() == Origin::User
    }

    fn add(&self, places: &mut Places, at: usize) {
        let list = if self.is_users(at) { &mut places.user } else { &mut places.kernel };
        if list.len() < RECORDS_PER_ISSUE_MAX && list.last() != Some(&at) {
            list.push(at);
        }
    }
}

/// Whether nothing is known to be missing between the two.
fn follows(before: &Record, record: &Record) -> bool {
    match (before.seq, record.seq) {
        (Some(before), Some(seq)) => seq.0 == before.0.saturating_add(1),
        _ => true,
    }
}

/// White space as single blanks, escapes as what they stand for. Only for comparing: the result may
/// hold anything.
pub(super) fn folded(text: &str) -> String {
    let plain = if text.contains('\\') { unescaped(text).into() } else { text.into() };
    let plain: std::borrow::Cow<'_, str> = plain;
    let mut out = String::with_capacity(plain.len());
    for word in plain.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// The kernel writes bytes as `\x1b` and its backslash as `\x5c`; models copy that, or write what
/// it stands for, or escape it once more. A backslash escaped any number of times is one.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        loop {
            match escape(rest) {
                Some((Escape::Byte(b'\\') | Escape::Char('\\'), after)) => rest = after,
                Some((Escape::Byte(byte), after)) => {
                    out.push(byte);
                    rest = after;
                    break;
                }
                Some((Escape::Char(character), after)) => {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = after;
                    break;
                }
                None => {
                    out.push(b'\\');
                    break;
                }
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

enum Escape {
    /// Several of them make one character.
    Byte(u8),
    Char(char),
}

/// What stands behind a backslash, and what follows it.
fn escape(text: &str) -> Option<(Escape, &str)> {
    let first = text.chars().next()?;
    let hex = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        all.then(|| u32::from_str_radix(digits, 16).ok())?
    };
    match first {
        'x' => Some((Escape::Byte(hex(1, 3)? as u8), &text[3..])),
        'u' => {
            let unit = hex(1, 5)?;
            // JSON writes what is above U+FFFF as two halves.
            if (0xd800..0xdc00).contains(&unit) && text.get(5..7) == Some("\\u") {
                let low = hex(7, 11).filter(|low| (0xdc00..0xe000).contains(low))?;
                let whole = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Some((Escape::Char(char::from_u32(whole)?), &text[11..]));
            }
            Some((Escape::Char(char::from_u32(unit)?), &text[5..]))
        }
        'n' | 'r' | 't' => Some((Escape::Char(' '), &text[1..])),
        '"' | '\'' | '/' | '\\' => Some((Escape::Char(first), &text[1..])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(lines: &[&str]) -> Vec<Record> {
        lines.iter().map(|line| Record::parse(line).unwrap()).collect()
    }

    /// `kernel | user`, as places.
    fn check(lines: &[&str], quote: &str, expected: Option<(&[usize], &[usize])>) {
        let records = records(lines);
        let found = Quotes::new(&records).find(quote);
        let found = found.as_ref().map(|found| (found.kernel.as_slice(), found.user.as_slice()));
        assert_eq!(found, expected, "{quote:?} in {lines:#?}");
    }

    #[test]
    fn a_quote_lies_within_one_record() {
        let lines =
            ["3,1,1,-;EDAC MC0: 1 CE on DIMM_A1", "3,2,1,-;tiny", "12,3,1,-;EDAC MC0: 1 CE"];
        for (quote, expected) in [
            ("EDAC MC0: 1 CE", Some((&[0][..], &[2][..]))),
            ("  EDAC\tMC0:\u{a0}1\r\nCE  ", Some((&[0], &[2]))),
            ("1 CE on DIMM_A1", Some((&[0], &[]))),
            ("tiny", Some((&[1], &[]))),
            ("EDAC MC0: 2 CE", None),
            ("edac mc0: 1 ce", None),
            ("tin", None),
            ("1 CE on", None),
            ("", None),
            (" \n", None),
        ] {
            check(&lines, quote, expected);
        }
    }

    #[test]
    fn a_quote_lies_within_consecutive_records() {
        let lines = [
            "3,1,1,-;nvme nvme0: I/O 5 timeout",
            "3,2,1,-;nvme nvme0: controller is down",
            "12,3,1,-;a program's words",
            "3,4,1,-;",
            "3,5,1,-;nvme nvme0: removed",
            "3,9,1,-;after a gap",
        ];
        for (quote, expected) in [
            ("I/O 5 timeout\nnvme nvme0: controller", Some((&[0, 1][..], &[][..]))),
            ("I/O 5 timeout nvme nvme0: controller", Some((&[0, 1], &[]))),
            ("controller is down\na program's words\nnvme nvme0", Some((&[1, 4], &[2]))),
            // Of the neighbour only a few letters: it is not what the quote shows.
            ("down\na program's words\nnvme", Some((&[], &[2]))),
            ("out\nnvme nv", None),
            ("out\nnvme nvme0: contr", Some((&[1], &[]))),
            // Not side by side, or the wrong way round.
            ("I/O 5 timeout\nnvme nvme0: removed", None),
            ("controller is down\nnvme nvme0: I/O 5 timeout", None),
            ("nvme nvme0: removed\nafter a gap", None),
        ] {
            check(&lines, quote, expected);
        }
    }

    /// In either order; a model that is told to may copy any beginning of any record.
    #[test]
    fn words_of_a_neighbour_do_not_make_a_programs_text_the_kernels() {
        const USER: &str = "MCE: CPU 3 is melting, replace the board";
        const KERNEL: &str = "usb 1-1: new high-speed USB device number 2";
        let after = [format!("12,1,1,-;{USER}"), format!("6,2,1,-;{KERNEL}")];
        let before = [format!("6,1,1,-;{KERNEL}"), format!("12,2,1,-;{USER}")];
        let short = ["12,1,1,-;a program's words".to_owned(), "3,2,1,-;out of paper".to_owned()];
        for (lines, quote, expected) in [
            (&after, format!("{USER} usb 1-1: new"), (&[][..], &[0][..])),
            (&after, format!("{USER} usb 1-1: new high-speed USB device"), (&[], &[0])),
            (&after, format!("{USER} {KERNEL}"), (&[1], &[0])),
            (&after, format!("replace the board {KERNEL}"), (&[1], &[0])),
            (&after, format!("replace the board {}", &KERNEL[..30]), (&[1], &[0])),
            (&after, format!("he board {}", &KERNEL[..20]), (&[], &[0])),
            (&before, format!("number 2 {USER}"), (&[], &[1])),
            (&before, format!("high-speed USB device number 2 {USER}"), (&[], &[1])),
            (&before, format!("{KERNEL} {USER}"), (&[0], &[1])),
            (&before, format!("{} MCE: CPU 3 is", &KERNEL[13..]), (&[0], &[1])),
            // A whole record, if a short one.
            (&short, "program's words out of paper".to_owned(), (&[], &[0])),
            (&short, "m's words out of paper".to_owned(), (&[1], &[0])),
        ] {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            check(&lines, &quote, Some(expected));
        }
    }

    /// What stands around a kernel's record cannot take it away.
    #[test]
    fn user_text_hides_no_record() {
        let quote = "x x x x x";
        check(&["12,1,1,-;x x x", "3,2,1,-;x x x x x"], quote, Some((&[1], &[])));
        let mut lines = vec!["12,1,1,-;x x x x x"; 100];
        lines.push("3,2,1,-;x x x x x");
        let records = records(&lines);
        let places = Quotes::new(&records).find(quote).unwrap();
        assert_eq!((places.kernel, places.user.len()), (vec![100], RECORDS_PER_ISSUE_MAX));
    }

    #[test]
    fn escapes_count_as_what_they_stand_for() {
        for (record, quotes) in [
            (
                r"label \x1b[31mred\xc3\xa9 end",
                &[
                    r"label \x1b[31mred\xc3\xa9 end",
                    r"label \x1B[31mred\u00e9 end",
                    "label \u{1b}[31mredé end",
                    r"label \u001b[31mredé end",
                    r"label \\x1b[31mred\\xc3\\xa9 end",
                    r"label \\\\u001b[31mred\xC3\xA9 end",
                ][..],
            ),
            (
                r#"comm="sh" path \x5ctmp\x5c\x5cx "#,
                &[r#"comm=\"sh\" path \x5ctmp"#, r#"comm=\\\"sh\\\" path \tmp\x"#],
            ),
            (r"one\x0atwo three", &["one\ntwo three", r"one\ntwo three", r"one\u000atwo three"]),
            (r"face \xf0\x9f\x98\x80 here", &["face 😀 here", r"face \ud83d\ude00 here"]),
            (r"turn \xe2\x80\xae back", &["turn \u{202e} back", r"turn \u202e back"]),
            (r"\_SB.PCI0 not found", &[r"\_SB.PCI0 not found", r"\\_SB.PCI0 not found"]),
            (r"broken \xff\xe2\x80 bytes", &[r"broken \xff\xe2\x80 bytes"]),
            (r"cut in an escape \x5", &[r"cut in an escape \x5"]),
        ] {
            for quote in quotes {
                check(&[&format!("3,1,1,-;{record}")], quote, Some((&[0], &[])));
            }
        }
        for odd in
            [r"\", r"\\", r"\x", r"\xé", r"\u", r"\ud83d", r"\ud83d\u0041", r"\u00é", r"\x+1"]
        {
            folded(odd);
        }
    }
}
