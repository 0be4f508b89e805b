//! `agent-config` has a host join, and `host-key` prints its key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use super::setup::{init, somebody_else, started, stored};
use super::support::{Folder, binary, certificates, kernel_records};
use super::support::{lines, must_succeed, run, tasseograph, text};

/// The snippet with the paths of this test, and what it starts as a list of words.
fn joined(folder: &Folder, snippet: &str) -> (Output, String) {
    let program = format!("#!/bin/sh\nexec {} \"$@\"\n", binary().display());
    joined_by(folder, snippet, &program, OLDEST)
}

/// A user and a systemd that may join.
const OLDEST: (&str, &str) = ("0", "248");

/// As `joined`, with what lies on that host as the program, who runs it, and under which systemd.
fn joined_by(
    folder: &Folder,
    snippet: &str,
    tasseograph: &str,
    (user, systemd): (&str, &str),
) -> (Output, String) {
    let bin = folder.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = |name: &str, text: &str| {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let log = folder.path("systemctl.log");
    // No unit is known yet.
    let systemctl = "#!/bin/sh\n[ \"$1\" = --version ] && echo \"systemd ${VERSION} (x)\" && exit\n\
                     echo \"$@\" >> \"$LOG\"\n[ \"$1\" != cat ]\n";
    program("systemctl", systemctl);
    program("id", "#!/bin/sh\necho $ID\n");
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
        .envs([("LOG", log.to_str().unwrap()), ("ID", user), ("VERSION", systemd)])
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
    let again = format!(": {} agent-config -c {config} --url {url} web-1 | ssh ", called());
    assert!(snippet.lines().next().unwrap().contains(&again), "{snippet}");

    let there = folder.path("other/tg");
    let older = "#!/bin/sh\n[ \"$1\" = --version ] && echo tasseograph 0.0.1 && exit\nexit 64\n";
    for (program, host, expected) in [
        ("#!/bin/sh\nexit 126\n", OLDEST, "this program does not run here: "),
        ("#!/bin/sh\n", OLDEST, "this program does not run here: "),
        (older, OLDEST, "this program is too old: "),
        (older, ("1000", "248"), "this takes a root shell\n"),
        (older, ("0", "247"), "the agent's unit takes systemd 248 or newer; this host has 247\n"),
        (older, ("0", ""), "248 or newer; this host has none\n"),
    ] {
        let (output, started) = joined_by(&folder, &snippet, program, host);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(expected), "{output:?}");
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

/// How the tests call the program, as it is printed.
pub(super) fn called() -> String {
    binary().display().to_string()
}

#[test]
fn who_cannot_say_where_the_collector_is_says_so() {
    let folder = Folder::new();
    let of = |listen: &str| {
        let made = certificates();
        let pair = (made.cert.display(), made.key.display());
        let text =
            format!("listen_addr: \"{listen}\"\ntls_cert: {}\ntls_key: {}\n", pair.0, pair.1);
        folder.write("collector.yaml", &text)
    };
    let config = of(":9311");
    let said = |more: &[&str]| {
        let mut arguments = vec!["agent-config", "web-1", "-c", config.to_str().unwrap()];
        arguments.extend(more);
        let output = run(&arguments);
        (output.status.code(), text(&output.stderr))
    };
    for (listen, why) in [
        (":9311", "the collector's certificate has no name that other hosts know; "),
        ("127.0.0.2:9311", "the collector listens on 127.0.0.2 alone; change its listen_addr, or "),
        ("[::1]:9311", "the collector listens on ::1 alone; change its listen_addr, or "),
    ] {
        of(listen);
        let (code, error) = said(&[]);
        assert_eq!(code, Some(78));
        let expected = format!("{why}say how they reach it with agent-config --url https://NAME:");
        assert!(error.contains(&expected), "{error}");
    }
    of(":9311");
    for url in ["http://c:1", "https://$(reboot)", "c"] {
        let (code, error) = said(&["--url", url]);
        assert_eq!(code, Some(64), "{url}");
        assert!(error.starts_with("tasseograph: --url: "), "{error}");
    }
    let missing = run(&["agent-config", "web-1", "-c", "/nonexistent/collector.yaml"]);
    assert_eq!(missing.status.code(), Some(78));
    let error = text(&missing.stderr);
    assert!(error.contains("no such file or directory; tasseograph collector --init"), "{error}");
    let folder_given = run(&["agent-config", "web-1", "-c", "/"]);
    assert_eq!(folder_given.status.code(), Some(64));
    assert!(text(&folder_given.stderr).contains("\"/\" names a folder; "), "{folder_given:?}");
    for host in ["a b", "$(reboot)", ""] {
        assert_eq!(run(&["agent-config", host, "-c", "x"]).status.code(), Some(64), "{host}");
    }
}

/// As `agent-config` has it: without a variable from the file beside the configuration.
#[test]
fn a_hosts_key_is_made_from_the_key_beside_the_configuration() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &[]));
    let config = folder.path("tg/collector.yaml");
    let printed = |key: Option<&str>| {
        let mut command = tasseograph(&["host-key", "web-1", "-c", config.to_str().unwrap()]);
        command.env_remove("TASSEOGRAPH_API_KEY").envs(key.map(|key| ("TASSEOGRAPH_API_KEY", key)));
        let output = command.output().unwrap();
        must_succeed(&output);
        text(&output.stdout)
    };
    let key = fs::read_to_string(folder.path("tg/api_key")).unwrap();
    assert_eq!(printed(None), printed(Some(key.trim_end())));
    assert_ne!(printed(None), printed(Some("0123456789abcdef0123456789abcdef")));
    assert!(printed(None).starts_with("web-1."));
}

/// Who has not the rights is told what helps.
#[test]
fn keys_that_are_roots_alone_take_root() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &[]));
    let config = folder.path("tg/collector.yaml");
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    for command in ["agent-config", "host-key"] {
        let Some(mut refused) = somebody_else() else { return };
        fs::set_permissions(folder.path("tg/api_key"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(folder.path("tg/key.pem"), fs::Permissions::from_mode(0o000)).unwrap();
        refused.args([command, "web-1", "-c"]).arg(&config).env_remove("TASSEOGRAPH_API_KEY");
        let refused = refused.output().unwrap();
        assert_eq!(refused.status.code(), Some(78));
        let error = text(&refused.stderr);
        assert!(error.ends_with("permission denied; run it as root\n"), "{error}");
    }
}
