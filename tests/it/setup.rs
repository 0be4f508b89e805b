//! The first set-up: `collector --init` makes a pair that runs, `agent-config` has a host join it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::support::{Collector, Folder, Process, binary, certificates, kernel_records};
use super::support::{lines, must_succeed, own_port, run, skip, tasseograph, text};

/// In a folder that nobody has made yet.
fn init(folder: &Folder, more: &[&str]) -> Output {
    let config = folder.path("tg/collector.yaml");
    let mut arguments = vec!["collector", "--init", "-c", config.to_str().unwrap()];
    arguments.extend(more);
    run(&arguments)
}

const MADE: [(&str, u32); 5] = [
    ("collector.yaml", 0o644),
    ("key.pem", 0o600),
    ("cert.pem", 0o644),
    ("api_key", 0o600),
    ("agent.yaml", 0o644),
];

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}:\n{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// A command with the key that was made, and none of the tests' own.
fn keyed(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = tasseograph(arguments);
    command.env_remove("TASSEOGRAPH_API_KEY");
    command.env("TASSEOGRAPH_API_KEY_FILE", folder.path("tg/api_key"));
    command
}

/// The collector that was made, on a port of the test's.
fn started(folder: &Folder) -> (Process, PathBuf) {
    let config = folder.path("tg/collector.yaml");
    let port = own_port();
    edit(&config, "# listen_addr: \":9311\"", &format!("listen_addr: \"127.0.0.1:{port}\""));
    edit(&folder.path("tg/agent.yaml"), ":9311", &format!(":{port}"));
    let arguments = ["collector", "-c", config.to_str().unwrap()];
    let mut process = Process::start(&mut keyed(folder, &arguments));
    process.wait_for_line("listening on https://");
    (process, config)
}

fn stored(folder: &Folder, host: &str) -> Vec<String> {
    let db = rusqlite::Connection::open(folder.path("tg/tasseograph.db")).unwrap();
    let sql = "SELECT line.value FROM deltas, json_each(deltas.records) AS line
               WHERE hostname = ?1 ORDER BY deltas.id, line.key";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([host], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_pair_runs_from_what_init_makes() {
    let folder = Folder::new();
    let made = init(&folder, &["--name", "collector.example.org,192.0.2.10"]);
    must_succeed(&made);
    let said = text(&made.stdout);
    for (name, mode) in MADE {
        let path = folder.path("tg").join(name);
        assert!(said.contains(&format!("{}: made", path.display())), "{said}");
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}: {found:o}");
    }
    let key = fs::read_to_string(folder.path("tg/api_key")).unwrap();
    assert_eq!(key.len(), 65, "32 bytes in hex and a line's end");
    assert!(!said.contains(key.trim_end()), "keys are shown to nobody");
    assert!(said.contains("\n  collector_url: https://collector.example.org:9311\n"), "{said}");

    let (_process, _) = started(&folder);
    let kmsg = folder.write("kmsg", &kernel_records(0, 3));
    let agent = folder.path("tg/agent.yaml");
    edit(&agent, "# kmsg_path: /dev/kmsg", &format!("kmsg_path: {}", kmsg.display()));
    edit(&agent, "# hostname: web-prod-01", "hostname: web-1");
    let agent = ["agent", "--once", "-c", agent.to_str().unwrap()];
    must_succeed(&keyed(&folder, &agent).output().unwrap());
    assert_eq!(stored(&folder, "web-1"), lines(0, 3));
}

#[test]
fn init_overwrites_nothing() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &[]));
    let contents = || MADE.map(|(name, _)| fs::read(folder.path("tg").join(name)).unwrap());
    fs::write(folder.path("tg/agent.yaml"), "collector_url: https://mine\n").unwrap();
    let before = contents();
    let again = init(&folder, &["--name", "other.example.org"]);
    must_succeed(&again);
    assert_eq!(contents(), before);
    let said = text(&again.stdout);
    assert_eq!(said.matches(": there; kept as it is\n").count(), MADE.len(), "{said}");
    assert!(said.contains("cert.pem: does not name other.example.org; move it away"), "{said}");
    assert!(
        !said.contains("tls_pin_sha256 is not"),
        "an agent without pins goes by others: {said}"
    );
    let names = fs::read_dir(folder.path("tg")).unwrap().count();
    assert_eq!(names, MADE.len(), "nothing is left beside them");
}

