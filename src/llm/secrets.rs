//! Secrets in the words of strangers: found however they are written, and struck out.
//!
//! Pure. A server may break a key with a line feed or a character that nobody sees, and write it
//! with escapes of JSON, of a url or of HTML; whoever reads what is stored would put it together
//! again. What is looked at is therefore the letters that a text stands for, all of them small.

use std::collections::HashSet;
use std::ops::Range;

/// Of a secret: what is shorter stands in any text.
const CHARS_MIN: usize = 4;
/// Of one that is found with something between its letters; a shorter one, so spread, stands in any
/// text as well.
const SPREAD_CHARS_MIN: usize = 8;
/// So much of a key is enough to find who it belongs to. So much of several words stands in other
/// texts too.
const PART_CHARS: usize = 12;
const STRUCK: &str = "[secret]";
/// The digits of an escape.
const ESCAPE_CHARS_MAX: usize = 8;

/// A text without its secrets.
pub(crate) fn hidden(text: &str, secrets: &[&str]) -> String {
    let ranges = found(text, secrets);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        // One may lie within another, or overlap with it.
        if range.start >= at {
            out.push_str(&text[at..range.start]);
            out.push_str(STRUCK);
        }
        at = at.max(range.end);
    }
    out.push_str(&text[at..]);
    out
}

/// Whether the text tells the secret, in whatever form.
pub(super) fn tells(text: &Letters<'_>, secret: &str) -> bool {
    text.find(secret).next().is_some()
}

fn found(text: &str, secrets: &[&str]) -> Vec<Range<usize>> {
    let letters = Letters::of(text);
    let told = secrets.iter().filter(|secret| secret.len() >= CHARS_MIN);
    let mut ranges: Vec<_> = told.flat_map(|secret| letters.find(secret)).collect();
    ranges.sort_by_key(|range| (range.start, range.end));
    ranges
}

/// The visible ASCII that a text stands for: white space, controls and all else are left out.
pub(super) struct Letters<'a> {
    text: &'a str,
    plain: String,
    /// Where in `text` each stands.
    places: Vec<Range<usize>>,
}

impl<'a> Letters<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (mut plain, mut places) = (String::new(), Vec::new());
        let mut at = 0;
        while at < text.len() {
            let (letter, length) = letter(&text[at..]);
            if let Some(letter) = letter.filter(char::is_ascii_graphic) {
                plain.push(letter.to_ascii_lowercase());
                places.push(at..at + length);
            }
            at += length;
        }
        Self { text, plain, places }
    }

    /// Where in the text the secret, or a part of it that tells it, stands: as it is and as what it
    /// stands for.
    fn find(&self, secret: &str) -> impl Iterator<Item = Range<usize>> {
        let as_it_is: Vec<_> = self.text.match_indices(secret).collect();
        let as_it_is = as_it_is.into_iter().map(|(at, found)| at..at + found.len());
        let wanted = Letters::of(secret).plain.into_bytes();
        let part = if secret.contains(' ') { wanted.len() } else { wanted.len().min(PART_CHARS) };
        let parts: HashSet<Vec<u8>> = match part >= CHARS_MIN && part <= self.plain.len() {
            true => wanted.windows(part).map(<[_]>::to_vec).collect(),
            false => HashSet::new(),
        };
        let runs = self.plain.as_bytes().windows(part.max(CHARS_MIN));
        let spread = runs.zip(self.places.windows(part.max(CHARS_MIN)));
        let spread = spread.filter_map(move |(run, places)| {
            let close = || places.windows(2).all(|two| two[0].end == two[1].start);
            let (first, last) = (places.first()?, places.last()?);
            let told = parts.contains(run) && (part >= SPREAD_CHARS_MIN || close());
            told.then_some(first.start..last.end)
        });
        as_it_is.chain(spread)
    }
}

