//! The gate over real TLS: bad requests are answered or closed, and honest clients are served.

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::support::client::{
    client_config, connect, connect_with, is_served, over, post, read_answer, request, say,
    tcp_from, trusting,
};
use super::support::scripted::silent;
use super::support::{Collector, Folder, KEY, PATIENCE, make_pair, wait_until};

const BUILTIN: &str = "llm_endpoints: [{url: \"builtin:\"}]\n";
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\n\r\n";

fn head(lines: &[&str]) -> Vec<u8> {
    let mut text = format!("POST /ingest HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn heartbeat() -> Vec<u8> {
    let body = br#"{"hostname":"h","lines":null}"#;
    let mut bytes = head(&[&format!("Content-Length: {}", body.len())]);
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn a_connection_is_kept_alive_and_requests_may_follow_each_other() {
    let collector = Collector::start();
    let mut stream = connect(collector.port);
    let body = r#"{"hostname":"h","lines":["one"]}"#;
    let length = format!("Content-Length: {}", body.len());
    let mut bytes = head(&[&length]);
    bytes.extend_from_slice(body.as_bytes());
    let three = [bytes.clone(), bytes.clone(), bytes.clone()].concat();
    stream.write_all(&three).unwrap();
    for _ in 0..3 {
        let answer = read_answer(&mut stream);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.head.contains("Connection: keep-alive"), "{}", answer.head);
    }
    let mut closing = head(&[&length, "Connection: close"]);
    closing.extend_from_slice(body.as_bytes());
    stream.write_all(&closing).unwrap();
    assert!(read_answer(&mut stream).head.contains("Connection: close"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed");
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "4");
}

#[test]
fn a_client_that_waits_for_100_gets_it() {
    let collector = Collector::start();
    let mut stream = connect(collector.port);
    let body = r#"{"hostname":"h","lines":["one"]}"#;
    let length = format!("Content-Length: {}", body.len());
    stream.write_all(&head(&[&length, "Expect: 100-continue"])).unwrap();
    assert_eq!(read_answer(&mut stream).status, 100);
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
    // A refusal comes instead of it, before any body.
    let refused = format!("POST /ingest HTTP/1.1\r\n{length}\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(say(collector.port, refused.as_bytes()).status, 401);
}

#[test]
fn a_refused_body_does_not_eat_the_answer() {
    let collector = Collector::start();
    let body = vec![b'x'; 3 << 20];
    for _ in 0..10 {
        assert_eq!(request(collector.port, "POST", "/ingest", Some(KEY), &body).status, 413);
    }
    assert!(is_served(collector.port));
}

/// Whoever needs no key must not book the room of those who have one.
#[test]
fn a_stranger_books_no_room_for_bodies() {
    let collector = Collector::start();
    let mut strangers = Vec::new();
    for _ in 0..70 {
        let mut stream = connect(collector.port);
        let head = "GET /health HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        strangers.push(stream);
    }
    let body = r#"{"hostname":"web-1","lines":["text"]}"#;
    assert_eq!(post(collector.port, body).status, 200);
    for mut stream in strangers {
        assert_eq!(read_answer(&mut stream).status, 413);
    }
}

#[test]
fn head_is_answered_like_get_without_a_body_and_405_says_what_a_path_takes() {
    let collector = Collector::start();
    let mut stream = connect(collector.port);
    let both = b"HEAD /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
    stream.write_all(both).unwrap();
    let mut all = String::new();
    drop(stream.read_to_string(&mut all));
    let body = r#"{"status":"ok"}"#;
    let length = format!("Content-Length: {}\r\n", body.len());
    assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{all}");
    assert_eq!((all.matches(&length).count(), all.matches(body).count()), (2, 1), "{all}");
    for (method, path, allow) in
        [("GET", "/ingest", "POST"), ("POST", "/health", "GET, HEAD"), ("PUT", "/ingest", "POST")]
    {
        let answer = request(collector.port, method, path, Some(KEY), b"");
        assert_eq!(answer.status, 405);
        assert!(answer.head.contains(&format!("\r\nAllow: {allow}\r\n")), "{}", answer.head);
    }
    let mut stream = connect(collector.port);
    stream.write_all(b"HEAD /nothing HTTP/1.1\r\n\r\n").unwrap();
    let mut all = String::new();
    drop(stream.read_to_string(&mut all));
    assert!(all.starts_with("HTTP/1.1 404 ") && all.ends_with("\r\n\r\n"), "{all}");
}

#[test]
fn strangers_of_one_address_wait_for_their_turn_and_agents_do_not() {
    let collector = Collector::with(&format!("{BUILTIN}max_strangers_per_address: 2\n"));
    let config = client_config();
    let mut agents: Vec<_> = (0..5).map(|_| connect(collector.port)).collect();
    let body = r#"{"hostname":"h","lines":["one"]}"#;
    let mut bytes = head(&[&format!("Content-Length: {}", body.len())]);
    bytes.extend_from_slice(body.as_bytes());
    let mut all_are_served = || {
        for agent in &mut agents {
            agent.write_all(&bytes).unwrap();
            assert_eq!(read_answer(agent).status, 200);
        }
    };
    all_are_served();
    let mut slow: Vec<_> = (0..2).map(|_| connect(collector.port)).collect();
    for stream in &mut slow {
        stream.write_all(&HEALTH[..9]).unwrap();
        stream.flush().unwrap();
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    // Once the two are seen to be at it, another one gets no handshake.
    let mut third = connect(collector.port);
    wait_until("a third stranger waits", || {
        third = connect(collector.port);
        third.sock.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        third.write_all(HEALTH).is_err()
    });
    let other = tcp_from(Ipv4Addr::new(127, 0, 0, 2), collector.port, PATIENCE, None);
    let mut other = over(&config, other.unwrap());
    other.write_all(HEALTH).unwrap();
    assert_eq!(read_answer(&mut other).status, 200);
    all_are_served();
    // It was not cut off. A stranger that takes its time gives its place up to one that waits.
    third.sock.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    third.write_all(HEALTH).unwrap();
    assert_eq!(read_answer(&mut third).status, 200);
}

#[test]
fn where_all_connections_are_taken_the_quietest_makes_room() {
    let collector = Collector::with(&format!("{BUILTIN}max_connections: 6\n"));
    let mut agent = connect(collector.port);
    let bytes = heartbeat();
    agent.write_all(&bytes).unwrap();
    assert_eq!(read_answer(&mut agent).status, 200);
    let strangers: Vec<_> = (0..20).map(|_| silent(collector.port)).collect();
    assert!(is_served(collector.port));
    // Strangers go before agents.
    agent.write_all(&bytes).unwrap();
    assert_eq!(read_answer(&mut agent).status, 200);
    drop(strangers);
}

fn served(config: &Arc<ClientConfig>, port: u16) -> CertificateDer<'static> {
    let mut stream = connect_with(config, port);
    stream.write_all(HEALTH).unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name);
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    make_pair(&cert, &key);
    make_pair(&path("new-cert.pem"), &path("new-key.pem"));
    fs::copy(&cert, path("old-cert.pem")).unwrap();
    let mut collector = Collector::presenting((&cert, &key), Folder::new(), BUILTIN, &[], &[]);
    let config = Arc::new(trusting(&[&path("old-cert.pem"), &path("new-cert.pem")]));
    let old = served(&config, collector.port);
    let mut open = connect_with(&config, collector.port);
    open.write_all(HEALTH).unwrap();
    assert_eq!(read_answer(&mut open).status, 200);

    // Half a renewal: the key does not belong to the certificate yet.
    fs::copy(path("new-cert.pem"), &cert).unwrap();
    collector
        .process
        .wait_for_line("the renewed certificate cannot be used, the old one stays: the key in");
    assert_eq!(served(&config, collector.port), old);
    // Requests on it keep it from being idle for too long.
    open.write_all(HEALTH).unwrap();
    assert_eq!(read_answer(&mut open).status, 200);

    fs::rename(path("new-key.pem"), &key).unwrap();
    collector.process.wait_for_line("a renewed certificate is served");
    let new = CertificateDer::from_pem_file(path("new-cert.pem")).unwrap();
    assert_eq!(served(&config, collector.port), new);
    open.write_all(HEALTH).unwrap();
    assert_eq!(read_answer(&mut open).status, 200, "a renewal drops no connection");

    fs::remove_file(&cert).unwrap();
    collector.process.wait_for_line("the old one stays: cannot read");
    assert_eq!(served(&config, collector.port), new);
    let said = collector.process.log().matches("the old one stays").count();
    assert_eq!(said, 2, "once for each pair");
    assert!(collector.process.is_alive());
}

#[test]
fn idle_agents_take_no_thread_and_little_memory() {
    let collector = Collector::start();
    let (threads, memory) = (collector.process.threads().len(), collector.process.rss_kib());
    let bytes = heartbeat();
    let config = client_config();
    let agents: Vec<_> = (0..500)
        .map(|_| {
            let mut agent = connect_with(&config, collector.port);
            agent.write_all(&bytes).unwrap();
            assert_eq!(read_answer(&mut agent).status, 200);
            agent
        })
        .collect();
    assert!(collector.process.threads().len() <= threads + 4, "tiny_http's pool may grow a little");
    let more = collector.process.rss_kib().saturating_sub(memory);
    assert!(more < 32 * 1024, "{more} KiB for {} idle agents", agents.len());
}

/// Strangers that have begun to speak are no safer than silent ones, and no agent goes before them.
#[test]
fn one_address_cannot_take_all_connections() {
    let settings = "max_connections: 64\nmax_strangers_per_address: 8\n";
    let mut collector = Collector::with(&format!("{BUILTIN}{settings}"));
    let mut agent = connect(collector.port);
    let bytes = heartbeat();
    agent.write_all(&bytes).unwrap();
    assert_eq!(read_answer(&mut agent).status, 200);
    let strangers: Vec<_> = (0..300)
        .map(|_| {
            let mut stranger = silent(collector.port);
            stranger.write_all(b"\x16").unwrap();
            stranger
        })
        .collect();
    collector.process.wait_for_line("all connections are taken: ");
    let other = tcp_from(Ipv4Addr::new(127, 0, 0, 2), collector.port, PATIENCE, None);
    let mut other = over(&client_config(), other.unwrap());
    other.write_all(HEALTH).unwrap();
    assert_eq!(read_answer(&mut other).status, 200);
    agent.write_all(&bytes).unwrap();
    assert_eq!(read_answer(&mut agent).status, 200);
    drop(strangers);
}

/// A request waits for its turn inside however it came to have a place of its address.
#[test]
fn posts_of_strangers_that_had_to_wait_are_all_stored() {
    let collector = Collector::with(&format!("{BUILTIN}max_strangers_per_address: 1\n"));
    let config = client_config();
    std::thread::scope(|scope| {
        for number in 0..40 {
            let (config, port) = (&config, collector.port);
            scope.spawn(move || {
                let body = format!(r#"{{"hostname":"h{number}","lines":["one"]}}"#);
                let head = head(&[&format!("Content-Length: {}", body.len())]);
                let mut stream = connect_with(config, port);
                // In pieces, so that events come while it waits.
                for piece in [&head[..], &body.as_bytes()[..9], &body.as_bytes()[9..]] {
                    stream.write_all(piece).unwrap();
                    stream.flush().unwrap();
                }
                assert_eq!(read_answer(&mut stream).status, 200);
            });
        }
    });
    assert_eq!(collector.one("SELECT COUNT(*) FROM deltas"), "40");
}
