//! The agent's settings.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::AGENT_KEYS;
use super::raw::Section;
use super::{API_KEY, HOSTNAME, Pin, Probe, Problem, Secret, Trust, Url};
use crate::wire::{HostKey, HostName};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentConfig {
    /// Where to post, with its path.
    pub(crate) ingest_url: String,
    pub(crate) poll_interval: Duration,
    /// How long a record may be in memory only.
    pub(crate) drain_interval: Duration,
    /// For each of sending a post, waiting for its answer and reading it.
    pub(crate) post_timeout: Duration,
    pub(crate) state_file: PathBuf,
    /// `None`: the kernel's host name.
    pub(crate) host: Option<HostName>,
    pub(crate) trust: Trust,
    pub(crate) payload_bytes: usize,
    pub(crate) spool_bytes_max: u64,
    pub(crate) kmsg_path: PathBuf,
    pub(crate) api_key: Secret,
}

/// Below, an idle agent would keep a core busy; above, the ring has long been overwritten.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(100);
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
const DRAIN_INTERVAL_MIN: Duration = Duration::from_millis(50);
const POST_TIMEOUT_MIN: Duration = Duration::from_millis(100);
const POST_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Room for a few blocks; and no more than a host can spare.
const SPOOL_BYTES_MIN: u64 = 1024 * 1024;
const SPOOL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Room for the longest record (every byte of it escaped) and for what stands around it; and no
/// more than the unit's MemoryMax leaves room for, several times.
const PAYLOAD_BYTES_MIN: u64 = 64 * 1024;
const PAYLOAD_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl AgentConfig {
    pub(crate) fn check(text: &str, probe: &Probe<'_>) -> Result<Self, Vec<Problem>> {
        let mut file = Section::parse(text, AGENT_KEYS).map_err(|problem| vec![problem])?;
        let url = collector_url(&mut file);
        let poll_interval = file.span("poll_interval", POLL_INTERVAL_MIN..=POLL_INTERVAL_MAX);
        let drain_interval = file.span("drain_interval", DRAIN_INTERVAL_MIN..=POLL_INTERVAL_MAX);
        let post_timeout = file.span("post_timeout", POST_TIMEOUT_MIN..=POST_TIMEOUT_MAX);
        let state_file = file.path("state_file");
        if let Some(path) = &state_file {
            file.check("state_file", (probe.writable)(path));
        }
        let host = host(&mut file, probe);
        let trust = trust(&mut file, probe);
        let payload_bytes = file.whole("max_payload_bytes", PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX);
        let spool_bytes_max = file.whole("spool_max_bytes", SPOOL_BYTES_MIN..=SPOOL_BYTES_MAX);
        let kmsg_path = file.path("kmsg_path");
        let mut problems = file.finish();
        let api_key = secret(API_KEY, probe).map_err(|problem| problems.push(problem)).ok();
        if let (Some(key), Some(host)) = (&api_key, &host)
            && let Some(what) = not_its_key(key, host)
        {
            problems.push(Problem::new(API_KEY, what));
        }
        match (url, state_file, kmsg_path, api_key) {
            (Some(url), Some(state_file), Some(kmsg_path), Some(api_key))
                if problems.is_empty() =>
            {
                Ok(Self {
                    ingest_url: url.ending_in(crate::wire::INGEST_PATH),
                    poll_interval,
                    drain_interval: drain_interval.min(poll_interval),
                    post_timeout,
                    state_file,
                    host,
                    trust,
                    payload_bytes: payload_bytes as usize,
                    spool_bytes_max,
                    kmsg_path,
                    api_key,
                })
            }
            _ => Err(problems),
        }
    }
}

/// A key that names another host: the collector would refuse every post. Says so, if it is one.
pub(crate) fn not_its_key(key: &Secret, host: &HostName) -> Option<String> {
    let owner = HostKey::parse(key.expose())?.host;
    (owner != *host).then(|| {
        format!(
            "it is {owner}'s key and this host is {host}; on the collector's host, tasseograph \
             host-key {host} prints its own"
        )
    })
}

/// https only: the key travels with every post.
fn collector_url(file: &mut Section) -> Option<Url> {
    let text = file.text("collector_url")?;
    match Url::parse(&text) {
        Ok(url) if url.https => return Some(url),
        Ok(_) => file.problem("collector_url", format!("\"{text}\" is not an https URL")),
        Err(kind) => file.problem("collector_url", format!("\"{text}\" is not {kind}")),
    }
    None
}

fn host(file: &mut Section, probe: &Probe<'_>) -> Option<HostName> {
    let configured = file.text("hostname");
    let from_environment = (probe.environment)(HOSTNAME).filter(|name| !name.is_empty());
    let key = if from_environment.is_some() { HOSTNAME } else { "hostname" };
    let name = from_environment.or(configured)?;
    let host = HostName::parse(&name);
    if host.is_none() {
        let shown = crate::kernel::escape_controls(&name);
        file.problem(key, format!("\"{shown}\" cannot be used; {}", HostName::RULE));
    }
    host
}

