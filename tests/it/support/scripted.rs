//! A scripted server, for what a real one cannot be made to do: an LLM endpoint over plain HTTP, or
//! something that answers in the collector's place over TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::{PATIENCE, certificates};

/// What the server does with a request.
pub(crate) enum Act {
    Answer(u16, String),
    /// With headers of its own, each ended by CR LF.
    AnswerWith(u16, &'static str, String),
    /// These bytes as they are, head and all, and then closes.
    Raw(Vec<u8>),
    /// These bytes, and then the connection breaks.
    Reset(Vec<u8>),
    /// These bytes one at a time, with this pause before each.
    Drip(Vec<u8>, Duration),
    /// Takes this long over it.
    After(Duration, Box<Act>),
    /// Closes without a word.
    Close,
    /// Says nothing until the client gives up.
    Hang,
}

#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) struct Scripted {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    /// Requests that are answered at once; those beyond are told 429.
    slots: usize,
    at_once: AtomicUsize,
    refused: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    handshakes: Mutex<Vec<Option<HandshakeKind>>>,
}

type Script = dyn Fn(usize, &Seen) -> Act + Send + Sync;

impl Scripted {
    /// `script` gets the number of the request, from 0.
    pub(crate) fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::serve(script, usize::MAX, None)
    }

    /// Answers so many at once, and tells the rest 429, without a word of when to come again.
    pub(crate) fn with_slots(
        slots: usize,
        script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::serve(script, slots, None)
    }

    pub(crate) fn start_tls(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        let made = certificates();
        Self::start_tls_with(&made.cert, &made.key, rustls::DEFAULT_VERSIONS, script)
    }

    /// Shows a certificate and signs with a key, whether they belong together or not.
    pub(crate) fn start_tls_with(
        cert: &Path,
        key: &Path,
        versions: &[&'static SupportedProtocolVersion],
        script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let cert = CertificateDer::from_pem_file(cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let shown = SingleCertAndKey::from(CertifiedKey::new(vec![cert], key));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        Self::serve(script, usize::MAX, Some(Arc::new(config)))
    }

    fn serve(
        script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
        slots: usize,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            slots,
            at_once: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            seen: Mutex::default(),
            handshakes: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (all, tls) = (Arc::clone(&all), tls.clone());
                std::thread::spawn(move || match tls {
                    None => answer(&mut &tcp, &tcp, &all),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        let mut stream = StreamOwned::new(connection, &tcp);
                        answer(&mut stream, &tcp, &all);
                        all.handshakes.lock().unwrap().push(stream.conn.handshake_kind());
                    }
                });
            }
        });
        Self { port, shared }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many found every slot taken.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Of each TLS connection that has ended; `None` where it ended before.
    pub(crate) fn handshakes(&self) -> Vec<Option<HandshakeKind>> {
        self.shared.handshakes.lock().unwrap().clone()
    }

    /// As an entry of `llm_endpoints`.
    pub(crate) fn endpoint(&self, more: &str) -> String {
        format!("  - {{url: \"http://127.0.0.1:{}/v1\", model: scripted{more}}}\n", self.port)
    }
}

fn answer(stream: &mut (impl Read + Write), tcp: &TcpStream, all: &Shared) {
    let mut stream = BufReader::new(stream);
    let Some(seen) = read_request(&mut stream) else { return };
    let number = {
        let mut all = all.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    let act = if all.at_once.fetch_add(1, Ordering::Relaxed) < all.slots {
        (all.script)(number, &seen)
    } else {
        all.refused.fetch_add(1, Ordering::Relaxed);
        Act::Answer(429, r#"{"error":{"message":"too many at once"}}"#.into())
    };
    // A client that has given up is no failure of the server's.
    drop(perform(act, stream.get_mut(), tcp));
    all.at_once.fetch_sub(1, Ordering::Relaxed);
}

fn read_request(stream: &mut impl BufRead) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
    }
    let length = head.to_lowercase().lines().find_map(|line| {
        line.strip_prefix("content-length:").and_then(|length| length.trim().parse().ok())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(Seen { head, body: String::from_utf8_lossy(&body).into_owned() })
}

fn perform(act: Act, stream: &mut impl Write, tcp: &TcpStream) -> std::io::Result<()> {
    let mut say = |bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush());
    match act {
        Act::Answer(status, body) => say(&answered(status, "", body.as_bytes())),
        Act::AnswerWith(status, headers, body) => say(&answered(status, headers, body.as_bytes())),
        Act::Raw(bytes) => say(&bytes),
        Act::Reset(bytes) => {
            say(&bytes)?;
            // Closing then sends a reset instead of an end.
            let at_once = Some(Duration::ZERO);
            Ok(rustix::net::sockopt::set_socket_linger(tcp, at_once)?)
        }
        Act::Drip(bytes, pause) => bytes.chunks(1).try_for_each(|byte| {
            std::thread::sleep(pause);
            say(byte)
        }),
        Act::After(wait, then) => {
            std::thread::sleep(wait);
            perform(*then, stream, tcp)
        }
        Act::Close => Ok(()),
        Act::Hang => {
            std::thread::sleep(PATIENCE);
            Ok(())
        }
    }
}

/// An HTTP answer as bytes; each of `headers` ends with CR LF.
pub(crate) fn answered(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A chat completion whose content is `content`.
pub(crate) fn completion(content: &str) -> String {
    serde_json::json!({
        "model": "scripted-1",
        "choices": [{
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": content},
        }],
    })
    .to_string()
}

/// Connects and says nothing.
pub(crate) fn silent(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

/// The elements of `records` that a request asks about, those that say what is missing left out.
pub(crate) fn records_asked(seen: &Seen) -> Vec<serde_json::Value> {
    let asked: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    let user = asked["messages"][1]["content"].as_str().unwrap();
    let user: serde_json::Value = serde_json::from_str(user).unwrap();
    let records = user["records"].as_array().unwrap().iter();
    records.filter(|record| record.get("lost").is_none()).cloned().collect()
}
