//! The README is executed: its YAML is loaded, its SQL runs, its certificate serves.

use std::path::Path;
use std::process::Command;

use super::support::{Collector, Folder, certificates, must_succeed, run, text};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).unwrap()
}

/// The contents of the fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == format!("```{language}") {
            let block = lines.by_ref().take_while(|line| line.trim_start() != "```");
            blocks.push(block.fold(String::new(), |text, line| text + line + "\n"));
        }
    }
    blocks
}

/// The text with the paths of an installed host replaced by ones of this test.
fn here(text: &str, folder: &Folder) -> String {
    let root = folder.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    text.replace("/etc/tasseograph", root).replace("/var/lib/tasseograph", root)
}

fn loads(text: &str, name: &str) {
    let folder = Folder::new();
    std::fs::copy(&certificates().cert, folder.path("cert.pem")).unwrap();
    std::fs::copy(&certificates().key, folder.path("key.pem")).unwrap();
    let config = folder.write("x.yaml", &here(text, &folder));
    let command = if text.contains("collector_url:") { "agent" } else { "collector" };
    let output = super::support::tasseograph(&[command, "--check-config", "-c"])
        .arg(config)
        .env("OPENAI_API_KEY", "k")
        .env("LLM_API_KEY", "k")
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}:\n{text}\n{}", text_of(&output.stderr));
}

fn text_of(bytes: &[u8]) -> String {
    text(bytes)
}

#[test]
fn its_yaml_loads_and_so_do_the_example_files() {
    let blocks = blocks("yaml");
    assert!(blocks.len() >= 2, "{} blocks", blocks.len());
    for block in &blocks {
        loads(block, "README.md");
    }
    for name in ["agent.yaml", "collector.yaml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
        loads(&std::fs::read_to_string(path).unwrap(), name);
    }
}

#[test]
fn its_sql_runs() {
    let blocks = blocks("sql");
    let all = blocks.concat();
    for seed in [
        "SELECT timestamp, hostname, status, issues FROM results WHERE status != 'ok' \
         ORDER BY timestamp DESC LIMIT 20;",
        "SELECT status, COUNT(*) FROM results GROUP BY status;",
    ] {
        assert!(all.contains(seed), "the README lacks {seed}");
    }
    let collector = Collector::start();
    let db = collector.folder.path("t.db");
    for block in &blocks {
        for query in block.split_inclusive(';').map(str::trim).filter(|query| !query.is_empty()) {
            must_succeed(&run(&["report", "--db", db.to_str().unwrap(), "--query", query]));
        }
    }
}

#[test]
fn its_certificate_is_trusted_by_its_file() {
    let line = readme().replace("\\\n", " ");
    let line =
        line.lines().find(|line| line.trim_start().starts_with("openssl req")).unwrap().to_owned();
    let folder = Folder::new();
    let folder_text = folder.path("");
    let line = here(&line, &folder);
    let line = line.replace("DNS:collector.example.org", "DNS:localhost,IP:127.0.0.1");
    let made = Command::new("sh").args(["-c", &line]).current_dir(&folder_text).output().unwrap();
    assert!(made.status.success(), "{line}: {}", text(&made.stderr));
    let server = folder.write(
        "collector.yaml",
        &format!(
            "listen_addr: \"127.0.0.1:0\"\ndb_path: {0}t.db\ntls_cert: {0}cert.pem\n\
             tls_key: {0}key.pem\nllm_endpoints: [{{url: \"builtin:\"}}]\n",
            folder_text.display()
        ),
    );
    let mut process = super::support::Process::start(&mut super::support::tasseograph(&[
        "collector",
        "-c",
        server.to_str().unwrap(),
    ]));
    let listening = process.wait_for_line("listening on https://");
    let port = listening.rsplit_once(':').unwrap().1;
    folder.write("kmsg", "6,0,0,-;one\n");
    let agent = folder.write(
        "agent.yaml",
        &format!(
            "collector_url: https://localhost:{port}\nstate_file: {0}state\nkmsg_path: {0}kmsg\n\
             tls_ca_file: {0}cert.pem\nhostname: h\n",
            folder_text.display()
        ),
    );
    must_succeed(&super::support::agent_once(&agent));
}

#[test]
fn its_pins_are_what_its_commands_print() {
    let readme = readme();
    let commands: Vec<&str> =
        readme.lines().map(str::trim).filter(|line| line.starts_with("openssl x509")).collect();
    assert_eq!(commands.len(), 2, "of the key, of the certificate: {commands:?}");
    let collector = Collector::start();
    for command in commands {
        let folder = Folder::new();
        std::fs::copy(&certificates().cert, folder.path("cert.pem")).unwrap();
        let printed =
            Command::new("sh").args(["-c", command]).current_dir(folder.path("")).output().unwrap();
        must_succeed(&printed);
        let printed = text(&printed.stdout);
        let (_, pin) = printed.trim_end().rsplit_once('=').unwrap();
        folder.write("kmsg", "6,0,0,-;one\n");
        let agent = folder.write(
            "agent.yaml",
            &format!(
                "collector_url: {}\nstate_file: {1}state\nkmsg_path: {1}kmsg\nhostname: h\n\
                 tls_pin_sha256:\n  - {pin}\n",
                collector.url(),
                folder.path("").display()
            ),
        );
        must_succeed(&super::support::agent_once(&agent));
    }
}

#[test]
fn its_make_targets_exist() {
    let makefile =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")).unwrap();
    for word in readme().split('`').filter(|part| part.starts_with("make ")) {
        for target in word.split_whitespace().skip(1).filter(|word| !word.contains('=')) {
            assert!(makefile.contains(&format!("\n{target}:")), "no target for `{word}`");
        }
    }
}

/// `make install`, twice, into a folder with a space in its name.
#[test]
fn its_installation_keeps_a_configuration_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("dist")).unwrap();
    for (from, to) in [
        (root.join("Makefile"), "Makefile"),
        (root.join("systemd"), "systemd"),
        (env!("CARGO_BIN_EXE_tasseograph").into(), "dist/tasseograph"),
    ] {
        std::os::unix::fs::symlink(from, folder.path(to)).unwrap();
    }
    let there = folder.path("the root");
    let install = || {
        let made = Command::new("make")
            .args(["-s", "install", "PREFIX=/opt/tg", &format!("DESTDIR={}", there.display())])
            .current_dir(folder.path(""))
            .env_remove("MAKEFLAGS")
            .output()
            .unwrap();
        must_succeed(&made);
        text(&made.stdout)
    };
    install();
    let config = there.join("etc/tasseograph/agent.yaml");
    let own = "collector_url: https://mine\n";
    std::fs::write(&config, own).unwrap();
    assert!(install().contains("agent.yaml: kept as it is"));
    assert_eq!(std::fs::read_to_string(config).unwrap(), own);
    let unit = there.join("etc/systemd/system/tasseograph-agent.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    assert!(unit.contains("\nExecStart=/opt/tg/bin/tasseograph agent "), "{unit}");
    let installed = Command::new(there.join("opt/tg/bin/tasseograph")).arg("--version").output();
    must_succeed(&installed.unwrap());
}
