//! The collector's settings; its chain of endpoints is `endpoint`'s.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::agent::secret;
use super::endpoint::{Endpoint, endpoints};
use super::keys::COLLECTOR_KEYS;
use super::raw::Section;
use super::{API_KEY, API_KEY_PREVIOUS, Probe, Problem, Secret};
use crate::wire::{HostKey, PAYLOAD_BYTES_DEFAULT};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CollectorConfig {
    pub(crate) listen: Listen,
    pub(crate) db_path: PathBuf,
    pub(crate) tls_cert: PathBuf,
    pub(crate) tls_key: PathBuf,
    /// In the order in which they are asked; never empty.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) payload_bytes: usize,
    pub(crate) workers: usize,
    /// `None`: rows are kept for ever.
    pub(crate) retention: Option<Duration>,
    pub(crate) connections: usize,
    /// Of one address, that say something and have not shown a key yet.
    pub(crate) strangers: usize,
    /// Where the private socket lies; `None`: beside the database, or where systemd says.
    pub(crate) runtime_dir: Option<PathBuf>,
    pub(crate) api_key: Secret,
    /// Taken beside `api_key` while agents change from one to the other.
    pub(crate) previous_key: Option<Secret>,
    /// Neither of these two is taken itself, only what is made from them.
    pub(crate) host_keys_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// `None`: every interface, v4 and v6.
    pub(crate) address: Option<IpAddr>,
    /// 0 lets the system choose.
    pub(crate) port: u16,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => write!(f, "port {} of every interface", self.port),
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.port)),
        }
    }
}

/// Room for the longest record, every byte of it escaped.
const PAYLOAD_BYTES_MIN: u64 = 32 * 1024;
const PAYLOAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
const WORKERS_MAX: u64 = 64;
const RETENTION_DAYS_MAX: u64 = 36_500;
const CONNECTIONS_MAX: u64 = 65_536;

impl CollectorConfig {
    pub(crate) fn check(text: &str, probe: &Probe<'_>) -> Result<Self, Vec<Problem>> {
        let mut file = Section::parse(text, COLLECTOR_KEYS).map_err(|problem| vec![problem])?;
        let listen = listen(&mut file);
        let db_path = file.path("db_path");
        if let Some(path) = &db_path {
            file.check("db_path", (probe.writable)(path));
        }
        let tls_cert = file.path("tls_cert");
        let tls_key = file.path("tls_key");
        let [cert, key] = (probe.key_pair)(tls_cert.as_deref(), tls_key.as_deref());
        file.check("tls_cert", cert);
        file.check("tls_key", key);
        let payload_bytes = payload_bytes(&mut file);
        let workers = file.whole("analysis_workers", 1..=WORKERS_MAX);
        let retention_days = file.whole("retention_days", 0..=RETENTION_DAYS_MAX);
        let connections = file.whole("max_connections", 1..=CONNECTIONS_MAX);
        let strangers = file.whole("max_strangers_per_address", 1..=CONNECTIONS_MAX);
        let runtime_dir = file.path("runtime_dir");
        if let Some(folder) = &runtime_dir {
            file.check("runtime_dir", (probe.writable)(&folder.join("http.sock")));
        }
        let host_keys_only = file.flag("require_host_keys");
        let (endpoints, mut problems) = endpoints(file, probe);
        let api_key = collector_key(probe).map_err(|problem| problems.push(problem)).ok();
        let previous_key = previous_key(api_key.as_ref(), probe);
        let previous_key = previous_key.map_err(|problem| problems.push(problem)).ok().flatten();
        match (listen, db_path, tls_cert, tls_key, api_key) {
            (Some(listen), Some(db_path), Some(tls_cert), Some(tls_key), Some(api_key))
                if problems.is_empty() =>
            {
                Ok(Self {
                    listen,
                    db_path,
                    tls_cert,
                    tls_key,
                    endpoints,
                    payload_bytes,
                    workers: workers as usize,
                    retention: (retention_days > 0)
                        .then(|| Duration::from_secs(retention_days * 24 * 3600)),
                    connections: connections as usize,
                    strangers: strangers as usize,
                    runtime_dir,
                    api_key,
                    previous_key,
                    host_keys_only,
                })
            }
            _ => Err(problems),
        }
    }
}

