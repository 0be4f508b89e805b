//! Secrets in the words of strangers: found however they are written, and struck out.
//!
//! Pure. A server may break a key with a line feed or a character that nobody sees, and write it
//! with escapes of JSON or of a url; whoever reads what is stored would put it together again. What
//! is looked at is therefore the letters that a text stands for.

use std::ops::Range;

/// Of a secret: what is shorter stands in any text.
const CHARS_MIN: usize = 4;
/// Of one that is found with something between its letters; a shorter one, so spread, stands in any
/// text as well.
const SPREAD_CHARS_MIN: usize = 8;
const STRUCK: &str = "[secret]";

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
                plain.push(letter);
                places.push(at..at + length);
            }
            at += length;
        }
        Self { text, plain, places }
    }

    /// Where in the text the secret stands, as it is and as what it stands for.
    fn find(&self, secret: &str) -> impl Iterator<Item = Range<usize>> {
        let as_it_is: Vec<_> = self.text.match_indices(secret).collect();
        let as_it_is = as_it_is.into_iter().map(|(at, found)| at..at + found.len());
        let wanted = Letters::of(secret).plain;
        let enough = wanted.len() >= CHARS_MIN;
        let starts: Vec<_> = self.plain.match_indices(&wanted).map(|(at, _)| at).collect();
        let spread = starts.into_iter().filter(move |_| enough).filter_map(move |at| {
            let places = &self.places[at..at + wanted.len()];
            let close = places.windows(2).all(|two| two[0].end == two[1].start);
            let (first, last) = (places.first()?, places.last()?);
            (close || wanted.len() >= SPREAD_CHARS_MIN).then_some(first.start..last.end)
        });
        as_it_is.chain(spread)
    }
}

/// The first letter that a text stands for, if it is one, and the bytes that it takes.
fn letter(text: &str) -> (Option<char>, usize) {
    let first = text.chars().next();
    let hex = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        all.then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32))?
    };
    if first == Some('%')
        && let Some(letter) = hex(1, 3)
    {
        return (Some(letter), 3);
    }
    if first != Some('\\') {
        return (first, first.map_or(1, char::len_utf8));
    }
    // Escaped any number of times, it is one.
    let slashes = text.bytes().take_while(|byte| *byte == b'\\').count();
    let escaped = text[slashes..].chars().next();
    let digits = match escaped {
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
            ("bad key sk-can\nary/4711!", "bad key [secret]!"),
            (r"bad key sk-can\nary/4711!", "bad key [secret]!"),
            ("bad key sk-can\u{200b}ary/\u{ad}4711!", "bad key [secret]!"),
            (r"bad key sk-can\u200bary/4711!", "bad key [secret]!"),
            (r"bad key sk-can\xe2\x80\x8bary/4711!", "bad key [secret]!"),
            ("bad key s k - c a n a r y / 4 7 1 1", "bad key [secret]"),
            ("sk-canary/4711sk-canary/4711", "[secret][secret]"),
            ("k3y! k 3y! sk-canary/4712", "[secret] k 3y! sk-canary/4712"),
            (
                r"C:\k3y! \k3y! \n\u12 \ud83d %zz % \",
                r"C:\[secret] \[secret] \n\u12 \ud83d %zz % \",
            ),
            ("canary/4711 and sk-canary/4711", "[secret] and [secret]"),
            ("abc", "abc"),
            ("", ""),
        ] {
            let secrets = [KEY, "k3y!", "canary/4711", "abc", ""];
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
