//! An entry of `llm_endpoints`: whom to ask, how, and for how much.

use std::time::Duration;

use serde_json::{Map, Number, Value};

use super::agent::secret;
use super::keys::{ENDPOINT_KEYS, PRICE_KEYS};
use super::raw::Section;
use super::{Probe, Problem, Secret, Trust, Url};

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
    Http(Box<HttpEndpoint>),
}

/// What may hold a key is a secret, whether it is one or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpEndpoint {
    /// With its path and its query.
    pub(crate) url: Secret,
    pub(crate) https: bool,
    pub(crate) api_key: Option<Secret>,
    /// The header that carries the key by itself; `None`: `Authorization: Bearer`.
    pub(crate) api_key_header: Option<String>,
    /// Sent besides.
    pub(crate) headers: Vec<(String, Secret)>,
    /// Values of `query` as they were written and as they are sent, which an answer may repeat.
    pub(crate) query: Vec<Secret>,
    pub(crate) extra_body: Map<String, Value>,
    pub(crate) max_tokens: u64,
    pub(crate) context_tokens: Option<u64>,
    pub(crate) temperature: Option<Number>,
    pub(crate) price: Option<Prices>,
    pub(crate) trust: Trust,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// In millionths of a currency for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prices {
    pub(crate) input: u64,
    pub(crate) cached_input: u64,
    pub(crate) output: u64,
}

const RETRIES_MAX: u64 = 10;
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// An answer that names one failing part takes about 100.
const ANSWER_TOKENS_MIN: u64 = 128;
const ANSWER_TOKENS_MAX: u64 = 131_072;
/// The instructions, the schema and the longest record.
const PROMPT_TOKENS_MIN: u64 = 2_048;
const CONTEXT_TOKENS_MAX: u64 = 10_000_000;
const TEMPERATURE_MAX: f64 = 2.0;
/// For a million tokens.
const PRICE_MAX: f64 = 1_000_000.0;
/// The scheme of the endpoint that is the signature table alone.
const BUILTIN: &str = "builtin:";
const COMPLETIONS_PATH: &str = "/chat/completions";
/// Of a request's body: ours, or such that its answers could not be read.
const BODY_KEYS: &[&str] = &[
    "functions",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "response_format",
    "stream",
    "temperature",
    "tools",
];
/// Of a request's head, in small letters.
const HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
];

/// Takes the last of the file: the endpoints, and what is wrong with it.
pub(super) fn endpoints(mut file: Section, probe: &Probe<'_>) -> (Vec<Endpoint>, Vec<Problem>) {
    let entries = file.sections("llm_endpoints", ENDPOINT_KEYS);
    let mut problems = file.finish();
    let mut endpoints = Vec::new();
    for mut entry in entries {
        endpoints.extend(endpoint(&mut entry, probe));
        problems.extend(entry.finish());
    }
    (endpoints, problems)
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
        kind: EndpointKind::Http(Box::new(http?)),
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
    let key_header = key_header(entry, key_name.is_some());
    let headers = headers(entry, key_header.as_deref());
    let pairs = entry.pairs("query");
    let extra_body = extra_body(entry);
    let (max_tokens, context_tokens) = tokens(entry);
    let temperature = entry.decimal("temperature", 0.0..=TEMPERATURE_MAX);
    let price = price(entry);
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
    let api_key = key_name.map(|name| secret(&name, probe)).transpose();
    if let Err(problem) = &api_key {
        entry.problem("api_key_env", problem.to_string());
    }
    Some(HttpEndpoint {
        url: Secret::of(url.ending_in(COMPLETIONS_PATH) + &query(&pairs)),
        https: url.https,
        api_key: api_key.ok()?,
        api_key_header: key_header,
        headers,
        query: pairs
            .into_iter()
            .flat_map(|(_, _, value)| [Secret::of(encoded(&value)), Secret::of(value)])
            .collect(),
        extra_body,
        max_tokens,
        context_tokens,
        temperature: temperature.and_then(Number::from_f64),
        price,
        trust,
        timeout,
        connect_timeout,
    })
}

/// What is wrong with a header's name, if anything.
fn wrong_name(name: &str) -> Option<&'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(legal) {
        return Some("that is no header's name");
    }
    let ours = HEADERS.contains(&name.to_ascii_lowercase().as_str());
    ours.then_some("this header is set by the program; a key goes with api_key_env")
}

