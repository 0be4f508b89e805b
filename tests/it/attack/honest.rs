//! Honest clients of a collector under attack: each asks again and again on new connections, and
//! what it had to wait for is judged.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, StreamOwned};

use crate::support::KEY;
use crate::support::client::{client_config, client_connection, tcp_from};

/// An answer that takes longer is no service.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// Of so many tries in a row one has to be served in time: the machine may be busy.
const TRIES_IN_A_ROW: usize = 3;
const GIVE_UP: Duration = Duration::from_secs(2);
/// Between tries, so that the honest do not attack too; longer in a long attack.
const PAUSE: Duration = Duration::from_millis(4);
const PAUSES_MAX: u32 = 25;

pub(super) struct Honest {
    tries: Arc<Mutex<Vec<Try>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// GET /health and POST /ingest, each on a connection of its own.
struct Try {
    /// The longer of both.
    waited: Duration,
    stored: bool,
    fault: Option<String>,
}

/// What came of an honest client's tries.
pub(super) struct Served {
    pub(super) tries: usize,
    pub(super) stored: usize,
    pub(super) shown: String,
    pub(super) complaint: Option<String>,
}

/// The name that it posts under.
pub(super) fn host_of(from: Ipv4Addr) -> String {
    format!("honest-{from}")
}

impl Honest {
    pub(super) fn start(from: Ipv4Addr, port: u16) -> Self {
        let (tries, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, stopped) = (Arc::clone(&tries), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let config = client_config();
            while !stopped.load(Ordering::Relaxed) {
                let tried = try_once(&config, from, port);
                let mut all = all.lock().unwrap();
                all.push(tried);
                let pause = PAUSE * (all.len() as u32).clamp(1, PAUSES_MAX);
                drop(all);
                std::thread::sleep(pause);
            }
        });
        Self { tries, stop, thread: Some(thread) }
    }

    pub(super) fn count(&self) -> usize {
        self.tries.lock().unwrap().len()
    }

    /// Waits for a few more tries: whatever is held stops nobody.
    pub(super) fn tries_on(&self) {
        let begun = self.count();
        while self.count() < begun + TRIES_IN_A_ROW + 1 {
            std::thread::sleep(PAUSE);
        }
    }

    pub(super) fn stop(mut self) -> Served {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).unwrap().unwrap();
        judged(&self.tries.lock().unwrap())
    }
}

impl Drop for Honest {
    /// A test that fails leaves nobody asking.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn try_once(config: &Arc<ClientConfig>, from: Ipv4Addr, port: u16) -> Try {
    let health = "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
    let body = format!(r#"{{"hostname":"{}","lines":["one"]}}"#, host_of(from));
    let length = body.len();
    let post = format!(
        "POST /ingest HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let mut tried = Try { waited: Duration::ZERO, stored: false, fault: None };
    for request in [health, &post] {
        let begun = Instant::now();
        let answer = ask(config, from, port, request);
        tried.waited = tried.waited.max(begun.elapsed());
        match answer {
            Ok(status) if status == "200" => tried.stored = request == post,
            Ok(status) => tried.fault = Some(format!("HTTP {status}")),
            Err(error) => tried.fault = Some(error.to_string()),
        }
    }
    tried
}

fn ask(
    config: &Arc<ClientConfig>,
    from: Ipv4Addr,
    port: u16,
    request: &str,
) -> std::io::Result<String> {
    let tcp = tcp_from(from, port, GIVE_UP, None)?;
    let mut stream = StreamOwned::new(client_connection(config), tcp);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).unwrap_or("no answer").to_owned())
}

fn judged(tries: &[Try]) -> Served {
    let mut waits: Vec<_> = tries.iter().map(|tried| tried.waited.as_millis()).collect();
    waits.sort_unstable();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    let shown = format!("{} tries, median {median} ms, worst {worst} ms", tries.len());
    let unserved =
        |some: &[Try]| some.iter().all(|tried| tried.fault.is_some() || tried.waited > WAIT_MAX);
    let bad = tries.windows(TRIES_IN_A_ROW).position(unserved).map(|at| {
        let fault = tries[at].fault.as_deref().unwrap_or("too late");
        format!("{TRIES_IN_A_ROW} in a row unserved from try {at}: {fault}")
    });
    let too_few = (tries.len() < TRIES_IN_A_ROW).then(|| "too few tries".to_owned());
    Served {
        tries: tries.len(),
        stored: tries.iter().filter(|tried| tried.stored).count(),
        shown,
        complaint: bad.or(too_few),
    }
}

#[test]
fn a_client_that_is_served_now_and_then_is_no_complaint_and_one_that_is_not_is() {
    let tries = |millis: &[u64]| -> Vec<Try> {
        let tried = |millis: &u64| Try {
            waited: Duration::from_millis(*millis),
            stored: true,
            fault: (*millis == 0).then(|| "HTTP 503".to_owned()),
        };
        millis.iter().map(tried).collect()
    };
    for (millis, is_served) in [
        (&[1, 2, 3][..], true),
        (&[900, 0, 3, 900, 0, 3], true),
        (&[1, 900, 0, 251, 1], false),
        (&[1, 2], false),
    ] {
        assert_eq!(judged(&tries(millis)).complaint.is_none(), is_served, "{millis:?}");
    }
}
