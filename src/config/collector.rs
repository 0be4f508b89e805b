//! The collector's settings, with its chain of endpoints.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::agent::secret;
use super::keys::{COLLECTOR_KEYS, ENDPOINT_KEYS};
use super::raw::Section;
use super::{API_KEY, API_KEY_PREVIOUS, Probe, Problem, Secret, Trust, Url};
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) kind: EndpointKind,
    pub(crate) model: String,
    /// The host that answers, for the database: `api.openai.com`, `builtin`.
    pub(crate) provider: String,
    pub(crate) max_retries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EndpointKind {
    /// The signature table: no key, no network.
    Builtin,
    Http(HttpEndpoint),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpEndpoint {
    /// With its path.
    pub(crate) url: String,
    pub(crate) https: bool,
    pub(crate) api_key: Option<Secret>,
    pub(crate) trust: Trust,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// Room for the longest record, every byte of it escaped.
const PAYLOAD_BYTES_MIN: u64 = 32 * 1024;
const PAYLOAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
const WORKERS_MAX: u64 = 64;
const RETENTION_DAYS_MAX: u64 = 36_500;
const CONNECTIONS_MAX: u64 = 65_536;
const RETRIES_MAX: u64 = 10;
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// The scheme of the endpoint that is the signature table alone.
const BUILTIN: &str = "builtin:";
const COMPLETIONS_PATH: &str = "/chat/completions";

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
    for key in COLLECTOR_KEYS.iter().filter(|key| key.name != "llm_endpoints") {
        file.ignore(key.name);
    }
    let (endpoints, problems) = endpoints(file, probe);
    if problems.is_empty() { Ok(endpoints) } else { Err(problems) }
}

/// Takes the last of the file: the endpoints, and what is wrong with it.
fn endpoints(mut file: Section, probe: &Probe<'_>) -> (Vec<Endpoint>, Vec<Problem>) {
    let entries = file.sections("llm_endpoints", ENDPOINT_KEYS);
    let mut problems = file.finish();
    let mut endpoints = Vec::new();
    for mut entry in entries {
        endpoints.extend(endpoint(&mut entry, probe));
        problems.extend(entry.finish());
    }
    (endpoints, problems)
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

fn endpoint(entry: &mut Section, probe: &Probe<'_>) -> Option<Endpoint> {
    let url = entry.text("url");
    if url.as_deref() == Some(BUILTIN) {
        // The other keys may stay while an operator tries it out: they are checked all the same.
        http_settings(entry, None, probe);
        entry.ignore("model");
        entry.whole("max_retries", 0..=RETRIES_MAX);
        return Some(Endpoint {
            kind: EndpointKind::Builtin,
            model: "signatures".into(),
            provider: "builtin".into(),
            max_retries: 0,
        });
    }
    let model = entry.text("model");
    let max_retries = entry.whole("max_retries", 0..=RETRIES_MAX);
    let url = url.and_then(|text| match Url::parse(&text) {
        Ok(url) => Some(url),
        Err(kind) => {
            entry.problem("url", format!("\"{text}\" is not {kind}, nor \"{BUILTIN}\""));
            None
        }
    });
    let http = http_settings(entry, url.as_ref(), probe);
    Some(Endpoint {
        provider: url?.host().to_owned(),
        kind: EndpointKind::Http(http?),
        model: model?,
        max_retries: max_retries as u32,
    })
}

fn http_settings(
    entry: &mut Section,
    url: Option<&Url>,
    probe: &Probe<'_>,
) -> Option<HttpEndpoint> {
    let timeout = entry.span("timeout", TIMEOUT_MIN..=TIMEOUT_MAX);
    let connect_timeout = entry.span("connect_timeout", TIMEOUT_MIN..=TIMEOUT_MAX);
    let allow_http = entry.flag("allow_http");
    let key_name = entry.text("api_key_env");
    let trust = match entry.path("tls_ca_file") {
        None => Trust::HostStore,
        Some(path) => {
            entry.check("tls_ca_file", (probe.ca_file)(&path));
            Trust::File(path)
        }
    };
    let url = url?;
    if url.https && trust == Trust::HostStore {
        entry.check("tls_ca_file", (probe.host_store)());
    }
    if !url.https && !url.is_loopback() && !allow_http {
        let what = "it sends kernel logs and the key unencrypted; use https, or say \
                    \"allow_http: true\" for a network that you trust";
        entry.problem("url", what);
    }
    let api_key = match key_name {
        None => None,
        Some(name) => match secret(&name, probe) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                entry.problem("api_key_env", problem.to_string());
                return None;
            }
        },
    };
    Some(HttpEndpoint {
        url: url.ending_in(COMPLETIONS_PATH),
        https: url.https,
        api_key,
        trust,
        timeout,
        connect_timeout,
    })
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
        assert_eq!(config.endpoints[0].kind, EndpointKind::Builtin);
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
    fn a_chain_keeps_its_order() {
        let text = "llm_endpoints:\n\
                    - {url: 'https://api.openai.com/v1', model: m1, api_key_env: OPENAI_API_KEY}\n\
                    - {url: 'http://127.0.0.1:8080/v1/', model: m2, max_retries: 2, timeout: 10m}\n\
                    - {url: 'builtin:'}\n";
        let endpoints = check(text, KEYS).unwrap().endpoints;
        let providers: Vec<_> = endpoints.iter().map(|endpoint| &endpoint.provider).collect();
        assert_eq!(providers, ["api.openai.com", "127.0.0.1", "builtin"]);
        let EndpointKind::Http(second) = &endpoints[1].kind else { panic!("builtin") };
        assert_eq!(second.url, "http://127.0.0.1:8080/v1/chat/completions");
        assert_eq!(second.timeout, Duration::from_secs(600));
        assert_eq!((&second.api_key, endpoints[1].max_retries), (&None, 2));
    }

    #[test]
    fn problems_of_endpoints_name_their_place() {
        let text = "llm_endpoints:\n\
                    - {url: 'http:/api', model: m}\n\
                    - {url: 'https://a', api_key_env: NOT_SET, modle: m}\n\
                    - {url: 'http://10.0.0.1/v1', model: m}\n\
                    - nonsense\n\
                    - {url: 'builtin:', timeout: 1}\n";
        let problems = check(text, KEYS).unwrap_err();
        let expected = [
            "llm_endpoints[3]: it is not a list of keys",
            "llm_endpoints[0].url: \"http:/api\" is not an http or https URL, nor \"builtin:\"",
            "llm_endpoints[1].model: missing; it is required",
            "llm_endpoints[1].api_key_env: NOT_SET: not set; set it, or NOT_SET_FILE to a file \
             that holds it",
            "llm_endpoints[1].modle: unknown key; did you mean \"model\"?",
            "llm_endpoints[2].url: it sends kernel logs and the key unencrypted; use https, or say \
             \"allow_http: true\" for a network that you trust",
            "llm_endpoints[4].timeout: \"1\" is not a duration; write one with its unit: 90s, 5m",
        ];
        assert_eq!(problems, expected);
        let allowed = "llm_endpoints: [{url: 'http://10.0.0.1/v1', model: m, allow_http: true}]";
        assert!(check(allowed, KEYS).is_ok());
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

    #[test]
    fn no_endpoint_is_no_chain() {
        for (text, problem) in [
            ("db_path: /tmp/x.db", "llm_endpoints: missing; it is required"),
            ("llm_endpoints: []", "llm_endpoints: it is empty; at least one entry is required"),
            ("llm_endpoints: x", "llm_endpoints: it is not a list; begin each entry with \"- \""),
        ] {
            assert_eq!(check(text, KEYS).unwrap_err(), [problem], "{text}");
        }
    }
}