fn key_header(entry: &mut Section, has_key: bool) -> Option<String> {
    let name = entry.text("api_key_header")?;
    if let Some(what) = wrong_name(&name) {
        entry.problem("api_key_header", what);
    }
    if !has_key {
        entry.problem("api_key_header", "there is no key to put into it without api_key_env");
    }
    Some(name)
}

fn headers(entry: &mut Section, key_header: Option<&str>) -> Vec<(String, Secret)> {
    let mut headers = Vec::new();
    for (path, name, value) in entry.pairs("headers") {
        let twice = key_header.is_some_and(|other| other.eq_ignore_ascii_case(&name));
        let twice = twice.then_some("api_key_header names it too");
        match (wrong_name(&name).or(twice), Secret::parse_value(&value)) {
            (Some(what), _) => entry.problem(&path, what),
            (None, Err(what)) => entry.problem(&path, format!("its value {what}")),
            (None, Ok(value)) => headers.push((name, value)),
        }
    }
    headers
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::new(), |encoded, byte| {
        if plain(byte) {
            encoded + char::from(byte).encode_utf8(&mut [0; 4])
        } else {
            encoded + &format!("%{byte:02X}")
        }
    })
}

/// As the end of a URL, or nothing.
fn query(pairs: &[(String, String, String)]) -> String {
    let parts = pairs.iter().map(|(_, key, value)| format!("{}={}", encoded(key), encoded(value)));
    let all = parts.collect::<Vec<_>>().join("&");
    if all.is_empty() { all } else { format!("?{all}") }
}

fn extra_body(entry: &mut Section) -> Map<String, Value> {
    let extra = entry.object("extra_body");
    for key in BODY_KEYS.iter().filter(|key| extra.contains_key(**key)) {
        let what = "the program sets it, or could not read the answers with it";
        entry.problem(&format!("extra_body.{key}"), what);
    }
    extra
}

fn tokens(entry: &mut Section) -> (u64, Option<u64>) {
    let answer = entry.whole("max_tokens", ANSWER_TOKENS_MIN..=ANSWER_TOKENS_MAX);
    let context = entry.whole_if_any("context_tokens", PROMPT_TOKENS_MIN..=CONTEXT_TOKENS_MAX);
    let least = answer + PROMPT_TOKENS_MIN;
    if let Some(context) = context.filter(|context| *context < least) {
        let what = format!(
            "{context} leaves no room for a question beside max_tokens, {answer}; at least \
             {least}, or fewer max_tokens"
        );
        entry.problem("context_tokens", what);
    }
    (answer, context)
}

fn price(entry: &mut Section) -> Option<Prices> {
    let mut given = entry.section("price", PRICE_KEYS)?;
    let mut of = |key: &str| {
        let price = given.decimal(key, 0.0..=PRICE_MAX)?;
        Some((price * 1e6).round() as u64)
    };
    let (input, cached, output) = (of("input"), of("cached_input"), of("output"));
    entry.adopt(given);
    let input = input?;
    Some(Prices { input, cached_input: cached.unwrap_or(input), output: output? })
}

#[cfg(test)]
mod tests {
    use super::super::CollectorConfig;
    use super::super::tests::with_probe;
    use super::*;

    const KEYS: &[(&str, &str)] =
        &[("TASSEOGRAPH_API_KEY", "k"), ("OPENAI_API_KEY", "sk-1"), ("AZURE", "az-1")];

    fn check(text: &str, variables: &[(&str, &str)]) -> Result<CollectorConfig, Vec<String>> {
        with_probe(variables, |probe| {
            let shown = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
            CollectorConfig::check(text, probe).map_err(shown)
        })
    }

    fn http(more: &str) -> Result<HttpEndpoint, Vec<String>> {
        let text = format!("llm_endpoints: [{{url: 'https://a/v1', model: m{more}}}]");
        check(&text, KEYS).map(|config| match config.endpoints[0].kind.clone() {
            EndpointKind::Http(http) => *http,
            EndpointKind::Builtin => panic!("builtin"),
        })
    }