/// What `make install` puts there points nowhere.
#[test]
fn an_example_that_nobody_has_touched_is_filled_in() {
    let folder = Folder::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(folder.path("tg")).unwrap();
    let agent = folder.path("tg/agent.yaml");
    fs::copy(root.join("systemd/agent.yaml"), &agent).unwrap();
    must_succeed(&init(&folder, &[]));
    let filled = fs::read_to_string(&agent).unwrap();
    assert!(filled.contains("\ncollector_url: https://127.0.0.1:9311\n"), "{filled}");
    let mode = fs::metadata(&agent).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644);
}

/// A certificate from a key that is there, whose pin stays; and a key that is no use for it.
#[test]
fn a_certificate_that_is_gone_is_made_anew_from_its_key() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &[]));
    let pin = |folder: &Folder| {
        let agent = fs::read_to_string(folder.path("tg/agent.yaml")).unwrap();
        agent.lines().find_map(|line| line.strip_prefix("  - ")).unwrap().to_owned()
    };
    let before = pin(&folder);
    let cert = folder.path("tg/cert.pem");
    let old = fs::read(&cert).unwrap();
    fs::remove_file(&cert).unwrap();
    fs::remove_file(folder.path("tg/agent.yaml")).unwrap();
    must_succeed(&init(&folder, &["--name", "new.example.org"]));
    assert_ne!(fs::read(&cert).unwrap(), old);
    assert_eq!(pin(&folder), before, "agents go on");

    fs::remove_file(&cert).unwrap();
    fs::copy(&certificates().bare_key, folder.path("tg/key.pem")).unwrap();
    let refused = init(&folder, &[]);
    assert_eq!(refused.status.code(), Some(78));
    let error = text(&refused.stderr);
    assert!(
        error.contains("is no P-256 key in PKCS#8; make its certificate by openssl"),
        "{error}"
    );

    fs::copy(&certificates().cert, &cert).unwrap();
    fs::remove_file(folder.path("tg/key.pem")).unwrap();
    let refused = init(&folder, &[]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("cert.pem\" is there and its key"), "{refused:?}");
}

/// Others read the certificate as well: openssl, and whoever trusts it as a file.
#[test]
fn the_certificate_is_as_openssl_and_curl_want_it() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &["--name", "c.example.org,192.0.2.10,2001:db8::7"]));
    let shell = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).current_dir(folder.path("tg")).output();
        let output = output.unwrap();
        must_succeed(&output);
        text(&output.stdout)
    };
    let shown = shell("openssl x509 -in cert.pem -noout -text");
    for part in [
        "Version: 3",
        "Public Key Algorithm: id-ecPublicKey",
        "ASN1 OID: prime256v1",
        "CA:FALSE",
        "TLS Web Server Authentication",
        "DNS:c.example.org, IP Address:192.0.2.10, IP Address:2001:DB8:0:0:0:0:0:7, DNS:localhost, \
         IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
    ] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    shell("openssl verify -x509_strict -CAfile cert.pem -verify_ip 192.0.2.10 cert.pem");
    shell("openssl x509 -in cert.pem -noout -checkend 300000000");
    let keys = "openssl x509 -in cert.pem -pubkey -noout; openssl pkey -in key.pem -pubout";
    let keys = shell(keys);
    let half = keys.len() / 2;
    assert_eq!(keys[..half], keys[half..], "one key");

    // Trusted as a file, by name.
    let (_process, config) = started(&folder);
    let config = fs::read_to_string(config).unwrap();
    let port = config.split("127.0.0.1:").nth(1).unwrap().split('"').next().unwrap();
    let kmsg = folder.write("kmsg", &kernel_records(0, 3));
    let agent = format!(
        "collector_url: https://localhost:{port}\ntls_ca_file: {0}/tg/cert.pem\nhostname: web-2\n\
         state_file: {0}/state\nkmsg_path: {1}\n",
        folder.path("").to_str().unwrap().trim_end_matches('/'),
        kmsg.display()
    );
    let agent = folder.write("agent.yaml", &agent);
    let agent = ["agent", "--once", "-c", agent.to_str().unwrap()];
    must_succeed(&keyed(&folder, &agent).output().unwrap());
    assert_eq!(stored(&folder, "web-2"), lines(0, 3));
}