fn trust(file: &mut Section, probe: &Probe<'_>) -> Trust {
    let skip = file.flag("tls_skip_verify");
    let ca_file = file.path("tls_ca_file");
    let pins = pins(file);
    if skip {
        let useless = match (&ca_file, &pins) {
            (Some(_), Some(_)) => Some("tls_ca_file and tls_pin_sha256"),
            (Some(_), None) => Some("tls_ca_file"),
            (None, Some(_)) => Some("tls_pin_sha256"),
            (None, None) => None,
        };
        if let Some(useless) = useless {
            let what = format!("it makes {useless} useless; keep one of them");
            file.problem("tls_skip_verify", what);
        }
        return Trust::Anyone;
    }
    if pins.is_some() && ca_file.is_some() {
        file.problem("tls_pin_sha256", "it makes tls_ca_file useless; keep one of them");
    }
    match (pins, ca_file) {
        (Some(pins), None) => Trust::Pins(pins),
        (_, Some(path)) => {
            file.check("tls_ca_file", (probe.ca_file)(&path));
            Trust::File(path)
        }
        (None, None) => {
            file.check("tls_ca_file", (probe.host_store)());
            Trust::HostStore
        }
    }
}

fn pins(file: &mut Section) -> Option<Vec<Pin>> {
    let mut pins = Vec::new();
    for (name, text) in file.texts("tls_pin_sha256")? {
        match Pin::parse(&text) {
            Some(pin) => pins.push(pin),
            None => {
                let shown = crate::kernel::escape_controls(&text);
                file.problem(&name, format!("\"{shown}\" is not a pin; {}", Pin::RULE));
            }
        }
    }
    Some(pins)
}

/// The pins of an agent's file, for who makes what stands around it; `None` where nothing can be
/// read of it.
pub(crate) fn agent_pins(text: &str) -> Option<Vec<Pin>> {
    pins(&mut Section::parse(text, AGENT_KEYS).ok()?)
}

