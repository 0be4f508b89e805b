//! A network between agent and collector that can be cut, held, reset and slowed down. It passes
//! bytes on and knows nothing of TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Good,
    /// Connections end at once, those that are there too.
    Cut,
    /// Half open: what the agent sends arrives, and nothing comes back until this changes.
    Silent,
    /// What the agent sends arrives, and the answer becomes a reset.
    Reset,
    /// The answer comes one byte at a time.
    Drip(Duration),
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    network: Arc<Mutex<Network>>,
}

impl Proxy {
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Mutex::new(Network::Good));
        let shared = Arc::clone(&network);
        std::thread::spawn(move || {
            for agent in listener.incoming().map_while(Result::ok) {
                let Ok(collector) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                pump(agent, collector, &shared);
            }
        });
        Self { port, network }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn become_(&self, network: Network) {
        *self.network.lock().unwrap() = network;
    }
}

fn pump(agent: TcpStream, collector: TcpStream, network: &Arc<Mutex<Network>>) {
    for stream in [&agent, &collector] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    }
    let (from, to) = (agent.try_clone().unwrap(), collector.try_clone().unwrap());
    let shared = Arc::clone(network);
    std::thread::spawn(move || pass(from, to, &shared, false));
    let shared = Arc::clone(network);
    std::thread::spawn(move || pass(collector, agent, &shared, true));
}

fn pass(mut from: TcpStream, mut to: TcpStream, network: &Mutex<Network>, is_answer: bool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let now = || *network.lock().unwrap();
        let length = match from.read(&mut buffer) {
            _ if now() == Network::Cut => break,
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        while is_answer && now() == Network::Silent {
            std::thread::sleep(Duration::from_millis(5));
        }
        let written = match now() {
            Network::Cut => break,
            Network::Reset if is_answer => {
                set_socket_linger(&to, Some(Duration::ZERO)).unwrap();
                break;
            }
            Network::Drip(pause) if is_answer => buffer[..length].iter().try_for_each(|byte| {
                std::thread::sleep(pause);
                to.write_all(std::slice::from_ref(byte))
            }),
            _ => to.write_all(&buffer[..length]),
        };
        if written.is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
