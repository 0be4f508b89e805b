//! A host's name, as it is stored and shown.

use std::fmt;

/// Letters, digits, `.`, `_` and `-`, at most 253 of them (RFC 1035's longest name): nothing that
/// could break a line of a log, a table or a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostName(String);

const HOST_NAME_BYTES_MAX: usize = 253;

impl HostName {
    pub(crate) const RULE: &str = "a host name is 1 to 253 letters, digits, \".\", \"_\" or \"-\"";

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=HOST_NAME_BYTES_MAX).contains(&name.len());
        (fits && name.bytes().all(legal)).then(|| Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_and_names_that_are_not() {
        for good in ["a", "web-prod-01", "db_2.example.org", "10.0.0.7", &"x".repeat(253)] {
            assert!(HostName::parse(good).is_some(), "{good}");
        }
        for bad in ["", " ", "a b", "a/b", "a\n", "a\0b", "é", "<b>", &"x".repeat(254)] {
            assert!(HostName::parse(bad).is_none(), "{bad:?}");
        }
    }
}
