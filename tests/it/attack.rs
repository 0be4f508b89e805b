//! The collector attacked by strangers over real TLS, while honest clients are watched: from
//! another address, and from the attackers' own.

mod honest;
mod hostile;
mod requests;
mod siege;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::support::client::{Tls, request};
use super::support::disk::Disk;
use super::support::{Collector, Folder, KEY, wait_until};
use hostile::{Attacker, CLOSE_NOTIFY, all_of, flood, post, statuses, with_key};
use siege::{Held, Siege};

const BUILTIN: &str = "llm_endpoints: [{url: \"builtin:\"}]\n";
const MIB: usize = 1024 * 1024;
/// `/proc` counts in hundredths of a second, whatever the kernel itself does.
const TICK_MS: u64 = 10;
/// Nothing to store, and answered with 200.
const HEARTBEAT: &[u8] = br#"{"hostname":"evil","lines":[]}"#;

#[test]
fn hostile_requests_stop_nobody() {
    let mut siege = Siege::of(Collector::start());
    for (name, table) in requests::TABLES {
        let mut complaints = Vec::new();
        siege.bear(name, |port| {
            complaints = requests::checked(&Attacker::new(port), &table());
            Box::new(())
        });
        siege.complain(name, complaints);
    }
    siege.bear("200 MiB of header", large_heads);
    siege.bear("2 million requests, no answer read", endless_requests);
    siege.bear("500 requests at once, all answers read", many_requests);
    siege.bear("bodies refused unread", refused_bodies);
    siege.bear("truncated bodies", truncated_bodies);
    siege.bear("500 wrong keys", wrong_keys);
    siege.end();
}

fn large_heads(port: u16) -> Held {
    let attacker = Attacker::new(port);
    let mut streams = attacker.saying(4, b"GET /health HTTP/1.1\r\nX-Long: ");
    for stream in &mut streams {
        let said = flood(stream, &[b'a'; 64 * 1024], 200 * MIB, Duration::from_secs(5));
        assert!(said < 16 * MIB, "{said} bytes of header were taken");
    }
    // Many short ones come to as much.
    for mut stream in attacker.saying(1, b"GET /health HTTP/1.1\r\n") {
        let said = flood(&mut stream, &b"X: a\r\n".repeat(1000), 200 * MIB, Duration::from_secs(5));
        assert!(said < 16 * MIB, "{said} bytes of headers were taken");
    }
    // What is sent on after the refusal may cost a client its answer.
    for head in ["GET /health HTTP/1.1\r\nX-Long: ", "GET /"] {
        let found = statuses(&attacker.say(&[head.as_bytes(), &vec![b'a'; 10 * MIB]].concat()));
        assert!(matches!(found[..], [] | [431]), "{found:?}");
    }
    Box::new(streams)
}

fn endless_requests(port: u16) -> Held {
    let mut streams = Attacker::new(port).with_small_buffer().saying(2, b"");
    let chunk = b"GET /health HTTP/1.1\r\n\r\n".repeat(2000);
    for stream in &mut streams {
        flood(stream, &chunk, 1000 * chunk.len(), Duration::from_secs(2));
    }
    Box::new(streams)
}

fn many_requests(port: u16) -> Held {
    let length = format!("Content-Length: {}", HEARTBEAT.len());
    let one = with_key("POST /ingest", &[&length], HEARTBEAT);
    let all = [one.repeat(499), post(HEARTBEAT)].concat();
    let answers = Attacker::new(port).say(&all);
    assert_eq!(statuses(&answers), [200; 500]);
    Box::new(())
}

/// Each hears why, and those who go on or stay hold nobody up.
fn refused_bodies(port: u16) -> Held {
    let attacker = Attacker::new(port);
    let length = format!("Content-Length: {}", 3 * MIB);
    let head = with_key("POST /ingest", &[&length], b"");
    let whole = [head.as_slice(), &vec![b'x'; 3 * MIB]].concat();
    std::thread::scope(|scope| {
        let say = || scope.spawn(|| statuses(&attacker.say(&whole)));
        for one in Vec::from_iter((0..12).map(|_| say())) {
            assert_eq!(one.join().unwrap(), [413]);
        }
    });
    Box::new(attacker.saying(12, &head))
}

