//! The files that are made: the examples and units of `systemd/`, filled in.

use std::path::Path;

pub(super) const COLLECTOR: &str = include_str!("../../systemd/collector.yaml");
pub(super) const AGENT: &str = include_str!("../../systemd/agent.yaml");
pub(super) const COLLECTOR_UNIT: &str = include_str!("../../systemd/tasseograph-collector.service");
pub(super) const AGENT_UNIT: &str = include_str!("../../systemd/tasseograph-agent.service");

/// Where the units as they are expect the program.
pub(super) const PROGRAM: &str = "/usr/local/bin/tasseograph";
/// What the units do not see: they have a /tmp of their own, and no homes.
const UNSEEN: &[&str] = &["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
/// Where the examples as they are expect everything.
const FOLDER: &str = "/etc/tasseograph";

/// The collector's example for a folder; that of the units is the example as it is. In any other
/// the database lies in it as well: who has no leave for /etc has none for /var/lib.
pub(super) fn collector(folder: &str) -> String {
    if folder == FOLDER {
        return COLLECTOR.to_owned();
    }
    let lines = COLLECTOR.lines().map(|line| match line.split_once(": ") {
        Some((key @ ("tls_cert" | "tls_key"), path)) => {
            format!("{key}: {}", scalar(&path.replace(FOLDER, folder)))
        }
        Some(("# db_path", _)) => {
            format!("db_path: {}", scalar(&format!("{folder}/tasseograph.db")))
        }
        _ => line.replace(FOLDER, folder),
    });
    lines.map(|line| line + "\n").collect()
}

/// The agent's example for a host whose collector is at `url` and holds the key of `pin`.
pub(super) fn agent(folder: &str, url: &str, pin: &str) -> String {
    let state = format!("state_file: {}", scalar(&format!("{folder}/last_timestamp")));
    let lines = AGENT.lines().map(|line| match line.split_once(": ") {
        Some(("collector_url", _)) => format!("collector_url: {url}"),
        Some(("# state_file", _)) if folder != FOLDER => state.clone(),
        _ if line.starts_with("# tls_pin_sha256:") => "tls_pin_sha256:".to_owned(),
        _ if line.starts_with("#   - ") => format!("  - {pin}"),
        _ => line.replace(FOLDER, folder),
    });
    lines.map(|line| line + "\n").collect()
}

/// What an agent needs and no more, to be pasted.
pub(super) fn agent_lines(url: &str, pin: &str) -> String {
    format!("collector_url: {url}\ntls_pin_sha256:\n  - {pin}\n")
}

/// A unit that starts the program where it lies, or where it should, if no unit sees it here.
pub(super) fn unit(text: &str, program: Option<&Path>) -> String {
    let seen = program.filter(|path| !UNSEEN.iter().any(|folder| path.starts_with(folder)));
    match seen.and_then(Path::to_str).filter(|path| is_plain(path)) {
        Some(program) => text.replace(PROGRAM, program),
        None => text.to_owned(),
    }
}

/// A value of YAML, in quotes where it could be read as something else.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// A word for a shell, in quotes where it could be read as more than one.
pub(super) fn word(text: &str) -> String {
    let text = crate::kernel::escape_controls(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
}

/// The commands that make a host an agent's, for a root shell of that host. In parentheses: a shell
/// reads them whole before it begins, and who pastes them keeps the shell when one of them fails.
/// What was there is kept under the time's name. Everything that is filled in is checked to be
/// plain, so that nothing of it can be a command.
/// The program is asked for its unit before anything is changed, and the key is put there last: a
/// host that has one has joined. `again` is the command that printed this.
pub(super) fn join(host: &str, key: &str, url: &str, pin: &str, again: &str) -> String {
    let lines = agent_lines(url, pin);
    format!(
        r#"# For a root shell on {host}, or: {again} | ssh root@{host} sh
# It holds the key of {host}.
(
set -eu
PATH=$PATH:/usr/local/bin
if [ "$(id -u)" != 0 ]; then
    echo "this takes a root shell" >&2
    exit 1
fi
systemd=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
if [ "${{systemd:-0}}" -lt 248 ]; then
    echo "the agent's unit takes systemd 248 or newer; this host has ${{systemd:-none}}" >&2
    exit 1
fi
if ! command -v tasseograph > /dev/null; then
    echo "tasseograph is not on this host; put the program into /usr/local/bin first" >&2
    exit 1
fi
if [ -e /etc/tasseograph/key.pem ]; then
    echo "this is a collector's host; its agent comes from tasseograph collector --init" >&2
    echo "if it is none any more, move /etc/tasseograph/key.pem away first" >&2
    exit 1
fi
if ! unit=$(tasseograph agent --unit) || [ -z "$unit" ]; then
    if [ -n "$(tasseograph --version 2> /dev/null)" ]; then
        echo "this program is too old: $(command -v tasseograph)" >&2
        echo "put the collector's there" >&2
        exit 1
    fi
    echo "this program does not run here: $(command -v tasseograph)" >&2
    echo "put a static one there, of this host's architecture ($(uname -m))" >&2
    exit 1
fi
if [ "$(uname -n)" != "{host}" ]; then
    echo "this host's own name is $(uname -n); it will report as {host}" >&2
fi
[ -d /etc/tasseograph ] || (umask 022; mkdir /etc/tasseograph)
cd /etc/tasseograph
put() (
    umask 077
    cat > "$1.new"
    chmod "$2" "$1.new"
    if [ -e "$1" ] && [ "$(cat "$1")" != "$(cat "$1.new")" ]; then
        cp -p "$1" "$1.$(date +%Y%m%dT%H%M%S)"
    fi
    mv "$1.new" "$1"
)
put agent.yaml 0644 << 'END'
{lines}hostname: {host}
END
if ! systemctl cat tasseograph-agent.service > /dev/null 2>&1; then
    cd /etc/systemd/system
    (umask 022; printf '%s\n' "$unit" > tasseograph-agent.service.new)
    mv tasseograph-agent.service.new tasseograph-agent.service
    systemctl daemon-reload
    cd /etc/tasseograph
fi
systemctl enable tasseograph-agent
put api_key 0600 << 'END'
{key}
END
systemctl restart tasseograph-agent
systemctl status --no-pager --lines 3 tasseograph-agent
)
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "5f2c8a0be1d94c7736a9f0d2c4481b6e93d57ac01f8826be4a70d3597c1e64fb";

    #[test]
    fn the_examples_are_filled_in_where_they_should_be() {
        let changed = |before: &str, after: &str| {
            assert_eq!(before.lines().count(), after.lines().count());
            let pairs = before.lines().zip(after.lines()).filter(|(old, new)| old != new);
            pairs
                .map(|(_, new)| new.to_owned())
                .filter(|new| !new.trim_start().starts_with('#'))
                .collect::<Vec<_>>()
        };
        assert_eq!(collector(FOLDER), COLLECTOR);
        let elsewhere = [
            "db_path: \"/a b: c/tasseograph.db\"",
            "tls_cert: \"/a b: c/cert.pem\"",
            "tls_key: \"/a b: c/key.pem\"",
        ];
        assert_eq!(changed(COLLECTOR, &collector("/a b: c")), elsewhere);
        let url = "https://10.0.0.5:9311";
        let agents = ["collector_url: https://10.0.0.5:9311", "tls_pin_sha256:"];
        let pin = format!("  - {PIN}");
        let filled = changed(AGENT, &agent(FOLDER, url, PIN));
        assert_eq!(filled, [agents[0], agents[1], &pin]);
        let filled = changed(AGENT, &agent("/x", url, PIN));
        assert_eq!(filled, [agents[0], "state_file: /x/last_timestamp", agents[1], &pin]);
    }

    #[test]
    fn a_word_is_one_word_to_a_shell() {
        for (text, expected) in [
            ("/etc/tasseograph", "/etc/tasseograph"),
            ("https://c:9311", "https://c:9311"),
            ("https://[::1]:1", "'https://[::1]:1'"),
            ("/a b", "'/a b'"),
            ("/it's", r"'/it'\''s'"),
            ("/a\nb", r"'/a\x0ab'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
    }

    #[test]
    fn a_unit_starts_the_program_where_it_lies() {
        for text in [AGENT_UNIT, COLLECTOR_UNIT] {
            assert_eq!(text.matches(PROGRAM).count(), 2, "ExecStart and ExecPaths");
            let moved = unit(text, Some(Path::new("/usr/bin/tasseograph")));
            assert!(moved.contains("\nExecStart=/usr/bin/tasseograph "), "{moved}");
            assert!(!moved.contains(PROGRAM), "{moved}");
            for odd in ["/a b/tasseograph", "/tmp/tasseograph", "/home/x/tasseograph"] {
                assert_eq!(unit(text, Some(Path::new(odd))), text, "{odd}");
            }
            assert_eq!(unit(text, None), text);
        }
    }
}