/// The first letter that a text stands for, if it is one, and the bytes that it takes.
fn letter(text: &str) -> (Option<char>, usize) {
    let first = text.chars().next();
    let number = |from: usize, to: usize, radix: u32| {
        let digits = text.get(from..to)?;
        let all = digits.chars().all(|digit| digit.is_digit(radix));
        all.then(|| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32))?
    };
    let hex = |from: usize, to: usize| number(from, to, 16);
    // The place of what ends an escape that says so itself.
    let until = |from: usize, end: u8| {
        let rest = text.as_bytes().get(from..)?.iter().take(ESCAPE_CHARS_MAX);
        Some(from + rest.into_iter().position(|byte| *byte == end)?)
    };
    if first == Some('%') {
        // So is what is escaped in a url any number of times.
        let again = text.as_bytes()[1..].chunks(2).take_while(|pair| *pair == b"25").count() * 2;
        let escaped = hex(1 + again, 3 + again).map(|letter| (Some(letter), 3 + again));
        return escaped.or_else(|| Some((Some(hex(1, 3)?), 3))).unwrap_or((first, 1));
    }
    if first == Some('&') {
        let (from, radix) = if text[1..].starts_with("#x") { (3, 16) } else { (2, 10) };
        let end = until(from, b';').filter(|_| text[1..].starts_with('#'));
        let escaped = end.and_then(|end| Some((Some(number(from, end, radix)?), end + 1)));
        return escaped.unwrap_or((first, 1));
    }
    if first != Some('\\') {
        return (first, first.map_or(1, char::len_utf8));
    }
    // Escaped any number of times, it is one.
    let slashes = text.bytes().take_while(|byte| *byte == b'\\').count();
    let escaped = text[slashes..].chars().next();
    let digits = match escaped {
        Some('u') if text[slashes + 1..].starts_with('{') => {
            let from = slashes + 2;
            let end = until(from, b'}');
            let letter = end.and_then(|end| Some((Some(hex(from, end)?), end + 1)));
            return letter.unwrap_or((Some('\\'), slashes));
        }
        Some('u') => 4,
        Some('x') => 2,
        Some('n' | 'r' | 't' | 'b' | 'f') => return (None, slashes + 1),
        Some('"' | '\'' | '/') => return (escaped, slashes + 1),
        _ => return (Some('\\'), slashes),
    };
    let end = slashes + 1 + digits;
    hex(slashes + 1, end).map_or((Some('\\'), slashes), |letter| (Some(letter), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::tests::generate;

    const KEY: &str = "sk-canary/4711";

    #[test]
    fn a_secret_is_struck_out_however_it_is_written() {
        for (text, expected) in [
            ("bad key sk-canary/4711!", "bad key [secret]!"),
            (r"bad key sk-canary\/4711!", "bad key [secret]!"),
            (r"bad key sk-canary\\\/4711!", "bad key [secret]!"),
            (r"bad key \u0073\u006B-canary/4711!", "bad key [secret]!"),
            (r"bad key \\u0073k-canary\x2f4711!", "bad key [secret]!"),
            ("a?key=sk-canary%2F4711&b", "a?key=[secret]&b"),
            ("a?key=sk-canary%252F4711&b", "a?key=[secret]&b"),
            ("a?key=sk-canary%25252F4711&b", "a?key=[secret]&b"),
            (r"bad key \u{73}k-canary\u{00002f}4711!", "bad key [secret]!"),
            ("bad key &#115;k-canary&#x2F;&#x34;711!", "bad key [secret]!"),
            (
                "&#x; &#; & &#x110000; &#99999999999; %25 %2 \\u{} \\u{73",
                "&#x; &#; & &#x110000; &#99999999999; %25 %2 \\u{} \\u{73",
            ),
            ("bad key SK-CANARY/4711!", "bad key [secret]!"),
            ("bad key sk-canary/47...", "bad key [secret]..."),
            ("bad key sk-canary/4...", "bad key sk-canary/4..."),
            ("bad key ...-canary/4711", "bad key ...[secret]"),
            ("two words and more, and two words and less", "[secret], and two words and less"),
            ("bad key sk-can\nary/4711!", "bad key [secret]!"),
            (r"bad key sk-can\nary/4711!", "bad key [secret]!"),
            ("bad key sk-can\u{200b}ary/\u{ad}4711!", "bad key [secret]!"),
            (r"bad key sk-can\u200bary/4711!", "bad key [secret]!"),
            (r"bad key sk-can\xe2\x80\x8bary/4711!", "bad key [secret]!"),
            ("bad key s k - c a n a r y / 4 7 1 1", "bad key [secret]"),
            ("sk-canary/4711sk-canary/4711", "[secret][secret]"),
            ("k3y! k 3y! sk-canary/4712", "[secret] k 3y! [secret]2"),
            (
                r"C:\k3y! \k3y! \n\u12 \ud83d %zz % \",
                r"C:\[secret] \[secret] \n\u12 \ud83d %zz % \",
            ),
            ("canary/4711 and sk-canary/4711", "[secret] and [secret]"),
            ("abc", "abc"),
            ("", ""),
        ] {
            let secrets = [KEY, "k3y!", "canary/4711", "two words and more", "abc", ""];
            assert_eq!(hidden(text, &secrets), expected, "{text:?}");
        }
        // Written with what looks like an escape, or with nothing that is looked at.
        for odd in [r"a\nb\u0041c", "50%25off", r"\\\\", "ключ-ключ", "    "] {
            assert_eq!(hidden(&format!("<{odd}>"), &[odd]), "<[secret]>", "{odd}");
        }
    }

    /// Seeded: whatever a stranger writes, what is left does not hold the key, and nothing panics.
    #[test]
    fn generated_texts_tell_no_secret() {
        const PIECES: [&str; 14] = [
            "sk-",
            "canary",
            "/",
            r"\/",
            "4711",
            r"\u002f",
            "%2F",
            "\u{200b}",
            "\n",
            r"\\",
            "é",
            r"\u00",
            "%",
            "sk-canary/",
        ];
        let tally = generate("secrets", 0x5ec7_e700, |random| {
            let pieces = (0..random.below(24)).map(|_| PIECES[random.below(14) as usize]);
            let text: String = pieces.collect();
            let left = hidden(&text, &[KEY]);
            assert!(!left.contains(KEY), "{text:?}");
            assert!(!Letters::of(&left).plain.contains(KEY), "{text:?}");
            if left == text { Err("nothing is told".to_owned()) } else { Ok(()) }
        });
        tally.reached(3, &["nothing is told"]);
    }
}