/// Ended by a close_notify, by a close alone, by a reset: none is taken for a whole one.
fn truncated_bodies(port: u16) -> Held {
    let attacker = Attacker::new(port);
    let length = format!("Content-Length: {}", HEARTBEAT.len() + 10);
    let head = with_key("POST /ingest", &[&length], br#"{"hostname":"evil","lines":["one"]}"#);
    for (number, mut stream) in attacker.saying(24, &head).into_iter().enumerate() {
        match number % 3 {
            0 => {
                stream.conn.send_close_notify();
                drop(stream.flush());
                assert!(!statuses(&all_of(&mut stream)).contains(&200));
            }
            1 => drop(stream),
            _ => set_socket_linger(&stream.sock, Some(Duration::ZERO)).unwrap(),
        }
    }
    Box::new(())
}

fn wrong_keys(port: u16) -> Held {
    let guess = |number: usize| {
        let attacker = Attacker::new(port);
        for number in number * 125..(number + 1) * 125 {
            let head = format!(
                "POST /ingest HTTP/1.1\r\nAuthorization: Bearer {number}{KEY}\r\n\
                 Content-Length: 2\r\n\r\n{{}}"
            );
            let found = statuses(&attacker.say(head.as_bytes()));
            let refused = found.iter().all(|status| matches!(status, 401 | 429));
            assert!(refused, "{found:?}");
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|number| drop(scope.spawn(move || guess(number))));
    });
    Box::new(())
}

#[test]
fn hostile_connections_stop_nobody() {
    let mut siege = Siege::of(Collector::start());
    siege.bear("half a handshake", half_hellos);
    siege
        .bear("silence after the handshake", |port| Box::new(Attacker::new(port).saying(100, b"")));
    siege.bear("a connection kept", kept);
    siege.bear("plain HTTP", plain_http);
    siege.bear("broken records", broken_records);
    siege.bear("renegotiation", renegotiation);
    siege.bear("5,000 connections closed at once", short_connections);
    siege.end();
}

#[test]
fn two_thousand_silent_connections_stop_nobody() {
    let mut siege = Siege::of(Collector::start());
    siege.bear("2,000 silent connections", |port| Box::new(Attacker::new(port).tcps(2000, |_| {})));
    siege.bear("after them", |_| Box::new(()));
    siege.end();
}