/// What is kept and cannot work is named, with what to do.
#[test]
fn what_is_kept_and_is_no_use_is_said() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &["--name", "c.example.org"]));
    let same = init(&folder, &["--name", "c.example.org"]);
    must_succeed(&same);
    assert!(!text(&same.stdout).contains("does not name"), "{same:?}");
    assert!(!text(&same.stdout).contains("tls_pin_sha256 is not"), "{same:?}");

    let agent = folder.path("tg/agent.yaml");
    let other = "9a".repeat(32);
    fs::write(&agent, format!("collector_url: https://c\ntls_pin_sha256: [{other}]\n")).unwrap();
    let said = init(&folder, &[]);
    must_succeed(&said);
    let expected = "agent.yaml: its tls_pin_sha256 is not this collector's; put ";
    assert!(text(&said.stdout).contains(expected), "{said:?}");

    fs::write(folder.path("tg/api_key"), "\n").unwrap();
    let refused = init(&folder, &[]);
    assert_eq!(refused.status.code(), Some(78));
    let error = text(&refused.stderr);
    assert!(error.contains("api_key\" is empty; remove it, and run this again\n"), "{error}");
    assert_eq!(fs::read_to_string(folder.path("tg/api_key")).unwrap(), "\n", "kept");
}

/// What is printed to be pasted is one word where it was one.
#[test]
fn a_folder_with_a_space_is_printed_in_quotes() {
    let folder = Folder::new();
    let config = folder.path("t g/collector.yaml");
    let made = run(&["collector", "--init", "-c", config.to_str().unwrap()]);
    must_succeed(&made);
    let said = text(&made.stdout);
    let quoted = |name: &str| format!("'{}'", folder.path("t g").join(name).display());
    for expected in [
        format!("\n  export TASSEOGRAPH_API_KEY_FILE={}\n", quoted("api_key")),
        format!("\n  tasseograph collector -c {}\n", quoted("collector.yaml")),
        format!("\n  tasseograph agent -c {}\n", quoted("agent.yaml")),
        format!("\n  tasseograph agent-config -c {} HOST | ", quoted("collector.yaml")),
    ] {
        assert!(said.contains(&expected), "{expected}:\n{said}");
    }
}

#[test]
fn names_are_checked_before_anything_is_made() {
    for name in ["a b", "", "https://c", "-c,é", "999.1.1.1", "-a", "a-.b", "a.", "a..b", "7"] {
        let folder = Folder::new();
        let refused = init(&folder, &["--name", name]);
        assert_eq!(refused.status.code(), Some(64), "{name}");
        let error = text(&refused.stderr);
        assert!(error.contains("is no address, and no name"), "{error}");
        assert!(!folder.path("tg").exists(), "{name}");
    }
}

