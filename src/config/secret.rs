//! A secret: held, compared and sent, never printed.

use std::fmt;

/// Of a secret that cannot be guessed.
const CHARS_MIN: usize = 22;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// What is said of one that is: who has a host's key can try keys until one makes it.
    pub(crate) const SHORT: &str =
        "it is short enough to be guessed; \"openssl rand -hex 32\" makes one that is not";

    /// Visible ASCII only: what an HTTP header can carry. A trailing newline is an editor's.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err("is empty");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "holds a character that an HTTP header cannot carry (a space, a line break?)",
            );
        }
        Ok(Self(text.to_owned()))
    }

    /// A header's value, which may hold spaces.
    pub(crate) fn parse_value(text: &str) -> Result<Self, &'static str> {
        let legal = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if text.trim() != text || text.is_empty() || !text.bytes().all(legal) {
            return Err("is empty, or holds a character that an HTTP header cannot carry");
        }
        Ok(Self(text.to_owned()))
    }

    /// Of any text.
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    /// Whether it may be guessed, by trying: fewer characters than 128 random bits take in base64.
    pub(crate) fn is_short(&self) -> bool {
        self.0.len() < CHARS_MIN
    }

    /// The bytes themselves, for the one place that sends or compares them.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_fit_a_header_and_are_never_printed() {
        let secret = Secret::parse("s3cr3t-key\n").unwrap();
        assert_eq!(secret.expose(), "s3cr3t-key");
        assert!(!format!("{secret:?}").contains("s3cr3t"));
        for bad in ["", "\n", "two words", "tab\t", "é", "a\nb"] {
            assert!(Secret::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Secret::parse_value("two words").unwrap().expose(), "two words");
        for bad in ["", " a", "a ", "a\nb", "a\r\nX-Y: z", "é"] {
            assert!(Secret::parse_value(bad).is_err(), "{bad:?}");
        }
    }
}
