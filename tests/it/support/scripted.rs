//! A scripted server, for what a real one cannot be made to do: an LLM endpoint over plain HTTP, or
//! something that answers in the collector's place over TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

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
    seen: Arc<Mutex<Vec<Seen>>>,
    handshakes: Arc<Mutex<Vec<Option<HandshakeKind>>>>,
}

type Script = dyn Fn(usize, &Seen) -> Act + Send + Sync;

impl Scripted {
    /// `script` gets the number of the request, from 0.
    pub(crate) fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::serve(script, None)
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
        Self::serve(script, Some(Arc::new(config)))
    }

    fn serve(
        script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (all, script): (_, Arc<Script>) = (Arc::clone(&seen), Arc::new(script));
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let kinds = Arc::clone(&handshakes);
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (all, script, tls) = (Arc::clone(&all), Arc::clone(&script), tls.clone());
                let kinds = Arc::clone(&kinds);
                std::thread::spawn(move || match tls {
                    None => answer(&mut { tcp }, &all, &*script),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        let mut stream = StreamOwned::new(connection, tcp);
                        answer(&mut stream, &all, &*script);
                        kinds.lock().unwrap().push(stream.conn.handshake_kind());
                    }
                });
            }
        });
        Self { port, seen, handshakes }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Of each TLS connection that has ended; `None` where it ended before.
    pub(crate) fn handshakes(&self) -> Vec<Option<HandshakeKind>> {
        self.handshakes.lock().unwrap().clone()
    }

    /// As an entry of `llm_endpoints`.
    pub(crate) fn endpoint(&self, more: &str) -> String {
        format!("  - {{url: \"http://127.0.0.1:{}/v1\", model: scripted{more}}}\n", self.port)
    }
}

fn answer(stream: &mut (impl Read + Write), all: &Mutex<Vec<Seen>>, script: &Script) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head.to_lowercase().lines().find_map(|line| {
        line.strip_prefix("content-length:").and_then(|length| length.trim().parse().ok())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    let seen = Seen { head, body: String::from_utf8_lossy(&body).into_owned() };
    let number = {
        let mut all = all.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    let (status, headers, body) = match script(number, &seen) {
        Act::Answer(status, body) => (status, "", body),
        Act::AnswerWith(status, headers, body) => (status, headers, body),
        Act::Close => return,
        Act::Hang => {
            std::thread::sleep(PATIENCE);
            return;
        }
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Scripted\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    drop(stream.get_mut().write_all(text.as_bytes()).and_then(|()| stream.get_mut().flush()));
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
