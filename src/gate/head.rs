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
            "expect" if value.eq_ignore_ascii_case("100-continue") => head.expects_continue = true,
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

    /// Seeded: no bytes whatever make parsing panic, and a head that passes says one thing only.
    #[test]
    fn generated_heads_never_panic() {
        const SEED: u64 = 0x6a7e;
        const PIECES: [&str; 16] = [
            "GET ",
            "POST ",
            "/ingest",
            " HTTP/1.1",
            "\r\n",
            "\n",
            "\r",
            "Content-Length",
            ": ",
            "5",
            "Transfer-Encoding: chunked",
            "Authorization: Bearer x",
            "\0",
            "é",
            "\t",
            "Expect:",
        ];
        let mut random = crate::time::Random::from_seed(SEED);
        let mut complete = 0;
        for _ in 0..50_000 {
            let mut head = String::new();
            if random.below(2) == 0 {
                head.push_str("POST /ingest HTTP/1.1\r\nContent-Length: 5\r\n");
            }
            for _ in 0..random.below(10) {
                head.push_str(PIECES[random.below(PIECES.len() as u64) as usize]);
            }
            head.push_str("\r\n\r\n");
            if let Ok(Parsed::Complete(head, _)) = Head::parse(head.as_bytes()) {
                complete += 1;
                let texts = [Some(&head.path), head.authorization.as_ref()];
                for text in texts.into_iter().flatten() {
                    assert!(!text.contains(['\r', '\n', '\0']), "seed {SEED:#x}: {head:?}");
                }
            }
        }
        assert!(complete > 1000, "seed {SEED:#x} completed only {complete}");
    }
}