/// The key that agents share, and that their hosts' own keys are made from.
pub(crate) fn collector_key(probe: &Probe<'_>) -> Result<Secret, Problem> {
    not_of_a_host(API_KEY, secret(API_KEY, probe)?)
}

/// There need not be one. The same as the current one is as good as none: so it is for a moment
/// when keys are changed.
fn previous_key(current: Option<&Secret>, probe: &Probe<'_>) -> Result<Option<Secret>, Problem> {
    let wrong = |what: String| Problem::new(API_KEY_PREVIOUS, what);
    let Some(text) = (probe.secret)(API_KEY_PREVIOUS).map_err(wrong)? else { return Ok(None) };
    let key = Secret::parse(&text).map_err(|what| wrong(format!("it {what}")))?;
    if current == Some(&key) {
        return Ok(None);
    }
    not_of_a_host(API_KEY_PREVIOUS, key).map(Some)
}

/// A host's key in the collector's place would make keys that no host has.
fn not_of_a_host(name: &str, key: Secret) -> Result<Secret, Problem> {
    match HostKey::parse(key.expose()) {
        None => Ok(key),
        Some(HostKey { host, .. }) => Err(Problem::new(
            name,
            format!("it is a key of one host, {host}; a collector needs the key it is made from"),
        )),
    }
}

/// The endpoints alone, for who only asks them: nothing else of the file is looked at.
pub(crate) fn check_endpoints(
    text: &str,
    probe: &Probe<'_>,
) -> Result<Vec<Endpoint>, Vec<Problem>> {
    let mut file = Section::parse(text, COLLECTOR_KEYS).map_err(|problem| vec![problem])?;
    ignore_all_but(&mut file, &["llm_endpoints"]);
    let (endpoints, problems) = endpoints(file, probe);
    if problems.is_empty() { Ok(endpoints) } else { Err(problems) }
}

fn ignore_all_but(file: &mut Section, names: &[&str]) {
    for key in COLLECTOR_KEYS.iter().filter(|key| !names.contains(&key.name)) {
        file.ignore(key.name);
    }
}

/// What others see of a collector.
pub(crate) struct Front {
    pub(crate) listen: Listen,
    pub(crate) tls_cert: PathBuf,
    pub(crate) tls_key: PathBuf,
}

/// For who makes what stands around a collector: nothing else of the file is looked at, and the
/// certificate need not be there.
pub(crate) fn front(text: &str) -> Result<Front, Vec<Problem>> {
    let mut file = Section::parse(text, COLLECTOR_KEYS).map_err(|problem| vec![problem])?;
    let (listen, cert, key) = (listen(&mut file), file.path("tls_cert"), file.path("tls_key"));
    ignore_all_but(&mut file, &[]);
    let problems = file.finish();
    match (listen, cert, key) {
        (Some(listen), Some(tls_cert), Some(tls_key)) if problems.is_empty() => {
            Ok(Front { listen, tls_cert, tls_key })
        }
        _ => Err(problems),
    }
}

/// 0 means the default, as it did in the Go implementation.
fn payload_bytes(file: &mut Section) -> usize {
    match file.whole("max_payload_bytes", 0..=PAYLOAD_BYTES_MAX) {
        0 => PAYLOAD_BYTES_DEFAULT as usize,
        bytes if bytes < PAYLOAD_BYTES_MIN => {
            let what = format!("{bytes} is not from {PAYLOAD_BYTES_MIN} to {PAYLOAD_BYTES_MAX}");
            file.problem("max_payload_bytes", what);
            0
        }
        bytes => bytes as usize,
    }
}