    #[test]
    fn the_least_entry_gets_every_default() {
        let least = http("").unwrap();
        assert_eq!(least.url.expose(), "https://a/v1/chat/completions");
        assert_eq!((least.max_tokens, least.context_tokens), (2_048, None));
        assert_eq!((least.headers.len(), least.extra_body.len()), (0, 0));
        assert_eq!((least.temperature, least.price), (None, None));
        assert_eq!(least.timeout, Duration::from_secs(120));
    }

    #[test]
    fn an_entry_with_everything_and_none_of_it_is_shown() {
        let all = http(
            ", api_key_env: AZURE, api_key_header: api-key, headers: {X-Title: my hosts}, \
             query: {api-version: 2024-10-21, k: 'a b&c'}, temperature: 0.2, max_tokens: 512, \
             context_tokens: 8192, extra_body: {top_p: 0.9, provider: {order: [a, b]}}, \
             price: {input: 0.15, cached_input: 0.075, output: 0.6}",
        );
        let all = all.unwrap();
        let url = "https://a/v1/chat/completions?api-version=2024-10-21&k=a%20b%26c";
        assert_eq!((all.url.expose(), all.api_key.as_ref().unwrap().expose()), (url, "az-1"));
        assert_eq!(all.api_key_header.as_deref(), Some("api-key"));
        let headers: Vec<_> = all.headers.iter().map(|(k, v)| (&**k, v.expose())).collect();
        assert_eq!(headers, [("X-Title", "my hosts")]);
        assert_eq!((all.max_tokens, all.context_tokens), (512, Some(8_192)));
        assert_eq!(all.temperature, Number::from_f64(0.2));
        assert_eq!(all.extra_body["provider"]["order"][1], "b");
        let price = Prices { input: 150_000, cached_input: 75_000, output: 600_000 };
        assert_eq!(all.price, Some(price));
        let shown = format!("{all:?}");
        for secret in ["az-1", "my hosts", "a b&c", "2024-10-21"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn cached_tokens_cost_as_others_unless_said() {
        let price = http(", price: {input: 1, output: 2}").unwrap().price.unwrap();
        assert_eq!((price.input, price.cached_input), (1_000_000, 1_000_000));
    }

    #[test]
    fn what_an_entry_may_not_say() {
        for (more, problem) in [
            ("max_tokens: 1", "max_tokens: 1 is not from 128 to 131072"),
            ("context_tokens: 9", "context_tokens: 9 is not from 2048 to 10000000"),
            (
                "context_tokens: 4095",
                "context_tokens: 4095 leaves no room for a question beside max_tokens, 2048; at \
                 least 4096, or fewer max_tokens",
            ),
            ("temperature: hot", "temperature: \"hot\" is not a number"),
            ("temperature: 3", "temperature: 3 is not from 0 to 2"),
            ("temperature: nan", "temperature: nan is not from 0 to 2"),
            ("price: 3", "price: it is not a list of \"key: value\" lines"),
            ("price: {input: 1}", "price.output: missing; it is required"),
            ("price: {input: 1, output: 2, x: 3}", "price.x: unknown key"),
            ("price: {input: -1, output: 2}", "price.input: -1 is not from 0 to 1000000"),
            ("headers: [a]", "headers: it is not a list of \"key: value\" lines"),
            ("headers: {a: [b]}", "headers.a: it is a list or a mapping where one value belongs"),
            ("headers: {'a b': c}", "headers.a b: that is no header's name"),
            (
                "headers: {a: \"b\\nc: d\"}",
                "headers.a: its value is empty, or holds a character that an HTTP header cannot \
                 carry",
            ),
            (
                "headers: {Authorization: x}",
                "headers.Authorization: this header is set by the program; a key goes with \
                 api_key_env",
            ),
            (
                "api_key_header: api-key",
                "api_key_header: there is no key to put into it without api_key_env",
            ),
            (
                "extra_body: {stream: true}",
                "extra_body.stream: the program sets it, or could not read the answers with it",
            ),
        ] {
            let problems = http(&format!(", {more}")).unwrap_err();
            assert_eq!(problems, [format!("llm_endpoints[0].{problem}")], "{more}");
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
        assert_eq!(second.url.expose(), "http://127.0.0.1:8080/v1/chat/completions");
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
