//! A source file as the rules over the repository see it: its words, the paths it names, where its
//! tests begin.
//!
//! Reads Rust well enough for that and no better: comments and literals are blanked, `use` trees
//! are spelled out. Macros are taken as the words that they are.

/// One `.rs` file.
pub(super) struct Source {
    /// From the repository's root: `src/time/mod.rs`.
    pub(super) path: String,
    pub(super) text: String,
    /// The text with blanks for comments and literals: line for line the same.
    code: String,
}

impl Source {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { path: path.into(), code: blanked(&text), text }
    }

    /// Lines before the file's unit tests; none of `src/ROOM/tests.rs` is.
    pub(super) fn lines_before_tests(&self) -> usize {
        if self.path.starts_with("src/") && self.path.ends_with("/tests.rs") {
            return 0;
        }
        let lines: Vec<_> = self.code.lines().map(str::trim_end).collect();
        let tests = |(at, line): (usize, &&str)| {
            let mut after = lines[at + 1..].iter().skip_while(|line| line.starts_with("#["));
            *line == "#[cfg(test)]"
                && after.next().is_some_and(|line| line.starts_with("mod tests"))
        };
        lines.iter().enumerate().position(tests).unwrap_or(lines.len())
    }

    /// The numbered lines of code before the tests, from 1.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.all_code().take(self.lines_before_tests())
    }

    /// With the tests.
    pub(super) fn all_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The paths named before the tests, each with its line: `std::io::Read` for
    /// `use std::io::{self, Read}`, and `std::io::self`.
    pub(super) fn paths(&self) -> Vec<(usize, String)> {
        let end = self.lines_before_tests();
        self.all_paths().into_iter().filter(|(line, _)| *line <= end).collect()
    }

    /// With the tests.
    pub(super) fn all_paths(&self) -> Vec<(usize, String)> {
        let mut reader = PathReader { words: words(&self.code), at: 0, paths: Vec::new() };
        reader.read();
        reader.paths
    }
}

/// Whether a path is this one or goes through it.
pub(super) fn within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

struct PathReader<'a> {
    words: Vec<(usize, &'a str)>,
    at: usize,
    paths: Vec<(usize, String)>,
}

impl<'a> PathReader<'a> {
    fn read(&mut self) {
        while let Some((line, word)) = self.words.get(self.at).copied() {
            self.at += 1;
            if word == "use" && self.word() != "<" {
                self.tree("");
            } else if is_name(word) {
                let mut path = word.to_owned();
                while self.word() == "::" && self.words.get(self.at + 1).is_some_and(named) {
                    path = format!("{path}::{}", self.words[self.at + 1].1);
                    self.at += 2;
                }
                if path != word {
                    self.paths.push((line, path));
                }
            }
        }
    }

    /// One branch of a `use`: `a::b`, `a::b as c`, `a::*`, `a::{b, c::d}`.
    fn tree(&mut self, before: &str) {
        let mut path = before.to_owned();
        while let Some((line, word)) = self.words.get(self.at).copied() {
            self.at += 1;
            match word {
                "::" => {}
                "{" => {
                    while !matches!(self.word(), "}" | "") {
                        self.tree(&path);
                        self.at += usize::from(self.word() == ",");
                    }
                    self.at += 1;
                    return;
                }
                _ => {
                    let between = if path.is_empty() { "" } else { "::" };
                    path = format!("{path}{between}{word}");
                    if self.word() != "::" {
                        self.at += if self.word() == "as" { 2 } else { 0 };
                        self.paths.push((line, path));
                        return;
                    }
                }
            }
        }
    }

    fn word(&self) -> &'a str {
        self.words.get(self.at).map_or("", |(_, word)| word)
    }
}

fn named((_, word): &(usize, &str)) -> bool {
    is_name(word)
}

/// Names, numbers, `::`, and every other character by itself, each with its line.
pub(super) fn words(code: &str) -> Vec<(usize, &str)> {
    let of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let end = match first {
                _ if of_word(first) => rest.find(|c| !of_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            words.push((at + 1, &rest[..end]));
            rest = rest[end..].trim_start();
        }
    }
    words
}

/// Blanks for comments and literals; the ends of lines stay.
fn blanked(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            '\'' => character(rest),
            'r' | 'b' | 'c' if !in_word => prefixed(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of `/* ... */`, which may hold another.
fn comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[..at].ends_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    text.len()
}

/// The length of `"..."`.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// The length of `'x'`; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            text[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// The length of `b"..."`, `r#"..."#`, `b'x'` and their like; 0 for a word that only starts so.
fn prefixed(text: &str) -> usize {
    let letters = text.find(|c| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(text.len());
    let after = &text[letters..];
    let raw = text[..letters].contains('r');
    let marks = after.find(|c| c != '#').unwrap_or(after.len());
    let length = match after[marks..].chars().next() {
        Some('"') if raw => {
            let close = format!("\"{}", &after[..marks]);
            let inner = &after[marks + 1..];
            let end = inner.find(&close).map_or(inner.len(), |end| end + close.len());
            marks + 1 + end
        }
        Some('"') if marks == 0 => string(after),
        Some('\'') if marks == 0 => character(after),
        _ => 0,
    };
    if length == 0 { 0 } else { letters + length }
}

#[test]
fn comments_and_literals_are_no_code() {
    for (text, expected) in [
        ("a // b", "a"),
        ("a /* b /* c */ d */ e", "a e"),
        ("a \"b \\\" c\" d", "a d"),
        ("a r#\"b \" c\"# br\"\\\" b\"x\" d", "a d"),
        ("'a' '\\'' b'x' '\\u{1f}' &'a str, c\"x\"", "& ' a str ,"),
        ("for r#type in crab { rb }", "for r # type in crab { rb }"),
    ] {
        let code = blanked(text);
        let found: Vec<_> = words(&code).into_iter().map(|(_, word)| word).collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }
}

#[test]
fn use_trees_are_spelled_out() {
    let text = "use a::{b::{self, c as d}, e::*};\nuse f;\nfn g() -> h::I<j::K> { ::l::m!() }\n\
                #[cfg(test)]\nmod tests {\n    use n::o;\n}\n";
    let source = Source::new("src/x/y.rs", text);
    let shown = |paths: Vec<(usize, String)>| -> Vec<String> {
        paths.into_iter().map(|(line, path)| format!("{line} {path}")).collect()
    };
    let before = ["1 a::b::self", "1 a::b::c", "1 a::e::*", "2 f", "3 h::I", "3 j::K", "3 l::m"];
    assert_eq!(shown(source.paths()), before);
    assert_eq!(shown(source.all_paths())[before.len()..], ["6 n::o"]);
    assert_eq!(source.lines_before_tests(), 3);
}
