//! The head of a request: read under limits, reduced to what may pass.
//!
//! Pure. Whatever is ambiguous is refused: two readers of one head must never disagree where the
//! body ends (CVE-2026-66752 is such a case in tiny_http).

use super::Answer;

pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 1024;

/// What of a head may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) content_length: u64,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
}

/// How far the bytes so far go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The head is not complete yet.
    Partial,
    /// The head, and how many bytes it took.
    Complete(Head, usize),
}

impl Head {
    /// Whether the answer is to have no body.
    pub(super) fn is_bodiless(&self) -> bool {
        self.method == "HEAD"
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Answer> {
        let Some(length) = head_length(bytes)? else {
            return if bytes.len() >= HEAD_BYTES_MAX {
                Err(Answer::error(431, "the request's head is larger than 16 KiB"))
            } else {
                Ok(Parsed::Partial)
            };
        };
        if length > HEAD_BYTES_MAX {
            return Err(Answer::error(431, "the request's head is larger than 16 KiB"));
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes[..length]) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(bad("the head is not HTTP")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Answer::error(431, "the request has more than 64 headers"));
            }
            Err(error) => return Err(bad(&format!("the head is not HTTP: {error}"))),
        }
        Ok(Parsed::Complete(reduce(&request)?, length))
    }
}

fn bad(reason: &str) -> Answer {
    Answer::error(400, reason)
}

/// Where the head ends, if it has. A line that ends without a carriage return ends a head for
/// lenient readers: it is refused wherever it comes.
fn head_length(bytes: &[u8]) -> Result<Option<usize>, Answer> {
    let mut start = 0;
    while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[start..start + length];
        match line.strip_suffix(b"\r") {
            None => return Err(bad("a line ends without a carriage return")),
            Some([]) => return Ok(Some(start + length + 1)),
            Some(_) => start += length + 1,
        }
    }
    Ok(None)
}

fn reduce(request: &httparse::Request<'_, '_>) -> Result<Head, Answer> {
    let method = request.method.unwrap_or_default();
    let path = request.path.unwrap_or_default();
    if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
        return Err(bad("the request's target is not a path of at most 1024 bytes"));
    }
    let mut head = Head {
        method: method.to_owned(),
        path: path.to_owned(),
        authorization: None,
        content_length: 0,
        keep_alive: request.version == Some(1),
        expects_continue: false,
    };
    let mut length = None;
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value)
            .ok()
            .filter(|value| {
                value.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t')
            })
            .map(str::trim)
            .ok_or_else(|| bad("a header holds bytes that are not ASCII text"))?;
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" if length.is_some() => {
                return Err(bad("two Content-Length headers"));
            }
            "content-length" => length = Some(content_length(value)?),
            "transfer-encoding" => {
                return Err(Answer::error(411, "send a Content-Length, no Transfer-Encoding"));
            }
            "authorization" if head.authorization.is_some() => {
                return Err(bad("two Authorization headers"));
            }
            "authorization" => head.authorization = Some(value.to_owned()),
            "content-encoding" if !value.eq_ignore_ascii_case("identity") => {
                return Err(Answer::error(415, "send the body uncompressed"));
            }
            "upgrade" => return Err(bad("nothing to upgrade to")),
            "expect" if value.eq_ignore_ascii_case("100-continue") => {
                head.expects_continue = request.version == Some(1);
            }
            "expect" => return Err(Answer::error(417, "nothing but 100-continue can be expected")),
            "connection" if has_token(value, "close") => head.keep_alive = false,
            _ => {}
        }
    }
    if length.is_none() && method == "POST" {
        return Err(Answer::error(411, "send a Content-Length"));
    }
    head.content_length = length.unwrap_or(0);
    Ok(head)
}

