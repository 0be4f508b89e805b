//! Hostile requests as tables: what is said, and the statuses of all answers until the collector
//! closes.

use super::HEARTBEAT;
use super::hostile::{Attacker, post, statuses, with_key};
use crate::support::KEY;

pub(super) type Row = (&'static str, Vec<u8>, &'static [u16]);

type Table = (&'static str, fn() -> Vec<Row>);

pub(super) const TABLES: [Table; 6] = [
    ("lengths", lengths),
    ("headers that would be answers", injections),
    ("encodings", encodings),
    ("bodies", bodies),
    ("text", texts),
    ("methods and paths", paths),
];

/// What an attacker writes wherever it can; never to be read in a head of ours.
const MARK: &str = "evil";
/// In a body, it would be a request of its own.
const SMUGGLED: &[u8] = b"GET /health HTTP/1.1\r\nX-Mark: evil\r\n\r\n";

/// Complaints about rows that were answered in another way.
pub(super) fn checked(attacker: &Attacker, rows: &[Row]) -> Vec<String> {
    let answered = |(what, bytes, expected): &Row| {
        let answers = attacker.say(bytes);
        let found = statuses(&answers);
        let heads = answers.split("HTTP/1.1 ").filter_map(|answer| answer.split("\r\n\r\n").next());
        let marked = heads.into_iter().any(|head| head.to_lowercase().contains(MARK));
        (found != *expected || marked || answers.contains("not closed"))
            .then(|| format!("{what}: expected {expected:?}, not {answers:?}"))
    };
    rows.iter().filter_map(answered).collect()
}

fn length(value: &str, body: &[u8]) -> Vec<u8> {
    with_key("POST /ingest", &[&format!("Content-Length: {value}")], body)
}

/// Of these, tiny_http alone aborts, loses a thread, or takes the body for a request.
fn lengths() -> Vec<Row> {
    let twice = ["Content-Length: 5", "Content-Length: 38"];
    let longer = [length(&HEARTBEAT.len().to_string(), HEARTBEAT), b"and more\r\n\r\n".to_vec()];
    let both = ["Content-Length: 5", "Transfer-Encoding: chunked"];
    vec![
        ("10^15", length("1000000000000000", b"xxxxx"), &[413]),
        ("2^64-1", length("18446744073709551615", b"xxxxx"), &[413]),
        ("2^64", length("18446744073709551616", b"xxxxx"), &[413]),
        ("2^1000", length(&"9".repeat(302), b"xxxxx"), &[413]),
        ("no number", length("abc", SMUGGLED), &[400]),
        ("negative", length("-1", SMUGGLED), &[400]),
        ("with a sign", length("+5", SMUGGLED), &[400]),
        ("hexadecimal", length("0x5", SMUGGLED), &[400]),
        ("a list", length("5, 5", SMUGGLED), &[400]),
        ("none said", with_key("POST /ingest", &[], SMUGGLED), &[411]),
        ("two of them", with_key("POST /ingest", &twice, SMUGGLED), &[400]),
        ("with chunks", with_key("POST /ingest", &both, SMUGGLED), &[411]),
        ("longer than promised", longer.concat(), &[200, 400]),
        ("a body for /health", with_key("GET /health", &["Content-Length: 38"], SMUGGLED), &[413]),
    ]
}

fn injections() -> Vec<Row> {
    let get = |path: &str, line: &str| {
        let rest = "Connection: close\r\n\r\n";
        format!("GET {path} HTTP/1.1\r\n{line}{rest}").into_bytes()
    };
    vec![
        ("escaped, in a path", get("/health%0d%0aX-Evil:%20evil", ""), &[404]),
        ("escaped, in a query", get("/health?a=%0d%0aX-Evil:%20evil", ""), &[404]),
        ("escaped, in a value", get("/health", "X-A: a%0d%0aX-Evil: evil\r\n"), &[200]),
        ("a bare CR in a path", get("/health\rX-Evil:evil", ""), &[400]),
        ("a bare CR in a value", get("/health", "X-A: a\rX-Evil: evil\r\n"), &[400]),
        ("a bare CR in a name", get("/health", "X-A\r: evil\r\n"), &[400]),
        ("a bare LF in a path", get("/health\nX-Evil:evil", ""), &[400]),
        ("a bare LF in a value", get("/health", "X-A: a\nX-Evil: evil\r\n"), &[400]),
        ("a folded value", get("/health", "X-A: a\r\n X-Evil: evil\r\n"), &[400]),
        ("a NUL in a value", get("/health", "X-A: a\0evil\r\n"), &[400]),
        ("the collector's own header", get("/health", "X-Tasseograph-Gate: evil\r\n"), &[200]),
        (
            "in a key",
            b"POST /ingest HTTP/1.1\r\nAuthorization: Bearer evil%0d%0aX-Evil: evil\r\n\
              Content-Length: 0\r\n\r\n"
                .to_vec(),
            &[401],
        ),
    ]
}

/// `{"hostname":"evil","lines":["one"]}` as gzip wrote it.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xab, 0x56, 0xca, 0xc8, 0x2f, 0x2e, 0xc9, 0x4b, 0xcc, 0x4d,
    0x55, 0xb2, 0x52, 0x4a, 0x2d, 0xcb, 0xcc, 0x51, 0xd2, 0x51, 0xca, 0xc9, 0xcc, 0x4b, 0x2d, 0x56,
    0xb2, 0x8a, 0x56, 0xca, 0xcf, 0x4b, 0x55, 0x8a, 0xad, 5, 0, 0xb0, 0x37, 0x7a, 0x70, 0x23, 0, 0,
    0,
];

