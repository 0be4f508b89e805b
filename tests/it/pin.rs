//! `tls_pin_sha256`: who holds a pinned key is the collector, and nobody else. And what else the
//! agent's TLS promises, whomever it believes: sessions are resumed, a handshake has a deadline.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::support::scripted::{Act, Scripted, Seen};
use super::support::{
    Collector, Folder, Process, agent_once, certificates, kernel_records, lines, must_succeed,
    tasseograph, text, wait_until,
};

const BUILTIN: &str = "llm_endpoints: [{url: \"builtin:\"}]\n";

/// What a shell command prints, without its last line's end.
fn shell(command: &str, cert: &Path) -> String {
    let output = Command::new("sh").args(["-c", command]).env("CERT", cert).output().unwrap();
    must_succeed(&output);
    text(&output.stdout).trim_end().to_owned()
}

const KEY_DER: &str =
    "openssl x509 -in \"$CERT\" -pubkey -noout | openssl pkey -pubin -outform DER";

/// Of the key, as hex digits.
fn key_pin(cert: &Path) -> String {
    let printed = shell(&format!("{KEY_DER} | openssl dgst -sha256 -r"), cert);
    printed.split(' ').next().unwrap().to_owned()
}

/// Of the certificate, as openssl writes a fingerprint.
fn certificate_pin(cert: &Path) -> String {
    let printed = shell("openssl x509 -in \"$CERT\" -noout -fingerprint -sha256", cert);
    printed.rsplit_once('=').unwrap().1.to_owned()
}

/// Of the key, as curl wants it.
fn curl_pin(cert: &Path) -> String {
    let base64 = shell(&format!("{KEY_DER} | openssl dgst -sha256 -binary | base64"), cert);
    format!("sha256//{base64}")
}

/// The agent's configuration, with `trust` as YAML, for a log of three records.
fn agent_of(port: u16, trust: &str) -> (Folder, PathBuf) {
    let folder = Folder::new();
    folder.write("kmsg", &kernel_records(0, 3));
    let config = format!(
        "collector_url: https://127.0.0.1:{port}\nstate_file: {0}state\nkmsg_path: {0}kmsg\n\
         hostname: web-1\npoll_interval: 100ms\n{trust}\n",
        folder.path("").display()
    );
    let path = folder.write("agent.yaml", &config);
    (folder, path)
}

fn pinned(port: u16, pins: &[&str]) -> (Folder, PathBuf) {
    agent_of(port, &format!("tls_pin_sha256: [{}]", pins.join(", ")))
}

