//! What a signature means and what to do about it, in words for the operator.
//!
//! Owns the text of `tasseograph explain`. Pure; `analyze` prints it.

use super::signature_benign::{LOOK_ALIKES, LookAlike};
use super::signature_table::{Signature, signatures};
use super::{Category, Severity};

const WIDTH_CHARS: usize = 78;
const INDENT: &str = "  ";

/// All ids with severity, category and meaning, then the look-alikes.
pub(crate) fn catalogue() -> String {
    let ids = signatures().map(|row| row.id).chain(LOOK_ALIKES.iter().map(|row| row.id));
    let width = ids.map(str::len).max().unwrap_or(0);
    let mut text = String::new();
    for Signature { id, severity, category, meaning, .. } in signatures() {
        let (severity, category) = (severity.name(), category.name());
        text.push_str(&format!("{id:width$}  {severity:8}  {category:7}  {meaning}\n"));
    }
    text.push_str("\nLook-alikes, which are no findings:\n");
    for LookAlike { id, why, .. } in LOOK_ALIKES {
        text.push_str(&format!("{id:width$}  {why}\n"));
    }
    text
}

/// Everything about one id; `None` when there is no such one.
pub(crate) fn explain(id: &str) -> Option<String> {
    if let Some(signature) = signatures().find(|row| row.id == id) {
        return Some(of_signature(signature));
    }
    LOOK_ALIKES.iter().find(|row| row.id == id).map(of_look_alike)
}

fn of_signature(row: &Signature) -> String {
    let Signature { id, subsystem, severity, category, meaning, action, .. } = row;
    let mut text =
        format!("{id}: {} {} ({subsystem})\n", severity.name(), Category::name(*category));
    section(&mut text, "What it means", meaning);
    section(&mut text, "What to do", action);
    section(&mut text, "When it counts", &when(row));
    let patterns = row.any.iter().map(|pattern| format!("{INDENT}{pattern}\n"));
    text.push_str("\nLines that hold (* is any text, ^ where the driver begins)\n");
    text.extend(patterns);
    if !row.unless.is_empty() {
        text.push_str("\nunless they hold\n");
        text.extend(row.unless.iter().map(|pattern| format!("{INDENT}{pattern}\n")));
    }
    text.push_str(&format!("\nFor example\n{INDENT}{}\n", row.example));
    section(&mut text, "Printed by", row.source);
    text
}

fn of_look_alike(row: &LookAlike) -> String {
    let mut text = format!("{}: no finding\n", row.id);
    section(&mut text, "Why", row.why);
    if !row.beats.is_empty() {
        section(&mut text, "It takes the place of", &row.beats.join(", "));
    }
    text.push_str("\nLines that hold (* is any text, ^ where the driver begins)\n");
    text.extend(row.any.iter().map(|pattern| format!("{INDENT}{pattern}\n")));
    text.push_str(&format!("\nFor example\n{INDENT}{}\n", row.example));
    text
}

fn when(row: &Signature) -> String {
    let mut when = match row.repeats {
        1 => "at the first".to_owned(),
        repeats => format!("from {repeats} errors of one part on; fewer are no finding"),
    };
    if row.settled {
        when.push_str(", not in the first two minutes after a boot");
    }
    if row.critical_at < u32::MAX && row.severity < Severity::Critical {
        when.push_str(&format!("; critical from {} errors on", row.critical_at));
    }
    when
}

fn section(text: &mut String, title: &str, body: &str) {
    text.push_str(&format!("\n{title}\n"));
    let mut line = String::from(INDENT);
    for word in body.split_whitespace() {
        if line.len() + word.len() >= WIDTH_CHARS && line.len() > INDENT.len() {
            text.push_str(&format!("{}\n", line.trim_end()));
            line.truncate(INDENT.len());
        }
        line.push_str(word);
        line.push(' ');
    }
    text.push_str(&format!("{}\n", line.trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_listed_and_explained() {
        let catalogue = catalogue();
        for row in signatures() {
            let id = row.id;
            assert!(catalogue.lines().any(|line| line.split(' ').next() == Some(id)), "{id}");
            let text = explain(id).unwrap();
            assert!(text.starts_with(&format!("{id}: {}", row.severity.name())), "{text}");
            let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for part in [row.meaning, row.action, row.source, row.example] {
                let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(said.contains(&part), "{part:?} is not in\n{text}");
            }
        }
        for row in LOOK_ALIKES {
            assert!(explain(row.id).unwrap().contains(": no finding"), "{}", row.id);
        }
        assert_eq!(explain("no-such-id"), None);
    }

    #[test]
    fn rates_are_told() {
        for (id, expected) in [
            ("edac-ce", "  at the first\n"),
            ("aer-corrected", "from 2 errors of one part on; fewer are no finding"),
            ("link-flap", "from 3 errors of one part on; fewer are no finding, not in the first"),
            ("nvme-timeout", "at the first; critical from 10 errors on"),
        ] {
            let text = explain(id).unwrap().replace("\n  ", " ");
            assert!(text.contains(expected.trim()), "{text}");
        }
    }
}