fn encodings() -> Vec<Row> {
    let length = format!("Content-Length: {}", GZIP.len());
    let said = [length.as_str(), "Content-Encoding: gzip"];
    let chunks = b"5\r\nevil!\r\n0\r\n\r\nGET /health HTTP/1.1\r\n\r\n";
    let chunked =
        |value: &str| with_key("POST /ingest", &[&format!("Transfer-Encoding: {value}")], chunks);
    vec![
        ("gzip", with_key("POST /ingest", &said, GZIP), &[415]),
        ("gzip that nobody said", with_key("POST /ingest", &[&length, CLOSE], GZIP), &[400]),
        ("chunks", chunked("chunked"), &[411]),
        ("chunks in capitals", chunked("CHUNKED"), &[411]),
        ("chunks within chunks", chunked("identity, chunked"), &[411]),
        ("chunks of nothing known", chunked("xchunked"), &[411]),
        ("another protocol", with_key("GET /health", &["Upgrade: h2c"], b""), &[400]),
        ("what cannot be expected", with_key("GET /health", &["Expect: evil"], b""), &[417]),
    ]
}

const CLOSE: &str = "Connection: close";

fn bodies() -> Vec<Row> {
    let deep = |open: &str| {
        let body = format!(r#"{{"hostname":"evil","lines":["one"],"x":{}"#, open.repeat(100_000));
        post(body.as_bytes())
    };
    let twice = br#"{"hostname":"evil","hostname":"honest","lines":["one"]}"#;
    let lines_twice = br#"{"hostname":"evil","lines":["one"],"lines":["two"]}"#;
    vec![
        ("100,000 arrays deep", deep("["), &[400]),
        ("100,000 objects deep", deep("{\"a\":"), &[400]),
        ("a name twice", post(twice), &[400]),
        ("lines twice", post(lines_twice), &[400]),
        ("NULs", post(&[0; 1000]), &[400]),
        ("a NUL in a name", post(br#"{"hostname":"evil\u0000","lines":["one"]}"#), &[400]),
        ("bytes that are no text", post(b"{\"hostname\":\"evil\xff\xfe\"}"), &[400]),
        ("text that is cut", post(b"{\"hostname\":\"evil\xc3\"}"), &[400]),
        ("nothing", post(b""), &[400]),
        ("a number that no integer holds", post(br#"{"hostname":1e999}"#), &[400]),
        ("two posts in one", post(&HEARTBEAT.repeat(2)), &[400]),
    ]
}

fn texts() -> Vec<Row> {
    let key = |value: &[u8]| {
        let before = b"POST /ingest HTTP/1.1\r\nContent-Length: 0\r\nAuthorization: ";
        [before.as_slice(), value, b"\r\n\r\n"].concat()
    };
    let many = "X-A: evil\r\n".repeat(100);
    vec![
        ("a NUL in a path", b"GET /health\0evil HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("bytes in a path", b"GET /\xff\xfeevil HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("bytes in a name", b"GET /health HTTP/1.1\r\nX-\xff: evil\r\n\r\n".to_vec(), &[400]),
        ("bytes in a value", b"GET /health HTTP/1.1\r\nX: \xff\xfe\r\n\r\n".to_vec(), &[400]),
        ("bytes in a key", key(b"Bearer \xff\xfe"), &[400]),
        ("a NUL in a key", key(format!("Bearer {KEY}\0").as_bytes()), &[400]),
        ("two keys", key(format!("Bearer a\r\nAuthorization: Bearer {KEY}").as_bytes()), &[400]),
        ("a key without its scheme", key(KEY.as_bytes()), &[401]),
        ("another scheme", key(format!("Basic {KEY}").as_bytes()), &[401]),
        ("100 headers", with_key("GET /health", &[&many], b""), &[431]),
        ("2 KB of path", with_key(&format!("GET /{}", "a".repeat(2000)), &[], b""), &[400]),
        ("noise", vec![0xff; 40_000], &[431]),
        ("an empty line", b"\r\n\r\nGET /health HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("no request", b"evil\r\n\r\n".to_vec(), &[400]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400]),
        ("HTTP/0.9", b"GET /health\r\n\r\n".to_vec(), &[400]),
    ]
}

fn paths() -> Vec<Row> {
    let nothing = "Content-Length: 0";
    let row = |first: &'static str, expected| -> Row {
        (first, with_key(first, &[nothing, CLOSE], b""), expected)
    };
    vec![
        row("GET /", &[404]),
        row("GET /health/", &[404]),
        row("GET //health", &[404]),
        row("GET /HEALTH", &[404]),
        row("GET /health?evil", &[404]),
        row("GET /evil/../health", &[404]),
        row("GET /%68ealth", &[404]),
        row("POST /ingest/../health", &[404]),
        row("GET /ingest", &[405]),
        row("PUT /ingest", &[405]),
        row("DELETE /ingest", &[405]),
        row("post /ingest", &[405]),
        row("POST /health", &[405]),
        row("TRACE /health", &[405]),
        row("EVIL /evil", &[404]),
        row("OPTIONS *", &[400]),
        row("CONNECT evil:443", &[400]),
        row("GET http://evil/health", &[400]),
        row("GET evil", &[400]),
        row("G@T /health", &[400]),
        row("G\u{0}T /health", &[400]),
        row("GET  /health", &[400]),
    ]
}