fn listen(file: &mut Section) -> Option<Listen> {
    let text = file.text("listen_addr")?;
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse().ok()?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let address = if host.is_empty() { None } else { Some(host.parse().ok()?) };
        Some(Listen { address, port })
    });
    if parsed.is_none() {
        let what = format!(
            "\"{text}\" is not an address to listen on; write \":9311\" for every interface or \
             \"10.0.0.5:9311\" for one"
        );
        file.problem("listen_addr", what);
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_probe;
    use super::*;

    const KEYS: &[(&str, &str)] = &[(API_KEY, "k"), ("OPENAI_API_KEY", "sk-1")];

    fn check(text: &str, variables: &[(&str, &str)]) -> Result<CollectorConfig, Vec<String>> {
        with_probe(variables, |probe| {
            let shown = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
            CollectorConfig::check(text, probe).map_err(shown)
        })
    }

    const LEAST: &str = "llm_endpoints: [{url: \"builtin:\"}]\n";

    #[test]
    fn the_least_file_gets_every_default() {
        let config = check(LEAST, KEYS).unwrap();
        assert_eq!(config.listen, Listen { address: None, port: 9311 });
        assert_eq!(config.db_path, PathBuf::from("/var/lib/tasseograph/tasseograph.db"));
        assert_eq!((config.payload_bytes, config.workers), (1024 * 1024, 8));
        assert_eq!((config.retention, config.connections), (None, 4096));
        assert_eq!(config.endpoints.len(), 1);
        assert_eq!(config.endpoints[0].kind, super::super::EndpointKind::Builtin);
    }

    #[test]
    fn zero_means_the_default_payload() {
        let config = check(&format!("{LEAST}max_payload_bytes: 0"), KEYS).unwrap();
        assert_eq!(config.payload_bytes, 1024 * 1024);
        let problems = check(&format!("{LEAST}max_payload_bytes: 1"), KEYS).unwrap_err();
        assert_eq!(problems, ["max_payload_bytes: 1 is not from 32768 to 16777216"]);
    }

    #[test]
    fn addresses_to_listen_on() {
        let listen = |text: &str| check(&format!("{LEAST}listen_addr: \"{text}\""), KEYS);
        for (text, address, port) in [
            (":9311", None, 9311),
            ("127.0.0.1:0", Some("127.0.0.1"), 0),
            ("[::1]:80", Some("::1"), 80),
            ("0.0.0.0:9311", Some("0.0.0.0"), 9311),
        ] {
            let address = address.map(|address| address.parse().unwrap());
            assert_eq!(listen(text).unwrap().listen, Listen { address, port }, "{text}");
        }
        for bad in ["9311", "host:9311", ":99999", "1.2.3.4", ":"] {
            assert!(listen(bad).unwrap_err()[0].starts_with("listen_addr: "), "{bad}");
        }
    }

    #[test]
    fn who_only_asks_needs_nothing_but_endpoints() {
        let only = |text: &str| {
            with_probe(&[], |probe| check_endpoints(text, probe).map_err(|wrong| wrong.len()))
        };
        let text = format!("{LEAST}tls_cert: nowhere\nlisten_addr: [x]\n");
        assert_eq!(only(&text).unwrap().len(), 1);
        assert_eq!(only("listen_addr: ':1'\n").unwrap_err(), 1);
        assert_eq!(only(&format!("{LEAST}lisen_addr: ':1'\n")).unwrap_err(), 1);
    }

    #[test]
    fn the_key_before_the_present_one() {
        let with = |variables: &[(&str, &str)]| check(LEAST, variables);
        let of_a_host = format!("web-1.{}", "0".repeat(64));
        assert_eq!(with(KEYS).unwrap().previous_key, None);
        let both = [KEYS[0], (API_KEY_PREVIOUS, "before\n")];
        assert_eq!(with(&both).unwrap().previous_key, Some(Secret::parse("before").unwrap()));
        let same = [KEYS[0], (API_KEY_PREVIOUS, "k\n")];
        assert_eq!(with(&same).unwrap().previous_key, None);
        for (key, previous, problem) in [
            ("k", "", "TASSEOGRAPH_API_KEY_PREVIOUS: it is empty"),
            ("k", "a b", "TASSEOGRAPH_API_KEY_PREVIOUS: it holds a character"),
            ("k", &of_a_host, "TASSEOGRAPH_API_KEY_PREVIOUS: it is a key of one host, web-1; "),
            (&of_a_host, "k", "TASSEOGRAPH_API_KEY: it is a key of one host, web-1; "),
        ] {
            let problems = with(&[(API_KEY, key), (API_KEY_PREVIOUS, previous)]).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(problem), "{problems:?}");
        }
        let only = |text: &str| check(&format!("{LEAST}{text}"), KEYS).unwrap().host_keys_only;
        assert_eq!((only(""), only("require_host_keys: true")), (false, true));
    }
}
