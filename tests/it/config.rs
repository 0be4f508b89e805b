//! Configuration mistakes, as files an operator could have written, with the messages that they
//! get.
//!
//! `config/NAME.yaml` with `config/NAME.expected`; the first word of the name is the command. In
//! both,
//! `{dir}` is a temporary folder with `cert.pem`, `key.pem`, `other-key.pem` and `empty.pem`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::support::{Folder, certificates, must_succeed, run, tasseograph, text};

/// A folder with certificates, as the fixtures expect it.
fn folder() -> Folder {
    let folder = Folder::new();
    let made = certificates();
    for (from, to) in
        [(&made.cert, "cert.pem"), (&made.key, "key.pem"), (&made.bare_key, "other-key.pem")]
    {
        fs::copy(from, folder.path(to)).unwrap();
    }
    folder.write("empty.pem", "");
    folder
}

fn root(folder: &Folder) -> String {
    folder.path("").to_str().unwrap().trim_end_matches('/').to_owned()
}

#[test]
fn mistakes_get_their_messages_all_at_once() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config");
    let mut count = 0;
    for entry in fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let folder = folder();
        let filled =
            |path: &Path| fs::read_to_string(path).unwrap().replace("{dir}", &root(&folder));
        let config = folder.write("config.yaml", &filled(&path));
        let command = name.split('-').next().unwrap();
        for arguments in [&[command, "-c"][..], &[command, "--check-config", "-c"]] {
            let output = tasseograph(arguments)
                .arg(&config)
                .env_remove("TASSEOGRAPH_API_KEY")
                .env("PRESENT_KEY", "k")
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(78), "{name}");
            assert_eq!(text(&output.stderr), filled(&path.with_extension("expected")), "{name}");
        }
        count += 1;
    }
    assert!(count >= 4, "only {count} cases");
}

#[test]
fn a_good_file_is_ok() {
    let folder = folder();
    let agent = folder.write(
        "agent.yaml",
        &format!("collector_url: https://c\nstate_file: {}/state\n", root(&folder)),
    );
    let collector = folder.write(
        "collector.yaml",
        &format!(
            "db_path: {0}/t.db\ntls_cert: {0}/cert.pem\ntls_key: {0}/key.pem\n\
             llm_endpoints: [{{url: 'builtin:'}}]\n",
            root(&folder)
        ),
    );
    for (command, path) in [("agent", agent), ("collector", collector)] {
        let output = run(&[command, "--check-config", "-c", path.to_str().unwrap()]);
        must_succeed(&output);
        assert_eq!(text(&output.stdout), format!("{}: ok\n", path.display()));
    }
    assert!(!folder.path("t.db").exists(), "a check makes nothing");
}

#[test]
fn a_missing_file_is_named() {
    for (command, maker) in [
        ("agent", "tasseograph agent-config, on the collector's host, prints one"),
        ("collector", "tasseograph collector --init makes one"),
    ] {
        let output = run(&[command, "-c", "/nonexistent/x.yaml"]);
        assert_eq!(output.status.code(), Some(78));
        let missing = "cannot read \"/nonexistent/x.yaml\": no such file or directory";
        let expected = format!("tasseograph: {missing}; {maker}\n");
        assert_eq!(text(&output.stderr), expected);
    }
}

#[test]
fn an_address_in_use_is_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = folder.write(
        "collector.yaml",
        &format!(
            "listen_addr: \"{address}\"\ndb_path: {0}/t.db\ntls_cert: {0}/cert.pem\n\
             tls_key: {0}/key.pem\nllm_endpoints: [{{url: 'builtin:'}}]\n",
            root(&folder)
        ),
    );
    let output = run(&["collector", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let error = text(&output.stderr);
    // The words behind it are the C library's.
    let expected = format!("listen_addr: cannot listen on {address}: address ");
    assert!(error.contains(&expected) && error.contains("in use\n"), "{error}");
}

#[test]
fn every_interface_is_v4_and_v6() {
    use super::support::{Process, client::request};
    let folder = folder();
    let path = folder.write(
        "collector.yaml",
        &format!(
            "listen_addr: \":0\"\ndb_path: {0}/t.db\ntls_cert: {0}/cert.pem\n\
             tls_key: {0}/key.pem\nllm_endpoints: [{{url: 'builtin:'}}]\n",
            root(&folder)
        ),
    );
    let mut process =
        Process::start(&mut tasseograph(&["collector", "-c", path.to_str().unwrap()]));
    let line = process.wait_for_line("listening on https://");
    let port = line.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(request(port, "GET", "/health", None, b"").status, 200);
    match std::net::TcpStream::connect(("::1", port)) {
        Ok(_) => {}
        Err(error) if line.contains("0.0.0.0") => {
            super::support::skip(&format!("no IPv6: {error}"))
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn secrets_come_from_files_and_credentials_too() {
    let folder = folder();
    let config = folder.write(
        "agent.yaml",
        &format!("collector_url: https://c\nstate_file: {}/state\n", root(&folder)),
    );
    let check = |name: &str, value: &str| {
        let output = tasseograph(&["agent", "--check-config", "-c", config.to_str().unwrap()])
            .env_remove("TASSEOGRAPH_API_KEY")
            .env(name, value)
            .output()
            .unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let key = folder.write("TASSEOGRAPH_API_KEY", "secret\n");
    assert_eq!(check("TASSEOGRAPH_API_KEY_FILE", key.to_str().unwrap()).0, Some(0));
    assert_eq!(check("CREDENTIALS_DIRECTORY", &root(&folder)).0, Some(0));
    let (code, error) = check("TASSEOGRAPH_API_KEY_FILE", "/nonexistent/key");
    assert_eq!(code, Some(78));
    assert!(
        error.contains("TASSEOGRAPH_API_KEY: cannot read \"/nonexistent/key\": no such"),
        "{error}"
    );
    let (code, error) = check("TASSEOGRAPH_API_KEY", "two words");
    assert_eq!(code, Some(78));
    assert!(error.contains("TASSEOGRAPH_API_KEY: it holds a character"), "{error}");
    assert!(!error.contains("two words"), "{error}");
}

#[test]
fn a_database_that_is_not_ours_is_refused() {
    let folder = folder();
    let path = folder.write(
        "collector.yaml",
        &format!(
            "listen_addr: \"127.0.0.1:0\"\ndb_path: {0}/t.db\ntls_cert: {0}/cert.pem\n\
             tls_key: {0}/key.pem\nllm_endpoints: [{{url: 'builtin:'}}]\n",
            root(&folder)
        ),
    );
    let refused = |why: &str| {
        let output = run(&["collector", "-c", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.contains("t.db: ") && error.contains(why), "{error}");
        drop(fs::remove_file(folder.path("t.db")));
    };
    folder.write("t.db", "this is no database, and long enough to be none: ".repeat(20).as_str());
    refused("not a database");
    let foreign = rusqlite::Connection::open(folder.path("t.db")).unwrap();
    foreign.execute_batch("CREATE TABLE precious (x)").unwrap();
    drop(foreign);
    refused("it is a database of another program");
    let newer = rusqlite::Connection::open(folder.path("t.db")).unwrap();
    newer
        .execute_batch(
            "PRAGMA application_id = 0x54617373; PRAGMA user_version = 99; CREATE TABLE x (y)",
        )
        .unwrap();
    drop(newer);
    refused("its schema is version 99 and this program knows 5");
}
