//! The table of commands as pages: `--help`, for a screen of 24 lines and 80 columns, and the
//! manual.

use super::table::{COMMANDS, ENVIRONMENT, EXIT_CODES, FILES, MORE, Opt, Spec, WHAT};

/// A screen's width, less one for terminals that wrap early.
const WIDTH: usize = 79;

/// `tasseograph --help`.
pub(super) fn help() -> String {
    let rows = COMMANDS.iter().map(|spec| (spec.name.to_owned(), spec.what)).collect();
    let options = vec![
        ("-h, --help".to_owned(), "this; with a command its options and an example"),
        ("-V, --version".to_owned(), "the version"),
    ];
    format!(
        "tasseograph {WHAT}.\n\nusage: tasseograph COMMAND [OPTIONS]\n\n{}\n{}\nexample: {}\n",
        table(rows),
        table(options),
        "dmesg | tasseograph analyze -"
    )
}

/// `tasseograph COMMAND --help`.
pub(super) fn help_of(spec: &Spec) -> String {
    let mut rows: Vec<_> = spec.options.iter().map(|option| (named(option), option.what)).collect();
    rows.push(("-h, --help".to_owned(), "this"));
    format!(
        "usage: {}\n\n{}\n\n{}\n{}\nexample: {}\n",
        usage(spec),
        spec.what,
        wrapped(spec.more, WIDTH).join("\n") + "\n",
        table(rows),
        spec.example
    )
}

fn usage(spec: &Spec) -> String {
    let options = if spec.options.is_empty() { "" } else { " [OPTIONS]" };
    let arguments =
        if spec.arguments.is_empty() { String::new() } else { format!(" {}", spec.arguments) };
    format!("tasseograph {}{options}{arguments}", spec.name)
}

fn named(option: &Opt) -> String {
    let short = option.short.map_or(String::from("    "), |short| format!("-{short}, "));
    format!("{short}--{} {}", option.long, option.value).trim_end().to_owned()
}

/// Two columns, the second as wide as the screen leaves it.
fn table(rows: Vec<(String, &str)>) -> String {
    let left = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let indent = left + 4;
    let mut out = String::new();
    for (name, what) in rows {
        let lines = wrapped(what, WIDTH - indent).join(&format!("\n{:indent$}", ""));
        out.push_str(&format!("  {name:<left$}  {lines}\n"));
    }
    out
}

/// A line breaks at blanks alone; a word that is wider than the line stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The manual page of all commands, in the language of man(7). It has no date, so that the same
/// program prints the same page.
pub(super) fn manual() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!(
        ".\\\" made by: tasseograph man\n.TH TASSEOGRAPH 1 \"\" \"tasseograph {version}\" \
         \"User Commands\"\n.SH NAME\ntasseograph \\- {}\n.SH SYNOPSIS\n",
        roff(WHAT)
    );
    for (at, spec) in COMMANDS.iter().enumerate() {
        let gap = if at == 0 { "" } else { ".br\n" };
        out.push_str(&format!("{gap}.B {}\n", roff(&usage(spec))));
    }
    out.push_str(&format!(".SH DESCRIPTION\n{}\n.SH COMMANDS\n", roff(MORE)));
    for spec in COMMANDS {
        out.push_str(&section(spec));
    }
    for (title, rows) in
        [("EXIT STATUS", EXIT_CODES), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)]
    {
        out.push_str(&format!(".SH \"{title}\"\n"));
        for (name, what) in rows {
            out.push_str(&item(name, what));
        }
    }
    out.push_str(
        ".SH \"SEE ALSO\"\n.BR dmesg (1),\n.BR journalctl (1),\n.BR systemd\\-creds (1)\n",
    );
    out
}

fn section(spec: &Spec) -> String {
    let mut out = format!(
        ".SS {}\n{}.\n.PP\n{}\n",
        roff(&usage(spec)),
        capital(&roff(spec.what)),
        roff(spec.more)
    );
    for option in spec.options {
        out.push_str(&item(named(option).trim_start(), option.what));
    }
    out.push_str(&format!(".PP\nExample:\n.PP\n.RS 4\n.EX\n{}\n.EE\n.RE\n", roff(spec.example)));
    out
}

fn item(name: &str, what: &str) -> String {
    format!(".TP\n.B {}\n{}\n", roff(name), roff(what))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

/// Text as it is: no backslash, no hyphen where a minus stands, no request in a line's first place.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
