//! Patterns: how a row of the table says what a text must hold.
//!
//! Owns how they are written and compared with a text. Pure. `signature_match` drives it.

/// What may stand before what a driver says: marks of the kernel and of firmware's errors.
const MARKS: &[&str] = &[
    "mce: ",
    "[Hardware Error]: ",
    "MCE ",
    "rcu: ",
    "watchdog: ",
    "NMI watchdog: ",
    "blk_update_request: ",
    "print_req_error: ",
    "end_request: ",
    "kernel: ",
    ": ",
];

/// Where what the kernel says may begin in a text: at once, and behind each mark. Nothing where a
/// form that is not known stands before it: then a `^` counts anywhere.
pub(super) struct Heads(Option<Vec<usize>>);

impl Heads {
    pub(super) fn of(text: &str) -> Self {
        Self(Some(starts(text).collect()))
    }

    pub(super) fn unknown() -> Self {
        Self(None)
    }
}

/// Fragments in their order, `*` for any text between two, and `^` first where the text has to
/// begin so, but for marks.
pub(super) struct Pattern {
    pub(super) fragments: Vec<&'static str>,
    anchored: bool,
}

impl Pattern {
    pub(super) fn new(written: &'static str) -> Self {
        let (anchored, written) = match written.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, written),
        };
        let fragments = written.split('*').filter(|fragment| !fragment.is_empty()).collect();
        Self { fragments, anchored }
    }

    pub(super) fn occurs_in(&self, text: &str, heads: &Heads) -> bool {
        self.end_in(text, heads).is_some()
    }

    /// Where in the text the last fragment ends.
    pub(super) fn end_in(&self, text: &str, heads: &Heads) -> Option<usize> {
        let mut fragments = self.fragments.iter();
        let mut end = 0;
        if self.anchored
            && let Some(starts) = &heads.0
        {
            let first = fragments.next()?;
            end = starts.iter().find(|at| text[**at..].starts_with(first))? + first.len();
        }
        for fragment in fragments {
            end += text[end..].find(fragment)? + fragment.len();
        }
        Some(end)
    }
}

fn starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(0), |at| {
        let rest = &text[*at..];
        let mark = MARKS.iter().find(|mark| rest.starts_with(**mark)).map(|mark| mark.len());
        let spaces = || Some(rest.len() - rest.trim_start().len()).filter(|spaces| *spaces > 0);
        mark.or_else(spaces).or_else(|| number(rest)).map(|length| at + length)
    })
}

/// `{57}`, the number that the kernel gives a firmware's error.
fn number(text: &str) -> Option<usize> {
    let end = text.strip_prefix('{')?.find('}')?;
    text[1..=end].bytes().all(|byte| byte.is_ascii_digit()).then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_where_it_says() {
        for (written, text, expected) in [
            ("a*b", "xaxbx", Some(4)),
            ("a*b", "b a", None),
            ("^EDAC *UE", "EDAC MC0: UE", Some(12)),
            ("^EDAC *UE", "mce: [Hardware Error]: EDAC MC0: UE", Some(35)),
            ("^EDAC *UE", "  {5}[Hardware Error]:   EDAC UE", Some(32)),
            ("^EDAC *UE", "{x}EDAC UE", None),
            ("^EDAC *UE", "input: EDAC MC0: UE", None),
            ("^[Hardware Error]: a", "mce: [Hardware Error]: a", Some(24)),
        ] {
            assert_eq!(Pattern::new(written).end_in(text, &Heads::of(text)), expected, "{text}");
        }
        let tagged = "odd tag EDAC MC0: UE";
        assert_eq!(Pattern::new("^EDAC *UE").end_in(tagged, &Heads::unknown()), Some(20));
    }
}
