//! llama.cpp's server with a small model, from beside the project (`../shared/llm`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::endpoint::ENDPOINT_KEY;
use super::super::support::scripted::{Act, Seen};
use super::super::support::{own_port, skip, text, wait_until};

/// Looked for wherever it could be told.
pub(super) const MODEL_KEY: &str = ENDPOINT_KEY;

/// One model at a time: two would starve each other on a small machine.
static ALONE: Mutex<()> = Mutex::new(());

/// The models that are there to be run.
pub(super) struct Models {
    folder: PathBuf,
    script: PathBuf,
    /// The one to judge by, as `TASSEOGRAPH_REAL_MODEL` names it.
    pub(super) chosen: String,
    _alone: MutexGuard<'static, ()>,
}

/// Protocol only: it answers the same whatever it is asked.
const SMOL: &str = "smol";
const SMOL_FILE: &str = "smollm2-135m-instruct-q4_1.gguf";

/// `None`, with a word about it, where there is no model.
pub(super) fn models() -> Option<Models> {
    let Ok(chosen) = std::env::var("TASSEOGRAPH_REAL_MODEL") else {
        skip("TASSEOGRAPH_REAL_MODEL is not set; make real-model sets it");
        return None;
    };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("../shared/llm/serve-llm.sh");
    if !script.exists() {
        skip("../shared/llm/serve-llm.sh is not beside the project");
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some(Models { folder: root.join("target/real-model"), script, chosen, _alone: alone })
}

/// Goes with its test.
pub(super) struct Server {
    pub(super) port: u16,
    pid: String,
    child: Option<Child>,
}

impl Models {
    /// Downloads the model where it is not there yet, and waits until it answers.
    pub(super) fn serve(&self, model: &str) -> Server {
        let port = own_port();
        let mut command = Command::new("bash");
        command.arg(&self.script).arg(&self.folder).args([&port.to_string(), MODEL_KEY, model]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let pid = self.folder.join(format!("server-{port}.pid"));
        let pid = std::fs::read_to_string(pid).unwrap().trim().to_owned();
        Server { port, pid, child: None }
    }

    /// The small one, at once and still loading, with a context of so many tokens.
    pub(super) fn begin(&self, context: u32) -> Server {
        // It is downloaded once.
        if !self.folder.join(SMOL_FILE).exists() {
            drop(self.serve(SMOL));
        }
        let port = own_port();
        let log = std::fs::File::create(self.folder.join(format!("server-{port}.log"))).unwrap();
        let mut command = Command::new(self.folder.join("bin/llama-server"));
        command.arg("-m").arg(self.folder.join(SMOL_FILE));
        command.args(["--alias", "smollm2-135m-instruct", "--host", "127.0.0.1", "-np", "1"]);
        command.args(["-t", "1", "--poll", "0", "--device", "none", "--offline", "--no-ui"]);
        command.args(["--port", &port.to_string(), "-c", &context.to_string()]);
        command.args(["--api-key", MODEL_KEY]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        Server { port, pid: child.id().to_string(), child: Some(child) }
    }

    /// The same, once it has loaded.
    pub(super) fn small(&self, context: u32) -> Server {
        let server = self.begin(context);
        wait_until("the model is loaded", || {
            server
                .try_ask("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", "")
                .is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
        });
        server
    }
}

impl Server {
    /// As an entry of `llm_endpoints`.
    pub(super) fn endpoint(&self, more: &str) -> String {
        let url = format!("http://127.0.0.1:{}/v1", self.port);
        format!("  - {{url: \"{url}\", model: real, api_key_env: MODEL_KEY{more}}}\n")
    }

    /// Accepts connections, loaded or not.
    pub(super) fn listens(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    pub(super) fn end(&self) {
        drop(Command::new("kill").arg(&self.pid).status());
    }

    fn try_ask(&self, head: &str, body: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(answer)
    }

    /// What it answers to a request that came to someone else.
    pub(super) fn forward(port: u16, seen: &Seen) -> Act {
        let server = Self { port, pid: String::new(), child: None };
        let mut head = String::new();
        for line in seen.head.trim_end().lines().filter(|line| !is_connection(line)) {
            head.push_str(&format!("{line}\r\n"));
        }
        head.push_str("Connection: close\r\n\r\n");
        match server.try_ask(&head, &seen.body) {
            Some(answer) => Act::Raw(answer),
            None => Act::Close,
        }
    }
}

fn is_connection(line: &str) -> bool {
    line.to_lowercase().starts_with("connection:")
}

impl Drop for Server {
    fn drop(&mut self) {
        match (&mut self.child, self.pid.is_empty()) {
            (Some(child), _) => {
                drop(child.kill());
                drop(child.wait());
            }
            (None, false) => drop(Command::new("kill").arg("-9").arg(&self.pid).status()),
            (None, true) => {}
        }
    }
}
