//! The inner HTTP server: tiny_http behind the gate, and what each path does.
//!
//! The only file that names tiny_http. It listens on a private Unix socket and sees nothing but
//! what the gate wrote. Who may ask is decided on the head, in `keys`, before a body is read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tiny_http::{Header, Method, Request, Response, Server};

use super::keys::Credential;
use super::worker::Bell;
use super::{ingest::Ingest, spawn};
use crate::gate::{PEER_HEADER, SECRET_HEADER, WHO_HEADER};
use crate::store::{Health, Store};
use crate::sys::log::Limited;
use crate::sys::{clock, files};
use crate::wire::INGEST_PATH;

/// Handlers check and hand over, and wait for nothing: as many as keep a few cores busy.
const HANDLERS: usize = 4;
pub(super) const HEALTH_PATH: &str = "/health";

/// What a handler answers with.
pub(super) struct Handled {
    pub(super) status: u16,
    pub(super) body: String,
    /// Seconds.
    pub(super) retry_after: Option<u32>,
}

struct Handler {
    server: Server,
    secret: String,
    ingest: Arc<Ingest>,
}

/// Listens on `socket` and answers from a few threads, for ever.
pub(super) fn start(
    socket: &Path,
    secret: &str,
    store: &Arc<Store>,
    bell: &Arc<Bell>,
) -> Result<(), String> {
    let server = Server::http_unix(socket)
        .map_err(|error| format!("cannot listen on {}: {error}", files::quoted(socket)))?;
    let ingest = Ingest {
        store: Arc::clone(store),
        bell: Arc::clone(bell),
        trouble: Limited::default(),
        conflicts: Limited::default(),
        losses: Limited::default(),
        foreign_keys: Limited::default(),
    };
    let handler = Arc::new(Handler { server, secret: secret.to_owned(), ingest: Arc::new(ingest) });
    for number in 1..=HANDLERS {
        let handler = Arc::clone(&handler);
        spawn(&format!("http-{number}"), move || handler.serve())?;
    }
    let store = Arc::clone(store);
    spawn("committer", move || store.commit_for_ever())
}

impl Handler {
    fn serve(&self) {
        // An error means that tiny_http's own accept thread has ended; the probe will notice.
        while let Ok(request) = self.server.recv() {
            // A request that is dropped on the way is answered with 500 by tiny_http.
            if catch_unwind(AssertUnwindSafe(|| self.handle(request))).is_err() {
                self.note("a handler panicked");
            }
        }
        log::error!("the inner server has ended");
    }

    fn handle(&self, mut request: Request) {
        if header(&request, SECRET_HEADER) != Some(&self.secret) {
            return respond(request, &refused(404, "there is nothing here"));
        }
        match (request.url(), request.method()) {
            (HEALTH_PATH, Method::Get) => respond(request, &self.health()),
            (INGEST_PATH, Method::Post) => {
                let peer = header(&request, PEER_HEADER).unwrap_or("unknown").to_owned();
                // Without one the gate would not have passed it on.
                let Some(credential) = header(&request, WHO_HEADER).and_then(Credential::decode)
                else {
                    self.note("a post came without word of its key");
                    return respond(request, &refused(500, "a fault of ours"));
                };
                let mut body = Vec::new();
                let read = request.as_reader().read_to_end(&mut body);
                #[cfg(test)]
                assert!(body != b"panic", "as the test asked");
                if read.is_err() {
                    return respond(request, &refused(400, "the body ended early"));
                }
                let answer = |handled: &Handled| respond(request, handled);
                self.ingest.handle(&body, &peer, &credential, answer);
            }
            _ => respond(request, &refused(404, "there is nothing here")),
        }
    }

    fn health(&self) -> Handled {
        match self.ingest.store.health(clock::mono()) {
            Health::Well => {
                Handled { status: 200, body: r#"{"status":"ok"}"#.into(), retry_after: None }
            }
            Health::CannotWrite(_) => Handled {
                retry_after: Some(5),
                ..refused(503, "the database cannot be written now")
            },
            Health::Stuck => {
                self.note("a write of the database does not come back");
                refused(500, "the database does not answer")
            }
        }
    }

    fn note(&self, what: &str) {
        if let Some(unsaid) = self.ingest.trouble.allow(clock::mono()) {
            log::error!("{what}{unsaid}");
        }
    }
}

pub(super) fn refused(status: u16, reason: &str) -> Handled {
    Handled { status, body: crate::wire::error_body(reason), retry_after: None }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let found =
        request.headers().iter().find(|h| h.field.as_str().as_str().eq_ignore_ascii_case(name));
    found.map(|header| header.value.as_str())
}

fn respond(request: Request, handled: &Handled) {
    let mut response = Response::from_string(&*handled.body).with_status_code(handled.status);
    if let Some(seconds) = handled.retry_after {
        let value = seconds.to_string();
        let header = Header::from_bytes("Retry-After", value.as_bytes());
        response.add_header(header.expect("a name and a number make a header"));
    }
    if let Err(error) = request.respond(response) {
        log::debug!("an answer was not taken: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn ask(socket: &Path, path: &str, body: &str) -> String {
        let mut stream = UnixStream::connect(socket).unwrap();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\n{SECRET_HEADER}: secret\r\n\
             {WHO_HEADER}: shared\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn handlers_that_panic_are_answered_with_500_and_the_server_lives() {
        let folder = std::env::temp_dir().join(format!("tg-server-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("http.sock");
        let store = Arc::new(Store::open(&folder.join("t.db")).unwrap());
        start(&socket, "secret", &store, &Arc::default()).unwrap();
        for _ in 0..100 {
            let answer = ask(&socket, INGEST_PATH, "panic");
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        }
        let post = r#"{"hostname":"h","lines":["one"]}"#;
        for _ in 0..2 * HANDLERS {
            let answer = ask(&socket, INGEST_PATH, post);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        assert!(ask(&socket, HEALTH_PATH, "").contains(r#"{"status":"ok"}"#));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