#[test]
fn who_may_not_write_there_is_told_where_he_may() {
    let folder = Folder::new();
    let config = folder.path("tg/collector.yaml");
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere: somebody else has to try.
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]).arg(binary());
        command
    } else {
        Command::new(binary())
    };
    let refused = command.args(["collector", "--init", "-c"]).arg(config).output();
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = match refused {
        Ok(refused) if [Some(126), Some(127)].contains(&refused.status.code()) => {
            return skip("nobody else can start the program where it was built");
        }
        Ok(refused) => refused,
        Err(error) => return skip(&format!("no setpriv here: {error}")),
    };
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    let expected = "permission denied; run it as root, or name a file in a folder of your own with";
    assert!(error.contains(expected), "{error}");
}

/// The snippet with the paths of this test, and what it starts as a list of words.
fn joined(folder: &Folder, snippet: &str) -> (Output, String) {
    let program = format!("#!/bin/sh\nexec {} \"$@\"\n", binary().display());
    joined_by(folder, snippet, &program)
}

/// As `joined`, with what lies on that host as the program.
fn joined_by(folder: &Folder, snippet: &str, tasseograph: &str) -> (Output, String) {
    let bin = folder.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = |name: &str, text: &str| {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let log = folder.path("systemctl.log");
    // No unit is known yet.
    let systemctl = "#!/bin/sh\necho \"$@\" >> \"$LOG\"\n[ \"$1\" != cat ]\n";
    program("systemctl", systemctl);
    program("tasseograph", tasseograph);
    let root = folder.path("other");
    fs::create_dir_all(root.join("systemd")).unwrap();
    let snippet = snippet
        .replace("/etc/tasseograph", root.join("tg").to_str().unwrap())
        .replace("/etc/systemd/system", root.join("systemd").to_str().unwrap());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &snippet])
        .env("PATH", path)
        .env("LOG", &log)
        .output()
        .unwrap();
    (output, fs::read_to_string(log).unwrap_or_default())
}

#[test]
fn a_second_host_joins_by_what_agent_config_prints() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &[]));
    let (_process, config) = started(&folder);
    let url = fs::read_to_string(folder.path("tg/agent.yaml")).unwrap();
    let url = url.lines().find_map(|line| line.strip_prefix("collector_url: ")).unwrap().to_owned();
    let config = config.to_str().unwrap();
    let printed = ["agent-config", "web-1", "-c", config, "--url", &url];
    let printed = tasseograph(&printed).env_remove("TASSEOGRAPH_API_KEY").output().unwrap();
    must_succeed(&printed);
    let snippet = text(&printed.stdout);
    let shared = fs::read_to_string(folder.path("tg/api_key")).unwrap();
    assert!(!snippet.contains(shared.trim_end()), "the host gets its own key alone");

    let (output, started) = joined(&folder, &snippet);
    must_succeed(&output);
    let expected = "cat tasseograph-agent.service\ndaemon-reload\nenable tasseograph-agent\n\
                    restart tasseograph-agent\nstatus --no-pager --lines 3 tasseograph-agent\n";
    assert_eq!(started, expected);
    let there = folder.path("other/tg");
    let mode = |name: &str| fs::metadata(there.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("agent.yaml"), mode("api_key")), (0o644, 0o600));
    let unit = fs::read_to_string(folder.path("other/systemd/tasseograph-agent.service")).unwrap();
    let program = format!("\nExecStart={} agent ", super::units::program());
    assert!(unit.contains(&program), "{unit}");

    let kmsg = folder.write("kmsg", &kernel_records(0, 3));
    let agent = fs::read_to_string(there.join("agent.yaml")).unwrap();
    let agent = format!(
        "{agent}kmsg_path: {}\nstate_file: {}\n",
        kmsg.display(),
        folder.path("state").display()
    );
    fs::write(there.join("agent.yaml"), &agent).unwrap();
    let once = tasseograph(&["agent", "--once", "-c", there.join("agent.yaml").to_str().unwrap()])
        .env_remove("TASSEOGRAPH_API_KEY")
        .env("TASSEOGRAPH_API_KEY_FILE", there.join("api_key"))
        .output()
        .unwrap();
    must_succeed(&once);
    assert_eq!(stored(&folder, "web-1"), lines(0, 3));

    // Once more: what was changed there is kept, what was not is not doubled.
    must_succeed(&joined(&folder, &snippet).0);
    must_succeed(&joined(&folder, &snippet).0);
    let mut names: Vec<_> = fs::read_dir(&there)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(fs::read_to_string(there.join(&names[1])).unwrap(), agent, "{names:?}");
}