fn has_token(value: &str, token: &str) -> bool {
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Digits only: `+5`, `5, 5` and `0x5` mean different things to different readers.
fn content_length(value: &str) -> Result<u64, Answer> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("the Content-Length is not a number"));
    }
    value.parse().map_err(|_| Answer::error(413, "the Content-Length is larger than any body"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Random, tests::generate};

    fn status(head: &str) -> u16 {
        match Head::parse(head.as_bytes()) {
            Ok(Parsed::Complete(..)) => 200,
            Ok(Parsed::Partial) => 0,
            Err(answer) => answer.status,
        }
    }

    #[test]
    fn a_head_is_reduced_to_what_may_pass() {
        let text = "POST /ingest HTTP/1.1\r\nHost: c\r\nauthorization:  Bearer k \r\n\
                    X-Evil: 1\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n{\"a\":";
        let Ok(Parsed::Complete(head, length)) = Head::parse(text.as_bytes()) else {
            panic!("refused");
        };
        assert_eq!(&text[length..], "{\"a\":");
        assert_eq!(
            head,
            Head {
                method: "POST".into(),
                path: "/ingest".into(),
                authorization: Some("Bearer k".into()),
                content_length: 12,
                keep_alive: true,
                expects_continue: true,
            }
        );
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        let get = "GET /health HTTP/1.1\r\n";
        let post = "POST /ingest HTTP/1.1\r\n";
        for (head, expected) in [
            (format!("{get}\r\n"), 200),
            (format!("{post}Content-Length: 5\r\n\r\n"), 200),
            (format!("{post}Content-Length: 05\r\n\r\n"), 200),
            ("GET /health HTTP/1.0\r\n\r\n".into(), 200),
            (String::new(), 0),
            (get.into(), 0),
            (format!("{post}\r\n"), 411),
            (format!("{post}Transfer-Encoding: chunked\r\n\r\n"), 411),
            (format!("{post}Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n"), 411),
            (format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400),
            (format!("{post}Content-Length: abc\r\n\r\n"), 400),
            (format!("{post}Content-Length: +5\r\n\r\n"), 400),
            (format!("{post}Content-Length: 5, 5\r\n\r\n"), 400),
            (format!("{post}Content-Length: -1\r\n\r\n"), 400),
            (format!("{post}Content-Length:\r\n\r\n"), 400),
            (format!("{post}Content-Length: 18446744073709551616\r\n\r\n"), 413),
            (format!("{post}Content-Length: 5\r\nContent-Encoding: gzip\r\n\r\n"), 415),
            (format!("{get}Authorization: a\r\nAuthorization: b\r\n\r\n"), 400),
            (format!("{get}Upgrade: websocket\r\n\r\n"), 400),
            (format!("{get}Expect: the-unexpected\r\n\r\n"), 417),
            (format!("{get}X: a\n\r\n"), 400),
            ("GET /health HTTP/1.1\n\n".into(), 400),
            (format!("{get}X : a\r\n\r\n"), 400),
            (format!("{get}X: a\r\n folded\r\n\r\n"), 400),
            (format!("{get}X: \u{e9}\r\n\r\n"), 400),
            (format!("{get}X: a\0b\r\n\r\n"), 400),
            ("GET http://c/ HTTP/1.1\r\n\r\n".into(), 400),
            ("GET * HTTP/1.1\r\n\r\n".into(), 400),
            ("GET /health HTTP/2.0\r\n\r\n".into(), 400),
            ("nonsense\r\n\r\n".into(), 400),
            ("\u{16}\u{3}\u{1}\r\n\r\n".into(), 400),
            (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(PATH_BYTES_MAX)), 400),
            (format!("{get}{}\r\n", "X: a\r\n".repeat(64)), 200),
            (format!("{get}{}\r\n", "X: a\r\n".repeat(65)), 431),
            (format!("{get}X: {}\r\n\r\n", "a".repeat(HEAD_BYTES_MAX)), 431),
            (format!("{get}X: {}", "a".repeat(HEAD_BYTES_MAX)), 431),
        ] {
            let shown: String = head.chars().take(80).collect();
            assert_eq!(status(&head), expected, "{shown:?}");
        }
    }

    const METHODS: [&str; 8] = ["GET", "POST", "POST", "HEAD", "PUT", "get", "G\u{e9}T", ""];
    const TARGETS: [&str; 8] =
        ["/ingest", "/ingest", "/health", "/", "/a%0d%0ab", "*", "http://c/", "/a b"];
    /// A third of them asks for nothing unusual.
    const HEADERS: [&str; 33] = [
        "Host: collector.example.org:9311",
        "User-Agent: ureq/3",
        "Accept: */*",
        "Content-Type: application/json",
        "Connection: keep-alive",
        "connection: te, Close",
        "X-Forwarded-For: 10.0.0.7",
        "X-Tasseograph-Gate: forged",
        "Expect: 100-continue",
        "Content-Encoding: identity",
        "X-Empty:",
        "Authorization: Bearer k",
        "AUTHORIZATION: Bearer l",
        "Content-Length: 5",
        "content-length: 1000000000000000",
        "Content-Length: 18446744073709551616",
        "Content-Length: abc",
        "Content-Length: +5",
        "Content-Length:",
        "Content-Length : 5",
        "Transfer-Encoding: chunked",
        "transfer-encoding: identity",
        "Content-Encoding: gzip",
        "Upgrade: h2c",
        "Expect: much",
        "X-Text: \u{e9}\0",
        "X-Text: a\u{b}b",
        "X-Bare: a\rb",
        "X-Bare: a\nContent-Length: 7",
        " folded: 1",
        "no colon",
        "",
        ": no name",
    ];

    fn generated(random: &mut Random) -> Vec<u8> {
        let sound = !random.one_in(3);
        let mut lines = Vec::new();
        let (method, target) = match sound {
            true => (random.one_of(&["GET", "POST", "HEAD"]), random.one_of(&TARGETS[..5])),
            false => (random.one_of(&METHODS), random.one_of(&TARGETS)),
        };
        let long = "x".repeat(if random.one_in(50) { 1100 } else { 0 });
        let version = if random.one_in(20) { "HTTP/2.0" } else { "HTTP/1.1" };
        lines.push(format!("{method} {target}{long} {version}"));
        if method == "POST" && !random.one_in(10) {
            lines.push(format!("Content-Length: {}", random.below(1 << 22)));
        }
        let known = if sound { &HEADERS[..12] } else { &HEADERS[..] };
        for _ in 0..random.below(8) {
            lines.push(random.one_of(known).to_owned());
        }
        if random.one_in(30) {
            let many = 50 + random.below(30);
            lines.extend((0..many).map(|number| format!("X-{number}: {number}")));
        }
        if random.one_in(100) {
            lines.push(format!("X-Long: {}", "a".repeat(random.below(20_000) as usize)));
        }
        let end = if random.one_in(20) { random.one_of(&["\n", "\r", "\r\n\r\n"]) } else { "\r\n" };
        let mut bytes = lines.join(end).into_bytes();
        bytes.extend_from_slice(b"\r\n\r\n{\"hostname\":");
        for _ in 0..if sound { 0 } else { random.below(3) } {
            random.damage(&mut bytes);
        }
        bytes
    }

    /// As a careless reader would find it: the last of all headers with this name.
    fn carelessly<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
        let header = |line: &'a str| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        };
        head.split(['\r', '\n']).filter_map(header).collect()
    }

    fn says_one_thing(bytes: &[u8], head: &Head, length: usize) {
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        assert!(text.ends_with("\r\n\r\n") && length <= HEAD_BYTES_MAX, "{text:?}");
        for text in [&head.method, &head.path].into_iter().chain(&head.authorization) {
            assert!(!text.contains(|c: char| !matches!(c, ' '..='~' | '\t')), "{head:?}");
        }
        let lengths = carelessly(text, "content-length");
        assert!(lengths.len() <= 1, "{text:?}");
        let length = lengths.first().map_or(0, |text| text.parse().unwrap());
        assert_eq!(head.content_length, length, "{text:?}");
        for refused in ["transfer-encoding", "upgrade"] {
            assert!(carelessly(text, refused).is_empty(), "{text:?}");
        }
        assert!(carelessly(text, "authorization").len() <= 1, "{text:?}");
    }

    /// Seeded: no bytes whatever make parsing panic; a head that passes says one thing to every
    /// reader, and says nothing before it is whole.
    #[test]
    fn generated_heads_never_panic() {
        let tally = generate("heads", 0x6a7e, |random| {
            let bytes = generated(random);
            match Head::parse(&bytes) {
                Ok(Parsed::Partial) => Err("partial".into()),
                Ok(Parsed::Complete(head, length)) => {
                    says_one_thing(&bytes, &head, length);
                    let part = &bytes[..random.below(length as u64) as usize];
                    assert_eq!(Head::parse(part), Ok(Parsed::Partial), "{part:?}");
                    Ok(())
                }
                Err(answer) => {
                    let reason = String::from_utf8(answer.body).unwrap();
                    let reason = reason.trim_matches(['{', '}', '"']).replace("error\":\"", "");
                    Err(format!("{} {reason}", answer.status))
                }
            }
        });
        tally.reached(
            40,
            &[
                "partial",
                "400 a header holds bytes that are not ASCII text",
                "400 a line ends without a carriage return",
                "400 nothing to upgrade to",
                "400 the Content-Length is not a number",
                "400 the head is not HTTP",
                "400 the request's target is not a path",
                "400 two Authorization headers",
                "400 two Content-Length headers",
                "411 send a Content-Length",
                "411 send a Content-Length, no Transfer-Encoding",
                "413 the Content-Length is larger than any body",
                "415 send the body uncompressed",
                "417 nothing but 100-continue can be expected",
                "431 the request has more than 64 headers",
                "431 the request's head is larger than 16 KiB",
            ],
        );
    }
}
