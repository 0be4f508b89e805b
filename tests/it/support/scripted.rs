//! A scripted server, for what a real one cannot be made to do: an LLM endpoint over plain HTTP, or
//! something that answers in the collector's place over TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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
}

type Script = dyn Fn(usize, &Seen) -> Act + Send + Sync;

impl Scripted {
    /// `script` gets the number of the request, from 0.
    pub(crate) fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::serve(script, None)
    }

    pub(crate) fn start_tls(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        let made = certificates();
        let cert = CertificateDer::from_pem_file(&made.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&made.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
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
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (all, script, tls) = (Arc::clone(&all), Arc::clone(&script), tls.clone());
                std::thread::spawn(move || match tls {
                    None => answer(tcp, &all, &*script),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        answer(StreamOwned::new(connection, tcp), &all, &*script);
                    }
                });
            }
        });
        Self { port, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// As an entry of `llm_endpoints`.
    pub(crate) fn endpoint(&self, more: &str) -> String {
        format!("  - {{url: \"http://127.0.0.1:{}/v1\", model: scripted{more}}}\n", self.port)
    }
}

fn answer(stream: impl Read + Write, all: &Mutex<Vec<Seen>>, script: &Script) {
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