/// What is wrong with a body is said in a few words, and is no fault of the collector's.
#[test]
fn a_long_text_where_none_belongs_is_a_short_400() {
    let collector = Collector::start();
    let body = format!(r#"{{"hostname":"evil","lines":"{}"}}"#, "x".repeat(200_000));
    let answer = Attacker::new(collector.port).say(&post(body.as_bytes()));
    assert_eq!(statuses(&answer), [400], "{answer}");
    assert!(answer.len() < 2000, "{} bytes of answer", answer.len());
}

fn half_hellos(port: u16) -> Held {
    let attacker = Attacker::new(port);
    let hello = attacker.hello();
    let half = |tcp: &mut TcpStream| drop(tcp.write_all(&hello[..hello.len() / 2]));
    Box::new(attacker.tcps(100, half))
}

fn kept(port: u16) -> Held {
    let mut streams = Attacker::new(port).saying(1, b"GET /health HTTP/1.1\r\n\r\n");
    let mut some = [0; 17];
    streams[0].read_exact(&mut some).unwrap();
    assert_eq!(&some, b"HTTP/1.1 200 OK\r\n");
    Box::new(streams)
}

fn plain_http(port: u16) -> Held {
    let attacker = Attacker::new(port);
    let say = |tcp: &mut TcpStream| drop(tcp.write_all(&post(HEARTBEAT)));
    for mut tcp in attacker.tcps(100, say) {
        assert_eq!(statuses(&all_of(&mut tcp)), [0; 0]);
    }
    Box::new(())
}

/// After the handshake: noise, records of impossible kinds and lengths, a second ClientHello in
/// plain text, empty records for ever.
fn broken_records(port: u16) -> Held {
    let attacker = Attacker::new(port);
    let hello = attacker.hello();
    let garbage: [&[u8]; 6] = [
        &[0xff; 4096],
        &[0x17, 3, 3, 0xff, 0xff, 0],
        &[0x17, 3, 3, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x63, 3, 3, 0, 1, 0],
        &hello,
        &[0x17, 3, 3, 0, 0].repeat(100_000),
    ];
    let mut held = Vec::new();
    for bytes in garbage {
        for mut stream in attacker.saying(8, b"") {
            drop(stream.sock.write_all(bytes));
            held.push(stream);
        }
    }
    Box::new(held)
}

fn renegotiation(port: u16) -> Held {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-tls1_2", "-connect", &format!("127.0.0.1:{port}")]);
    client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut clients: Vec<_> = (0..4).map(|_| client.spawn().unwrap()).collect();
    for client in &mut clients {
        // A line of `R` asks for it.
        drop(client.stdin.take().unwrap().write_all(b"R\n"));
    }
    for mut client in clients {
        wait_until("openssl's end", || client.try_wait().unwrap().is_some());
    }
    Box::new(())
}

/// Every other one ends with a reset, which an accept may get to see.
fn short_connections(port: u16) -> Held {
    let attacker = Attacker::new(port);
    for number in 0..5000 {
        let Some(tcp) = attacker.tcp() else { break };
        if number % 2 == 0 {
            set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
        }
    }
    Box::new(())
}

/// RUSTSEC-2024-0336.
#[test]
fn a_hello_and_a_close_notify_spin_no_core() {
    let collector = Collector::start();
    let attacker = Attacker::new(collector.port);
    let hello = attacker.hello();
    let mut held = attacker.tcps(8, |tcp| {
        drop(tcp.write_all(&hello).and_then(|()| tcp.write_all(&CLOSE_NOTIFY)));
    });
    held.extend(attacker.tcps(8, |tcp| {
        drop(tcp.write_all(&CLOSE_NOTIFY).and_then(|()| tcp.shutdown(std::net::Shutdown::Write)));
    }));
    assert_eq!(request(collector.port, "GET", "/health", None, b"").status, 200);
    let before = cpu(&collector);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let spent = cpu(&collector) - before;
    assert!(spent < Duration::from_millis(300), "{spent:?} of a processor in a second");
}

/// What the collector's process has spent, its own time and the kernel's.
fn cpu(collector: &Collector) -> Duration {
    let stat = collector.process.proc("stat");
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * TICK_MS)
}

