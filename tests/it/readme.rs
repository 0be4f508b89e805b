//! The README is executed: its YAML is loaded, its SQL runs, its certificate serves.

use std::path::Path;
use std::process::Command;

use super::support::scripted::{Act, Scripted, completion};
use super::support::{Collector, Folder, binary, certificates, must_succeed, run, text};

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

/// Ansible itself looks at it where it is installed.
#[test]
fn its_playbook_is_one() {
    let blocks = blocks("yml");
    assert_eq!(blocks.len(), 1);
    let plays: serde_yaml::Value = serde_yaml::from_str(&blocks[0]).unwrap();
    for play in plays.as_sequence().unwrap() {
        assert!(play["hosts"].is_string());
        let handlers = play["handlers"].as_sequence().unwrap();
        let handled: Vec<_> = handlers.iter().map(|handler| &handler["listen"]).collect();
        for task in play["tasks"].as_sequence().unwrap().iter().chain(handlers) {
            let keys = task.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap());
            let modules: Vec<_> = keys.filter(|key| key.starts_with("ansible.builtin.")).collect();
            assert!(task["name"].is_string() && modules.len() == 1, "{task:?}");
            let notified = &task["notify"];
            assert!(notified.is_null() || handled.contains(&notified), "{task:?}");
        }
    }
    let commands = plays[0]["tasks"][2]["ansible.builtin.command"].as_str().unwrap();
    let arguments = commands.replace("{{ inventory_hostname }}", "web-1");
    let arguments: Vec<_> = arguments.split(' ').skip(1).collect();
    let output = run(&[&arguments[..], &["-c", "/nonexistent/collector.yaml"]].concat());
    assert_eq!(output.status.code(), Some(78), "no usage error: {}", text(&output.stderr));
    let folder = Folder::new();
    let playbook = folder.write("playbook.yml", &blocks[0]);
    let checked = Command::new("ansible-playbook").arg("--syntax-check").arg(playbook).output();
    match checked {
        Ok(checked) => must_succeed(&checked),
        Err(_) => super::support::skip("no ansible-playbook here: read as YAML alone"),
    }
}

