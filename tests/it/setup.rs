//! The first set-up: `collector --init` makes a pair that runs. How others join it is `join`'s.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::support::{Folder, Process, binary, certificates, kernel_records};
use super::support::{lines, must_succeed, own_port, run, skip, tasseograph, text};

/// In a folder that nobody has made yet.
pub(super) fn init(folder: &Folder, more: &[&str]) -> Output {
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

pub(super) fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}:\n{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// A command with the key that was made, and none of the tests' own.
pub(super) fn keyed(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = tasseograph(arguments);
    command.env_remove("TASSEOGRAPH_API_KEY");
    command.env("TASSEOGRAPH_API_KEY_FILE", folder.path("tg/api_key"));
    command
}

/// The collector that was made, on a port of the test's.
pub(super) fn started(folder: &Folder) -> (Process, PathBuf) {
    let config = folder.path("tg/collector.yaml");
    let port = own_port();
    edit(&config, "# listen_addr: \":9311\"", &format!("listen_addr: \"127.0.0.1:{port}\""));
    edit(&folder.path("tg/agent.yaml"), ":9311", &format!(":{port}"));
    let arguments = ["collector", "-c", config.to_str().unwrap()];
    let mut process = Process::start(&mut keyed(folder, &arguments));
    process.wait_for_line("listening on https://");
    (process, config)
}

pub(super) fn stored(folder: &Folder, host: &str) -> Vec<String> {
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

    let of_a_host = format!("web-1.{}\n", "0f".repeat(32));
    for (key, expected) in [
        ("\n", "it is empty"),
        ("two words\n", "it holds a character that an HTTP header cannot carry"),
        (&of_a_host, "it is a key of one host, web-1; a collector needs the key it is made from"),
    ] {
        fs::write(folder.path("tg/api_key"), key).unwrap();
        let refused = init(&folder, &[]);
        assert_eq!(refused.status.code(), Some(78));
        let error = text(&refused.stderr);
        assert!(error.contains(&format!("api_key\": {expected}")), "{error}");
        assert!(error.ends_with("; move it away, and run this again\n"), "{error}");
        assert_eq!(fs::read_to_string(folder.path("tg/api_key")).unwrap(), key, "kept");
    }
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
    let called = super::join::called();
    let keyed = format!("TASSEOGRAPH_API_KEY_FILE={} {called}", quoted("api_key"));
    for expected in [
        format!("\n  {keyed} collector -c {}\n", quoted("collector.yaml")),
        format!("\n  {keyed} agent -c {}\n", quoted("agent.yaml")),
        format!("\n  {called} agent-config -c {} HOST | ", quoted("collector.yaml")),
        format!("\n  {called} host-key -c {} HOST\n", quoted("collector.yaml")),
    ] {
        assert!(said.contains(&expected), "{expected}:\n{said}");
    }
}

#[test]
fn names_are_checked_before_anything_is_made() {
    let wrong = ["a b", "", "-c,é", "999.1.1.1", "-a", "a-.b", "a.", "a..b", "7", "2001:db8:::7"];
    let urls = ["https://c", "https://c:9311/", "c:9311", "[::1]", "[::1]:9311"];
    let rules = [(&wrong[..], "a name is letters,"), (&urls, "leave out https://, brackets and")];
    for (name, rule) in rules.iter().flat_map(|(names, rule)| names.iter().map(move |n| (n, rule)))
    {
        let folder = Folder::new();
        let refused = init(&folder, &["--name", name]);
        assert_eq!(refused.status.code(), Some(64), "{name}");
        let error = text(&refused.stderr);
        assert!(error.contains(&format!("is no address, and no name; {rule}")), "{error}");
        assert!(!folder.path("tg").exists(), "{name}");
    }
}

#[test]
fn where_no_configuration_can_be_is_said() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    for (config, code, expected) in [
        (path(""), 64, "names a folder; name a file with --config\n"),
        (path("new/"), 64, "names a folder; name a file with --config\n"),
        (path("a/b/collector.yaml"), 1, "/a/b\": no such file or directory; make the one above it"),
    ] {
        let refused = run(&["collector", "--init", "-c", &config]);
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
        assert!(text(&refused.stderr).contains(expected), "{refused:?}");
    }
}

/// The program as somebody who may not do what root may; nothing where nobody else can start it.
pub(super) fn somebody_else() -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        return Some(Command::new(binary()));
    }
    let command = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]).arg(binary());
        command
    };
    match command().arg("--version").output() {
        Ok(output) if output.status.success() => Some(command()),
        _ => {
            skip("nobody else can start the program where it was built");
            None
        }
    }
}

#[test]
fn who_may_not_write_there_is_told_where_he_may() {
    let folder = Folder::new();
    let config = folder.path("tg/collector.yaml");
    let Some(mut command) = somebody_else() else { return };
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o555)).unwrap();
    let refused = command.args(["collector", "--init", "-c"]).arg(config).output().unwrap();
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    let expected = "permission denied; run it as root, or name a file in a folder of your own with";
    assert!(error.contains(expected), "{error}");
}