#[test]
fn a_byte_a_second_is_cut_off_on_time_and_stops_nobody() {
    let mut siege = Siege::of(Collector::start());
    siege.bear("a byte a second", |port| {
        let from = |last| Attacker::new(port).from(Ipv4Addr::new(127, 0, 0, last));
        let mut drips = Vec::new();
        let body = with_key("POST /ingest", &["Content-Length: 1000"], b"{");
        for stream in from(3).saying(20, &body) {
            drips.push(Drip::sealed("body", (25, 45), stream));
        }
        for stream in from(4).saying(20, b"POST /ing") {
            drips.push(Drip::sealed("head", (7, 20), stream));
        }
        let hello = from(1).hello();
        for tcp in from(1).tcps(20, |_| {}) {
            let stream = Stream::Open(tcp, hello.clone().into_iter());
            drips.push(Drip::new("handshake", (7, 20), stream));
        }
        let requests = b"GET /health HTTP/1.1\r\n\r\n".repeat(200);
        let mut readers = from(5).with_small_buffer().saying(20, &requests);
        readers.iter().for_each(|reader| reader.sock.set_nonblocking(true).unwrap());
        assert_eq!(drips.len() + readers.len(), 80, "a stranger's slow line is no attack yet");
        let begun = Instant::now();
        while !drips.is_empty() && begun.elapsed() < Duration::from_secs(60) {
            drips.retain_mut(|drip| drip.goes_on(begun.elapsed()));
            for reader in &mut readers {
                drop(reader.sock.read(&mut [0]));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        assert!(drips.is_empty(), "{} are held", drips.len());
        Box::new(())
    });
    siege.end();
}

/// One slow sender, and the seconds between which it has to be cut off.
struct Drip {
    what: &'static str,
    ends: (u64, u64),
    stream: Stream,
}

enum Stream {
    Sealed(Tls),
    Open(TcpStream, std::vec::IntoIter<u8>),
}

impl Drip {
    fn new(what: &'static str, ends: (u64, u64), stream: Stream) -> Self {
        Self { what, ends, stream }
    }

    fn sealed(what: &'static str, ends: (u64, u64), stream: Tls) -> Self {
        Self::new(what, ends, Stream::Sealed(stream))
    }

    /// Sends one byte; whether the collector is still there.
    fn goes_on(&mut self, elapsed: Duration) -> bool {
        let (earliest, latest) = self.ends;
        let tcp = match &mut self.stream {
            Stream::Sealed(tls) => {
                drop(tls.write_all(b"x").and_then(|()| tls.flush()));
                &mut tls.sock
            }
            Stream::Open(tcp, bytes) => {
                drop(tcp.write_all(&[bytes.next().unwrap()]));
                tcp
            }
        };
        tcp.set_nonblocking(true).unwrap();
        let heard = std::iter::repeat_with(|| tcp.read(&mut [0; 4096]));
        let open = heard.take_while(|heard| !matches!(heard, Ok(0))).find_map(Result::err);
        let open = open.is_some_and(|error| error.kind() == ErrorKind::WouldBlock);
        tcp.set_nonblocking(false).unwrap();
        let (what, elapsed) = (self.what, elapsed.as_secs());
        assert!(open || elapsed >= earliest, "{what}: cut off after {elapsed} s");
        assert!(!open || elapsed <= latest, "{what}: held for {elapsed} s");
        open
    }
}

/// More connections than the collector has descriptors for.
#[test]
fn few_descriptors_stop_nobody() {
    let few = ["sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"];
    let mut siege = Siege::of(Collector::wrapped(Folder::new(), BUILTIN, &[], &few));
    siege.bear("400 silent connections and 256 descriptors", |port| {
        Box::new(Attacker::new(port).tcps(400, |_| {}))
    });
    siege.bear("after them", |_| Box::new(()));
    siege.end();
}

/// An attack does not hide from the honest that the disk is full, nor does it cost them a record.
#[test]
fn a_disk_that_fills_under_attack_turns_the_honest_away_soon_and_loses_nothing() {
    let Some(disk) = Disk::of_kib(16 * 1024) else { return };
    let mut collector = Collector::inside(Folder::at(disk.path("")), BUILTIN, &[]);
    let port = collector.port;
    let filler = "x".repeat(20_000);
    let body = |number: u64| format!(r#"{{"hostname":"honest","lines":["{number} {filler}"]}}"#);
    let health = || request(port, "GET", "/health", None, b"");
    let silent = Attacker::new(port).tcps(20, |_| {});
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut stored: Vec<u64> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let attacker = Attacker::new(port);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                attacker.say(&post(&vec![b'['; 100_000]));
                attacker.say(b"POST /ingest HTTP/1.1\r\nContent-Length: abc\r\n\r\n");
            }
        });
        let mut next = 0;
        let mut ask = || {
            next += 1;
            let begun = Instant::now();
            let answer = request(port, "POST", "/ingest", Some(KEY), body(next).as_bytes());
            match answer.status {
                200 => stored.push(next),
                503 => assert!(answer.head.contains("\r\nRetry-After: "), "{}", answer.head),
                other => panic!("{other}: {}", answer.body),
            }
            (answer.status, begun.elapsed())
        };
        assert_eq!(ask().0, 200);
        disk.fill();
        wait_until("a full disk that shows", || ask().0 == 503 && health().status == 503);
        for what in ["/ingest", "/health"] {
            let soon = (0..3).any(|_| {
                let begun = Instant::now();
                let status = if what == "/ingest" { ask().0 } else { health().status };
                assert_eq!(status, 503, "{what}");
                begun.elapsed() < Duration::from_millis(250)
            });
            assert!(soon, "{what}: 503, and late");
        }
        disk.free();
        wait_until("a disk with room again", || health().status == 200);
        assert_eq!(ask().0, 200);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(silent);
    assert!(collector.process.is_alive());
    collector.wait_analysed();
    let lines = collector.records("honest");
    let begins: Vec<u64> =
        lines.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(stored.iter().all(|number| begins.contains(number)), "{stored:?} {begins:?}");
    assert!(lines.iter().all(|line| line.ends_with(&format!(" {filler}"))), "half stored");
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas WHERE hostname != 'honest'"), "0");
    assert_eq!(collector.one("PRAGMA integrity_check"), "ok");
}