/// The one line that asks a collector for its health, by the certificate that `--init` makes.
#[test]
fn its_curl_is_answered() {
    let readme = readme();
    let line = readme.lines().find(|line| line.starts_with("curl --cacert ")).unwrap();
    if Command::new("curl").arg("--version").output().is_err() {
        return super::support::skip("no curl here");
    }
    let folder = Folder::new();
    let config = folder.path("collector.yaml");
    let config = config.to_str().unwrap();
    let names = ["--name", "collector.example.org"];
    must_succeed(&run(&[&["collector", "--init", "-c", config][..], &names].concat()));
    let port = super::support::own_port();
    let text_of_config = std::fs::read_to_string(config).unwrap();
    let listen = format!("listen_addr: \"127.0.0.1:{port}\"");
    let text_of_config = text_of_config.replace("# listen_addr: \":9311\"", &listen);
    std::fs::write(config, text_of_config).unwrap();
    let mut command = super::support::tasseograph(&["collector", "-c", config]);
    let mut process = super::support::Process::start(&mut command);
    process.wait_for_line("listening on https://");
    let line = here(line, &folder).replace(":9311", &format!(":{port}"));
    let resolve = format!("--resolve collector.example.org:{port}:127.0.0.1");
    let line = line.replace("curl ", &format!("curl -sS --noproxy '*' {resolve} "));
    let answered = Command::new("sh").args(["-c", &line]).output().unwrap();
    must_succeed(&answered);
    assert_eq!(text(&answered.stdout), r#"{"status":"ok"}"#);
    // From any host, which has no certificate.
    let bare = readme.split('`').find(|part| part.starts_with("curl -k ")).unwrap();
    let bare = bare.replace(":9311", &format!(":{port}"));
    let bare = bare.replace("curl ", &format!("curl -sS --noproxy '*' {resolve} "));
    let answered = Command::new("sh").args(["-c", &bare]).output().unwrap();
    assert_eq!(text(&answered.stdout), r#"{"status":"ok"}"#, "{bare}");
    assert!(readme.contains(r#"answer is `{"status":"ok"}`"#));
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
    let mut collector = Collector::start();
    collector.process.kill();
    collector.db().execute_batch(FILLED).unwrap();
    let db = collector.folder.path("t.db");
    for block in &blocks {
        for query in block.split_inclusive(';').map(str::trim).filter(|query| !query.is_empty()) {
            let output = run(&["report", "--db", db.to_str().unwrap(), "--query", query]);
            must_succeed(&output);
            let shown = text(&output.stdout);
            assert!(!shown.ends_with("(0 rows)\n"), "nothing to show for:\n{query}");
            reads_few_rows(&collector, query);
        }
    }
}

/// Of everything that a README's question is about, something.
const FILLED: &str = "
    INSERT INTO hosts (hostname, first_seen, last_seen, boot_id, key_kind) VALUES
        ('web-prod-01', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', 'a', 'shared_previous'),
        ('web-prod-02', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', NULL, NULL);
    CREATE TEMP VIEW ago AS SELECT column1 AS id,
        strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || column1 || ' minutes') AS at
        FROM (VALUES (1), (2), (3), (4), (5));
    INSERT INTO deltas (id, hostname, boot_id, timestamp, received_at, lines, raw_dmesg, records,
            state, next_attempt_at)
        SELECT id, iif(id < 3, 'web-prod-01', 'web-prod-02'), 'a', at, at, 1, 'a line', '[]',
            CASE id WHEN 4 THEN 'pending' WHEN 5 THEN 'failed' ELSE 'done' END, at FROM ago;
    INSERT INTO results (delta_id, timestamp, hostname, status, issues, api_latency_ms, provider,
            model, model_status, rule_status, unverified, created_at, updated_at)
        SELECT id, timestamp, hostname,
            CASE id WHEN 4 THEN 'llm_unavailable' WHEN 5 THEN 'error' ELSE 'critical' END,
            json_array(json_object('severity', 'critical', 'category', 'memory', 'summary',
                'errors of ' || id, 'signature', iif(id < 3, 'edac-ue', NULL), 'component',
                'DIMM_A1', 'source', iif(id < 3, 'rule', 'llm'), 'verified', json('true'),
                'user_text', json('false'))),
            1, 'p', 'm', 'ok', 'critical', id = 3, timestamp, timestamp FROM deltas;
    INSERT INTO gaps (hostname, boot_id, first_seq, next_seq, reason, noticed_at)
        SELECT 'web-prod-01', 'a', 1, 2, 'overrun', at FROM ago WHERE id = 1;
    INSERT INTO conflicts VALUES ('shared_boot', 'web-prod-01', 'a', 'web-prod-02', '', '', 1);
    INSERT INTO calls (delta_id, endpoint, provider, model, prompt_tokens, cached_tokens,
            completion_tokens, estimated, cost, latency_ms, outcome, prompt_version, created_at)
        SELECT id, 0, 'p', 'm', 1, 0, 1, 0, 0.5, 1, 'answered', 1, at FROM ago;
";
/// An index of few rows, or that alone and in its order until there is enough.
const MAY_BE_SCANNED: [&str; 7] = [
    "results USING COVERING INDEX results_status",
    "results USING INDEX results_trouble",
    "results USING INDEX results_found",
    "results USING INDEX results_unverified",
    "results USING INDEX results_disagreement",
    "deltas USING INDEX deltas_failed",
    "deltas USING COVERING INDEX deltas_",
];

/// The large tables are never read whole.
fn reads_few_rows(collector: &Collector, query: &str) {
    let db = collector.db();
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
    let plan = statement.query_map([], |row| row.get::<_, String>("detail")).unwrap();
    let plan: Vec<_> = plan.map(Result::unwrap).collect();
    for step in &plan {
        let Some(scanned) = step.strip_prefix("SCAN ") else { continue };
        let is_large = ["deltas", "results", "calls"].iter().any(|name| scanned.starts_with(name));
        let allowed = MAY_BE_SCANNED.iter().any(|few| scanned.starts_with(few));
        assert!(!is_large || allowed, "{query}\n{plan:#?}");
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

/// Commands of README.md as root of a host would give them, on a host that is a folder: what
/// systemd and ssh do there is left out, and what they are given is done here.
fn on_a_host(folder: &Folder, commands: &str) -> String {
    let bin = folder.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(folder.path("system")).unwrap();
    for (name, script) in [
        ("tasseograph", format!("exec {} \"$@\"", binary().display())),
        ("systemctl", "true".to_owned()),
        ("ssh", "shift; exec sh -c \"$*\"".to_owned()),
    ] {
        std::fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join(name), mode).unwrap();
    }
    let system = folder.path("system");
    let commands = commands.replace("/etc/systemd/system", system.to_str().unwrap());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &here(&commands, folder)]).env("PATH", path);
    let output = shell.env_remove("TASSEOGRAPH_API_KEY").output().unwrap();
    must_succeed(&output);
    text(&output.stdout)
}

/// "By hand", then "Another certificate" by openssl, then "A key for each host".
#[test]
fn its_commands_by_hand_do_what_they_say() {
    let of = |start: &str| {
        let block = blocks("sh").into_iter().find(|block| block.starts_with(start));
        block.unwrap_or_else(|| panic!("no block starts with {start}"))
    };
    let folder = Folder::new();
    let by_hand = of("install -d -m 0755 /etc/tasseograph\n");
    on_a_host(&folder, &by_hand);
    let mode = |name: &str| {
        let data = std::fs::metadata(folder.path(name)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o777
    };
    assert_eq!((mode("api_key"), mode("key.pem"), mode("cert.pem")), (0o600, 0o600, 0o644));
    for daemon in ["agent", "collector"] {
        let unit = folder.path("system").join(format!("tasseograph-{daemon}.service"));
        let printed = text(&run(&[daemon, "--unit"]).stdout);
        // Its paths are a host's: what was written is what is printed.
        assert_eq!(std::fs::read_to_string(unit).unwrap(), printed);
    }
    let pin = of("openssl x509 -in cert.pem -pubkey");
    let pin = || on_a_host(&folder, &format!("cd /etc/tasseograph\n{pin}"));
    let (before, old) = (pin(), std::fs::read(folder.path("cert.pem")).unwrap());
    on_a_host(&folder, &of("cd /etc/tasseograph\nopenssl req -x509 -new"));
    assert_ne!(std::fs::read(folder.path("cert.pem")).unwrap(), old);
    assert_eq!((pin(), mode("cert.pem")), (before, 0o644));

    let config = folder.write("collector.yaml", "");
    let config = config.to_str().unwrap();
    let printed = ["host-key", "web-1", "-c", config];
    let printed = super::support::tasseograph(&printed).env_remove("TASSEOGRAPH_API_KEY").output();
    let each = of("key=$(tasseograph host-key web-1)");
    on_a_host(&folder, &each.replace("host-key web-1", &format!("host-key web-1 -c {config}")));
    let key = std::fs::read_to_string(folder.path("api_key")).unwrap();
    assert_eq!((key, mode("api_key")), (text(&printed.unwrap().stdout), 0o600));
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

/// The table of crates, and their number.
#[test]
fn its_crates_are_those_of_a_linux_build() {
    let readme = readme();
    let (_, section) = readme.split_once("\n### Crates\n").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("| `"));
    let mut told = Vec::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').collect();
        assert!(cells[2].trim().len() > 10, "no reason: {row}");
        let names = [cells[1], cells[3]].map(|cell| cell.split('`').skip(1).step_by(2));
        told.extend(names.into_iter().flatten().map(str::to_owned));
    }
    told.sort();
    let linked = super::house::linux_crates();
    let linked: Vec<String> =
        linked.into_iter().map(|(name, _)| name).filter(|name| name != "tasseograph").collect();
    assert_eq!(told, linked);
    let total = format!("{} crates", linked.len());
    assert!(section.contains(&total), "the README does not say: {total}");
}

/// `make install`, twice, into a folder with a space in its name.
/// What is pasted names the files of this version.
#[test]
fn its_files_are_of_this_version() {
    let readme = readme();
    let named = ["tasseograph-", "tasseograph_"].into_iter().flat_map(|name| {
        let behind = readme.split(name).skip(1);
        behind.filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    });
    let versions: Vec<_> = named.map(|rest| rest.split(['-', '_']).next().unwrap()).collect();
    assert!(versions.len() >= 3, "{versions:?}");
    assert!(versions.iter().all(|named| *named == env!("CARGO_PKG_VERSION")), "{versions:?}");
}

#[test]
fn its_installation_keeps_a_configuration_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("dist")).unwrap();
    for (from, to) in [
        (root.join("Makefile"), "Makefile"),
        (root.join("systemd"), "systemd"),
        (binary(), "dist/tasseograph"),
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

/// The commands of "Choosing a model", on the label that stands there.
#[test]
fn its_evaluation_runs() {
    let readme = readme();
    let section = readme.split("\n## Choosing a model\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let of = |language: &str| -> Vec<&str> {
        let begin = format!("\n```{language}\n");
        let blocks = section.split(begin.as_str()).skip(1);
        blocks.map(|block| block.split("```").next().unwrap()).collect()
    };
    let folder = Folder::new();
    for made in ["incidents", "answers", "bin"] {
        std::fs::create_dir(folder.path(made)).unwrap();
    }
    std::os::unix::fs::symlink(binary(), folder.path("bin/tasseograph")).unwrap();
    let [label] = of("json")[..] else { panic!("one label") };
    folder.write("incidents/a.json", label);
    folder.write("incidents/a.log", "[  517.252418] EDAC MC0: 1 UE memory read error on DIMM_A1\n");
    let endpoint =
        Scripted::start(|_, _| Act::Answer(200, completion(r#"{"status": "ok", "issues": []}"#)));
    let config = format!("llm_endpoints:\n{}", endpoint.endpoint(""));
    folder.write("collector.yaml", &config);
    let path = format!("{}:{}", folder.path("bin").display(), std::env::var("PATH").unwrap());
    let commands: Vec<&str> = of("sh").into_iter().flat_map(str::lines).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(folder.path("")).env("PATH", &path);
        let output = shell.output().unwrap();
        must_succeed(&output);
        let shown = text(&output.stdout);
        if let Ok(questions) = std::fs::read_to_string(folder.path("questions/requests.jsonl")) {
            let mut question: serde_json::Value = serde_json::from_str(&questions).unwrap();
            question["content"] = r#"{"status": "ok"}"#.into();
            folder.write("answers/output.jsonl", &question.to_string());
        }
        let right = shown.contains("status right         ") && shown.contains(" (100 %)\n");
        assert!(right || command.contains("--export-prompts"), "{command}: {shown}");
    }
    assert_eq!(endpoint.count(), 3, "of three runs");
}
