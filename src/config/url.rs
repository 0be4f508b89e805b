//! A URL of the few kinds that we call: scheme, host, port, path.

use std::net::{IpAddr, Ipv6Addr};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) https: bool,
    /// Host and port, as given.
    authority: String,
    /// Empty, or a path that starts with `/` and does not end with it.
    path: String,
}

impl Url {
    /// The error completes the sentence `"..." is not ...`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const KIND: &str = "an http or https URL";
        let (scheme, rest) = text.split_once("://").ok_or(KIND)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(KIND),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("a URL without a user in it (keys come from the environment)");
        }
        let legal = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}?#".contains(&byte);
        if authority.is_empty() || !rest.bytes().all(legal) {
            return Err(KIND);
        }
        split_authority(authority).ok_or(KIND)?;
        Ok(Self { https, authority: authority.into(), path: path.trim_end_matches('/').into() })
    }

    /// Without the port, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        split_authority(&self.authority).unwrap_or("")
    }

    /// Whether what is sent there stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The URL with `path` at its end, once.
    pub(crate) fn ending_in(&self, path: &str) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let base = self.path.strip_suffix(path).unwrap_or(&self.path);
        format!("{scheme}://{}{base}{path}", self.authority)
    }
}

/// The host, if the whole is a name, an IPv4 address or an IPv6 address in brackets, and at most
/// one port.
fn split_authority(authority: &str) -> Option<&str> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest)
        }
        None => {
            let (host, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (!host.is_empty() && host.bytes().all(legal)).then_some((host, rest))?
        }
    };
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some(host),
        Some(port) if port.starts_with('+') => None,
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0).then_some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_called_and_urls_that_are_not() {
        for (text, host, ingest) in [
            ("https://c.example", "c.example", "https://c.example/ingest"),
            ("https://c.example:9311/", "c.example", "https://c.example:9311/ingest"),
            ("https://c.example:9311/ingest", "c.example", "https://c.example:9311/ingest"),
            ("https://[::1]:9311/a", "::1", "https://[::1]:9311/a/ingest"),
            ("HTTPS://web_1.c", "web_1.c", "https://web_1.c/ingest"),
            ("http://127.0.0.1:8080/v1", "127.0.0.1", "http://127.0.0.1:8080/v1/ingest"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host(), url.ending_in("/ingest").as_str()), (host, ingest), "{text}");
        }
        for bad in [
            "",
            "http:/api",
            "ftp://x",
            "https://",
            "https:///x",
            "c.example",
            "https://:80",
            "https://a b",
            "https://h:99999",
            "https://h:0",
            "https://h:x",
            "https://u:p@h",
            "https://h/?q=1",
            "https://h\n",
            "https://::1:9311",
            "https://[::1",
            "https://[zz]:1",
            "https://[localhost]",
            "https://[::1]x:90",
            "https://h:80:90",
            "https://h:+80",
            "https://h:",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn loopback() {
        for (text, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8", true),
            ("http://localhost:8", true),
            ("http://localhost.evil.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Url::parse(text).unwrap().is_loopback(), expected, "{text}");
        }
    }
}