/// Whoever needed sudo for this needs it for the rest.
#[test]
fn what_is_printed_is_called_as_this_was() {
    for (user, sudo) in [(None, ""), (Some("somebody"), "sudo ")] {
        let folder = Folder::new();
        let config = folder.path("tg/collector.yaml");
        let mut command = tasseograph(&["collector", "--init", "-c", config.to_str().unwrap()]);
        command.env_remove("SUDO_USER").envs(user.map(|user| ("SUDO_USER", user)));
        let said = text(&command.output().unwrap().stdout);
        for start in ["TASSEOGRAPH_API_KEY_FILE=", &super::join::called()] {
            assert_eq!(said.matches(&format!("\n  {sudo}{start}")).count(), 2, "{said}");
        }
    }
}

/// A collector that only its own host reaches is fine for that host.
#[test]
fn who_listens_to_itself_alone_is_told_what_others_need() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &[]));
    let config = folder.path("tg/collector.yaml");
    edit(&config, "# listen_addr: \":9311\"", "listen_addr: \"127.0.0.1:9311\"");
    let said = text(&init(&folder, &[]).stdout);
    let expected = "\nOther hosts cannot join yet: the collector listens on 127.0.0.1 alone; ";
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("agent-config -c"), "{said}");
}

/// As openssl x509 -req made them up to 3.1.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBFDCBuwIUYQRYS/jaaGYfq2jAkhx/vNlNJlkwCgYIKoZIzj0EAwIwDDEKMAgG\n\
A1UEAwwBYzAgFw0yNjExMjUwMzM5MzZaGA8yMTI2MTEwMTAzMzkzNlowDDEKMAgG\n\
A1UEAwwBYzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBY60FxEER1chWKQenQ1\n\
QFMDZDcGIM0pRHBPu90/bvHC2/BAHttOfZoOB4s8GSXxmVPkl4sUOLQW+R7LeD8x\n\
O/QwCgYIKoZIzj0EAwIDSAAwRQIhAMYkOxQjti4Y/yA+LTm/tYtPxouoFRsA6a8R\n\
eJ7pTAESAiAJhaSUJnFOO2OWcv+bmruG16LwgX5+cSgjKPYS+xQlIw==\n\
-----END CERTIFICATE-----\n";

/// Of a certificate from elsewhere: it works with pins, or not at all.
#[test]
fn a_certificate_that_is_kept_is_looked_at() {
    let folder = Folder::new();
    must_succeed(&init(&folder, &["--name", "c.example.org"]));
    let shell = |line: &str| {
        let made = Command::new("sh").args(["-c", line]).current_dir(folder.path("tg")).output();
        must_succeed(&made.unwrap());
    };
    shell(
        "openssl req -new -key key.pem -subj /CN=c -out csr.pem; mkdir new; : > index; \
         printf '[ca]\ndefault_ca=c\n[c]\ndatabase=index\nnew_certs_dir=new\nrand_serial=yes\n\
         default_md=sha256\npolicy=p\nx509_extensions=x\n[x]\nbasicConstraints=CA:FALSE\n[p]\n\
         commonName=supplied\n' > ca.cnf; \
         openssl ca -batch -config ca.cnf -selfsign -keyfile key.pem -in csr.pem -out cert.pem \
         -startdate 20240101000000Z -enddate 20250101000000Z -notext",
    );
    let said = text(&init(&folder, &[]).stdout);
    let expired = "expired at 2025-01-01T00:00:00.000000Z; agents refuse it, but for those that \
                   have its pin";
    assert!(said.contains(&format!("cert.pem: {expired}; move it away and run this")), "{said}");
    let (process, _) = started(&folder);
    assert!(process.log().contains(&format!("cert.pem\" {expired}\n")), "{}", process.log());
    drop(process);

    fs::write(folder.path("tg/cert.pem"), VERSION_1).unwrap();
    let refused = text(&init(&folder, &[]).stderr);
    assert!(refused.contains("cannot be used: it is of X.509 version 1, which"), "{refused}");
    fs::copy(&certificates().cert, folder.path("tg/cert.pem")).unwrap();
    let refused = text(&init(&folder, &[]).stderr);
    assert!(refused.contains("move the certificate away: tasseograph collector"), "{refused}");
    shell("rm cert.pem; openssl ec -in key.pem -out sec1.pem; mv sec1.pem key.pem");
    let refused = text(&init(&folder, &[]).stderr);
    assert!(refused.contains("or PKCS#8 of it by openssl pkcs8 -topk8 -nocrypt"), "{refused}");
    shell("openssl pkcs8 -topk8 -nocrypt -in key.pem -out p8.pem; mv p8.pem key.pem");
    must_succeed(&init(&folder, &[]));
}