/// A secret that must be there.
pub(super) fn secret(name: &str, probe: &Probe<'_>) -> Result<Secret, Problem> {
    let text = (probe.secret)(name).map_err(|what| Problem::new(name, what))?;
    let text = text.ok_or_else(|| {
        Problem::new(name, format!("not set; set it, or {name}_FILE to a file that holds it"))
    })?;
    Secret::parse(&text).map_err(|what| Problem::new(name, format!("it {what}")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_probe;
    use super::*;

    const KEY: &[(&str, &str)] = &[(API_KEY, "k")];

    fn check(text: &str, variables: &[(&str, &str)]) -> Result<AgentConfig, Vec<String>> {
        with_probe(variables, |probe| {
            let shown = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
            AgentConfig::check(text, probe).map_err(shown)
        })
    }

    #[test]
    fn the_least_file_gets_every_default() {
        let config = check("collector_url: https://c:9311", KEY).unwrap();
        assert_eq!(config.ingest_url, "https://c:9311/ingest");
        assert_eq!(config.poll_interval, Duration::from_secs(300));
        assert_eq!(config.state_file, PathBuf::from("/var/lib/tasseograph/last_timestamp"));
        assert_eq!(config.kmsg_path, PathBuf::from("/dev/kmsg"));
        assert_eq!((config.host, config.trust), (None, Trust::HostStore));
        assert_eq!(config.payload_bytes, 1024 * 1024);
        assert_eq!(config.drain_interval, Duration::from_secs(5));
        assert_eq!(config.post_timeout, Duration::from_secs(30));
        assert_eq!(config.spool_bytes_max, 16 * 1024 * 1024);
    }

    #[test]
    fn every_problem_is_listed_at_once() {
        let text = "collector_url: http://c\npoll_intervall: 5m\npoll_interval: 5\nstate_file: x\n\
                    hostname: a b\ntls_skip_verify: perhaps\nmax_payload_bytes: 12\n";
        let problems = check(text, &[]).unwrap_err();
        assert_eq!(
            problems,
            [
                "collector_url: \"http://c\" is not an https URL",
                "poll_interval: \"5\" is not a duration; write one with its unit: 90s, 5m",
                "state_file: \"x\" is not an absolute path",
                "hostname: \"a b\" cannot be used; a host name is 1 to 253 letters, digits, \".\", \
                 \"_\" or \"-\"",
                "tls_skip_verify: \"perhaps\" is neither true nor false",
                "max_payload_bytes: 12 is not from 65536 to 4194304",
                "poll_intervall: unknown key; did you mean \"poll_interval\"?",
                "TASSEOGRAPH_API_KEY: not set; set it, or TASSEOGRAPH_API_KEY_FILE to a file that \
                 holds it",
            ]
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_matter() {
        assert!(check("\u{feff}collector_url: https://c:9311", KEY).is_ok());
    }

    #[test]
    fn the_environment_names_the_host() {
        let text = "collector_url: https://c\nhostname: from-file";
        let host =
            |variables: &[(&str, &str)]| check(text, variables).unwrap().host.unwrap().to_string();
        assert_eq!(host(KEY), "from-file");
        assert_eq!(host(&[KEY[0], (HOSTNAME, "from-env")]), "from-env");
        assert_eq!(host(&[KEY[0], (HOSTNAME, "")]), "from-file");
    }

    #[test]
    fn whom_to_believe_is_said_once() {
        let pin = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let hex = Pin::parse(pin).unwrap().to_string();
        let trust = |more: &str| {
            let config = check(&format!("collector_url: https://c\n{more}"), KEY);
            config.map(|config| config.trust)
        };
        let pinned = |count| Ok(Trust::Pins(vec![Pin::parse(pin).unwrap(); count]));
        assert_eq!(trust(&format!("tls_pin_sha256: [{pin}]")), pinned(1));
        assert_eq!(trust(&format!("tls_pin_sha256: {hex}")), pinned(1), "one is a list of one");
        let list = format!("tls_pin_sha256:\n  - {hex}\n  - sha256//{pin}\n");
        assert_eq!(trust(&list), pinned(2));
        assert_eq!(trust("tls_pin_sha256:"), Ok(Trust::HostStore));
        assert_eq!(trust(&format!("tls_skip_verify: false\n{list}")), pinned(2));
        let (ca, skip) = ("tls_ca_file: /ca.pem\n", "tls_skip_verify: true\n");
        assert_eq!(trust(ca), Ok(Trust::File("/ca.pem".into())));
        assert_eq!(trust(skip), Ok(Trust::Anyone));
        let useless = |key: &str, what: &str| {
            Err(vec![format!("{key}: it makes {what} useless; keep one of them")])
        };
        assert_eq!(trust(&format!("{ca}{list}")), useless("tls_pin_sha256", "tls_ca_file"));
        assert_eq!(trust(&format!("{skip}{ca}")), useless("tls_skip_verify", "tls_ca_file"));
        assert_eq!(trust(&format!("{skip}{list}")), useless("tls_skip_verify", "tls_pin_sha256"));
        let both = useless("tls_skip_verify", "tls_ca_file and tls_pin_sha256");
        assert_eq!(trust(&format!("{skip}{ca}{list}")), both);
    }

    #[test]
    fn a_pin_that_is_none_is_named_with_the_legal_forms() {
        let problems = |value: &str| {
            check(&format!("collector_url: https://c\ntls_pin_sha256: {value}"), KEY).unwrap_err()
        };
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let rule = Pin::RULE;
        for (value, expected) in [
            (format!("[{hex}, e3b0]"), format!("[1]: \"e3b0\" is not a pin; {rule}")),
            (format!("[{hex}, ~]"), format!("[1]: \"\" is not a pin; {rule}")),
            ("[12]".to_owned(), format!("[0]: \"12\" is not a pin; {rule}")),
            ("\"a\\n\"".to_owned(), format!(": \"a\\x0a\" is not a pin; {rule}")),
            ("[]".to_owned(), ": it is empty; at least one entry is required".to_owned()),
            (
                format!("[[{hex}]]"),
                "[0]: it is a list or a mapping where one value belongs".to_owned(),
            ),
            ("{a: b}".to_owned(), ": it is a list or a mapping where one value belongs".to_owned()),
        ] {
            assert_eq!(problems(&value), [format!("tls_pin_sha256{expected}")], "{value}");
        }
    }

    #[test]
    fn a_key_of_another_host_is_named() {
        let text = "collector_url: https://c\nhostname: web-2";
        let key = |name: &str| format!("{name}.{}", "0".repeat(64));
        let with = |key: &str| check(text, &[(API_KEY, key)]);
        assert!(with(&key("web-2")).is_ok());
        assert!(with("web-1.not-hex").is_ok());
        let problems = with(&key("web-1")).unwrap_err();
        let expected = "TASSEOGRAPH_API_KEY: it is web-1's key and this host is web-2; on the \
                        collector's host, tasseograph host-key web-2 prints its own";
        assert_eq!(problems, [expected]);
        // The kernel's name is not known here.
        assert!(check("collector_url: https://c", &[(API_KEY, &key("web-1"))]).is_ok());
    }

    #[test]
    fn files_that_are_no_configuration() {
        for (text, start) in [
            ("", "collector_url: missing; it is required"),
            ("- a\n- b", "it is not a list of \"key: value\" lines"),
            ("a: b: c", "it is not YAML: "),
            ("collector_url: https://c\ncollector_url: https://d", "it is not YAML: duplicate"),
            ("collector_url: [x]", "collector_url: it is a list or a mapping"),
        ] {
            let problems = check(text, KEY).unwrap_err();
            assert!(problems[0].starts_with(start), "{text}: {problems:?}");
        }
    }
}