#[test]
fn a_host_that_cannot_join_is_left_as_it_is() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &[]));
    let config = folder.path("tg/collector.yaml");
    let config = config.to_str().unwrap();
    let url = "https://c:9311";
    let printed = ["agent-config", "web-1", "-c", config, "--url", url];
    let printed = tasseograph(&printed).env_remove("TASSEOGRAPH_API_KEY").output().unwrap();
    must_succeed(&printed);
    let snippet = text(&printed.stdout);
    let again = format!(": tasseograph agent-config -c {config} --url {url} web-1 | ssh ");
    assert!(snippet.lines().next().unwrap().contains(&again), "{snippet}");

    let there = folder.path("other/tg");
    for program in ["#!/bin/sh\nexit 126\n", "#!/bin/sh\n"] {
        let (output, started) = joined_by(&folder, &snippet, program);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("this program does not run here: "), "{output:?}");
        assert_eq!(started, "", "nothing is started");
        assert!(!there.exists(), "a file would say that it has joined");
    }
    fs::create_dir_all(&there).unwrap();
    fs::write(there.join("key.pem"), "").unwrap();
    fs::write(there.join("api_key"), "the shared one\n").unwrap();
    let (output, started) = joined(&folder, &snippet);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = text(&output.stderr);
    assert!(error.contains("its agent comes from tasseograph collector --init"), "{error}");
    assert_eq!(started, "");
    assert_eq!(fs::read_to_string(there.join("api_key")).unwrap(), "the shared one\n");
}

#[test]
fn agents_are_told_the_first_name_of_the_certificate() {
    for (given, expected) in [
        ("c.example.org,10.0.0.5", "https://c.example.org:9311"),
        ("10.0.0.5", "https://10.0.0.5:9311"),
        ("localhost,2001:db8::7", "https://[2001:db8::7]:9311"),
    ] {
        let folder = Folder::new();
        must_succeed(&init(&folder, &["--name", given]));
        let config = folder.path("tg/collector.yaml");
        let printed = run(&["agent-config", "web-1", "-c", config.to_str().unwrap()]);
        must_succeed(&printed);
        let expected = format!("\ncollector_url: {expected}\n");
        assert!(text(&printed.stdout).contains(&expected), "{given}");
    }
}

#[test]
fn who_cannot_say_where_the_collector_is_says_so() {
    let collector = Collector::start();
    let folder = &collector.folder;
    let config = folder.path("collector.yaml");
    let said = |more: &[&str]| {
        let mut arguments = vec!["agent-config", "web-1", "-c", config.to_str().unwrap()];
        arguments.extend(more);
        let output = run(&arguments);
        (output.status.code(), text(&output.stderr))
    };
    let (code, error) = said(&[]);
    assert_eq!(code, Some(78));
    assert!(error.contains("say how they reach it with --url https://NAME:PORT"), "{error}");
    for url in ["http://c:1", "https://$(reboot)", "c"] {
        let (code, error) = said(&["--url", url]);
        assert_eq!(code, Some(64), "{url}");
        assert!(error.starts_with("tasseograph: --url: "), "{error}");
    }
    let missing = run(&["agent-config", "web-1", "-c", "/nonexistent/collector.yaml"]);
    assert_eq!(missing.status.code(), Some(78));
    let error = text(&missing.stderr);
    assert!(error.contains("no such file or directory; tasseograph collector --init"), "{error}");
    for host in ["a b", "$(reboot)", ""] {
        assert_eq!(run(&["agent-config", host, "-c", "x"]).status.code(), Some(64), "{host}");
    }
}