/// Stores whatever comes.
fn stores(_: usize, seen: &Seen) -> Act {
    let post: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    Act::Answer(200, format!(r#"{{"status":"stored","next_seq":{}}}"#, post["next_seq"]))
}

#[test]
fn who_holds_a_pinned_key_is_the_collector_whatever_its_certificate_says() {
    let made = certificates();
    let other = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (cert, key) in [(&made.cert, &made.key), (&made.bare_cert, &made.bare_key)] {
        let collector = Collector::presenting((cert, key), Folder::new(), BUILTIN, &[], &[]);
        let own = format!("certificate key SHA-256 (for tls_pin_sha256): {}\n", key_pin(cert));
        assert!(collector.process.log().contains(&own), "{}", collector.process.log());
        for pin in [&key_pin(cert), &certificate_pin(cert), &curl_pin(cert)] {
            for pins in [&[pin.as_str()][..], &[other, pin]] {
                let (_folder, config) = pinned(collector.port, pins);
                must_succeed(&agent_once(&config));
            }
        }
        assert_eq!(collector.records("web-1"), lines(0, 3));
    }
}

#[test]
fn another_key_is_refused_with_the_pin_to_compare() {
    let made = certificates();
    let strangers = [key_pin(&made.bare_cert), certificate_pin(&made.bare_cert)];
    let strangers = [strangers[0].as_str(), &strangers[1]];
    let server = Scripted::start_tls(stores);
    let (_folder, config) = pinned(server.port, &strangers);
    let output = agent_once(&config);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    let expected = format!(
        "the server's certificate is refused: its key's SHA-256 is {}, none of tls_pin_sha256; if \
         that is the collector's, which its log tells, put it there\n",
        key_pin(&made.cert)
    );
    assert!(error.contains(&expected), "{error}");
    wait_until("the connection ends", || !server.handshakes().is_empty());
    assert_eq!(server.count(), 0, "nothing is sent");

    let shown = error.split("SHA-256 is ").nth(1).unwrap().split(',').next().unwrap();
    let (_folder, config) = pinned(server.port, &[shown]);
    must_succeed(&agent_once(&config));
    assert_eq!(server.count(), 1);
}

#[test]
fn a_refusal_that_stays_is_logged_once() {
    let server = Scripted::start_tls(stores);
    let (_folder, config) = pinned(server.port, &[&key_pin(&certificates().bare_cert)]);
    let mut agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
    agent.wait_for_line("none of tls_pin_sha256");
    wait_until("it tries again", || server.handshakes().len() >= 3);
    assert_eq!(agent.log().matches("none of tls_pin_sha256").count(), 1, "{}", agent.log());
    assert_eq!(server.count(), 0);
}

/// The certificate is public: anyone can show it.
#[test]
fn who_shows_the_certificate_without_its_key_is_refused() {
    let made = certificates();
    let folder = Folder::new();
    let key = |kind: &str, name: &str| {
        let path = folder.path(name);
        shell(&format!("openssl genpkey {kind} -out {}", path.display()), &made.cert);
        path
    };
    let p256 = key("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "p256.pem");
    let rsa = key("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "rsa.pem");
    for (cert, key) in [(&made.cert, &p256), (&made.bare_cert, &rsa)] {
        for version in [&TLS12, &TLS13] {
            let server = Scripted::start_tls_with(cert, key, &[version], stores);
            for pin in [key_pin(cert), certificate_pin(cert)] {
                let (_folder, config) = pinned(server.port, &[&pin]);
                let output = agent_once(&config);
                assert_eq!(output.status.code(), Some(1), "{version:?} {pin}");
                let error = text(&output.stderr);
                assert!(error.contains("who shows it does not hold its key"), "{error}");
            }
            wait_until("both connections end", || server.handshakes().len() == 2);
            assert_eq!(server.count(), 0, "nothing is sent");
        }
    }
}

#[test]
fn pins_work_with_each_version_of_tls() {
    let made = certificates();
    for (cert, key) in [(&made.cert, &made.key), (&made.bare_cert, &made.bare_key)] {
        for version in [&TLS12, &TLS13] {
            let server = Scripted::start_tls_with(cert, key, &[version], stores);
            let (_folder, config) = pinned(server.port, &[&key_pin(cert)]);
            must_succeed(&agent_once(&config));
            assert_eq!(server.count(), 1, "{version:?}");
        }
    }
}

#[test]
fn sessions_are_resumed_whomever_the_agent_believes() {
    let made = certificates();
    for trust in [
        format!("tls_pin_sha256: {}", key_pin(&made.cert)),
        format!("tls_ca_file: {}", made.cert.display()),
        // The host's store: the tests' own certificate.
        String::new(),
        "tls_skip_verify: true".to_owned(),
    ] {
        let server = Scripted::start_tls(stores);
        let (_folder, config) = agent_of(server.port, &trust);
        let _agent = Process::start(&mut tasseograph(&["agent", "-c", config.to_str().unwrap()]));
        wait_until("three connections", || server.handshakes().len() >= 3);
        let kinds = server.handshakes();
        assert_eq!(kinds[0], Some(HandshakeKind::Full), "{trust}");
        let resumed = kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed));
        assert!(resumed, "{trust}: {kinds:?}");
    }
}

/// It takes a connection, and never says a word: the time to connect is over.
#[test]
fn a_handshake_is_part_of_the_time_to_connect() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let collector = Collector::with(&format!(
        "llm_endpoints:\n  - {{url: \"https://127.0.0.1:{port}/v1\", model: m, timeout: 1h, \
         connect_timeout: 300ms}}\n  - {{url: \"builtin:\"}}\n"
    ));
    let (_folder, config) = pinned(collector.port, &[&key_pin(&certificates().cert)]);
    must_succeed(&agent_once(&config));
    collector.wait_analysed();
    let note = collector.one("SELECT note FROM results");
    assert!(note.contains("no connection in time"), "{note}");
}
