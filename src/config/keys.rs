//! Every configuration key with its default: the one table that the checks and README.md share.

/// A key of a configuration file.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// As it would stand in the file; `REQUIRED` and `NONE` are no values.
    pub(crate) default: &'static str,
}

pub(crate) const REQUIRED: &str = "required";
pub(crate) const NONE: &str = "none";

const fn key(name: &'static str, default: &'static str) -> Key {
    Key { name, default }
}

pub(crate) const AGENT_KEYS: &[Key] = &[
    key("collector_url", REQUIRED),
    key("poll_interval", "5m"),
    key("drain_interval", "5s"),
    key("post_timeout", "30s"),
    key("state_file", "/var/lib/tasseograph/last_timestamp"),
    key("hostname", NONE),
    key("tls_ca_file", NONE),
    key("tls_pin_sha256", NONE),
    key("tls_skip_verify", "false"),
    key("max_payload_bytes", "1048576"),
    key("spool_max_bytes", "16777216"),
    key("kmsg_path", "/dev/kmsg"),
];

pub(crate) const COLLECTOR_KEYS: &[Key] = &[
    key("listen_addr", ":9311"),
    key("db_path", "/var/lib/tasseograph/tasseograph.db"),
    key("tls_cert", "/etc/tasseograph/cert.pem"),
    key("tls_key", "/etc/tasseograph/key.pem"),
    key("llm_endpoints", REQUIRED),
    key("max_payload_bytes", "1048576"),
    key("analysis_workers", "8"),
    key("retention_days", "0"),
    key("max_connections", "4096"),
    key("max_strangers_per_address", "256"),
    key("runtime_dir", NONE),
    key("require_host_keys", "false"),
];

pub(crate) const ENDPOINT_KEYS: &[Key] = &[
    key("url", REQUIRED),
    key("model", REQUIRED),
    key("api_key_env", NONE),
    key("api_key_header", NONE),
    key("headers", NONE),
    key("query", NONE),
    key("extra_body", NONE),
    key("max_tokens", "2048"),
    key("context_tokens", NONE),
    key("temperature", NONE),
    key("price", NONE),
    key("max_retries", "0"),
    key("timeout", "2m"),
    key("connect_timeout", "5s"),
    key("tls_ca_file", NONE),
    key("allow_http", "false"),
];

/// Of `price`.
pub(crate) const PRICE_KEYS: &[Key] =
    &[key("input", REQUIRED), key("cached_input", NONE), key("output", REQUIRED)];

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../README.md");

    /// Name and default of each row of the table under a heading, as README.md gives them.
    fn documented(heading: &str) -> Vec<(&'static str, &'static str)> {
        let section = README.split(&format!("\n### {heading}")).nth(1);
        let section = section.unwrap_or_else(|| panic!("README.md has no heading {heading}"));
        let section = section.split("\n#").next().unwrap();
        let row = |line: &'static str| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().trim_matches('`');
            Some((name, cells.next()?.trim().trim_matches('`')))
        };
        section.lines().filter_map(row).collect()
    }

    #[test]
    fn the_readme_has_every_key_and_its_default() {
        for (heading, keys) in [
            ("Agent: ", AGENT_KEYS),
            ("Collector: ", COLLECTOR_KEYS),
            ("Endpoint: ", ENDPOINT_KEYS),
        ] {
            let expected: Vec<_> = keys.iter().map(|key| (key.name, key.default)).collect();
            assert_eq!(documented(heading), expected, "{heading}");
        }
    }
}
