//! Configuration: raw YAML into checked settings, every problem listed at once.
//!
//! Pure: files, the environment and certificates are looked at through `Probe`, which the commands
//! hand in. Past this room no setting can be wrong and no default is left to apply.

mod agent;
mod collector;
mod endpoint;
mod keys;
mod pin;
mod raw;
mod secret;
mod url;

use std::fmt;
use std::path::Path;

pub(crate) use agent::{AgentConfig, agent_pins, not_its_key};
pub(crate) use collector::{CollectorConfig, Front, check_endpoints, collector_key, front};
pub(crate) use endpoint::{Endpoint, EndpointKind, HttpEndpoint};
pub(crate) use pin::Pin;
pub(crate) use secret::Secret;
pub(crate) use url::Url;

/// The secret that agents and their collector share.
pub(crate) const API_KEY: &str = "TASSEOGRAPH_API_KEY";
/// The one before it, which a collector takes too until all agents have the new one.
pub(crate) const API_KEY_PREVIOUS: &str = "TASSEOGRAPH_API_KEY_PREVIOUS";
/// Overrides the host's name, and the configuration's.
pub(crate) const HOSTNAME: &str = "TASSEOGRAPH_HOSTNAME";

/// For who has no collector's configuration.
pub(crate) const COLLECTOR_MAKER: &str = "tasseograph collector --init makes one";
/// A configuration file is a page or two.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One thing to mend: which key, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) key: String,
    pub(crate) what: String,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.key, self.what)
        }
    }
}

/// A client's trust: whom it believes to be the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The host's own certificate store.
    HostStore,
    /// The certificates of one PEM file, and no others.
    File(std::path::PathBuf),
    /// Who holds the key of one of these, whatever else the certificate says. At least one.
    Pins(Vec<Pin>),
    /// Anyone.
    Anyone,
}

/// Fine, or what is wrong, in words.
pub(crate) type Checked = Result<(), String>;

/// Of a certificate and its key, each where its path can be used.
pub(crate) type CheckPair = dyn Fn(Option<&Path>, Option<&Path>) -> [Checked; 2];

/// How the checks look at the world. Each answer is `Err` with what is wrong, in words.
pub(crate) struct Probe<'a> {
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// A secret by its name: the variable, the file that `NAME_FILE` names, or a credential.
    pub(crate) secret: &'a dyn Fn(&str) -> Result<Option<String>, String>,
    /// Whether a file of certificates to trust can be used.
    pub(crate) ca_file: &'a dyn Fn(&Path) -> Result<(), String>,
    /// Whether this host has certificates to trust.
    pub(crate) host_store: &'a dyn Fn() -> Result<(), String>,
    /// Whether a certificate and its key can be used: problems of the first, of the second. Where
    /// only one of them has a path, that one is looked at.
    pub(crate) key_pair: &'a CheckPair,
    /// Whether a file can be made in the folder of this path.
    pub(crate) writable: &'a dyn Fn(&Path) -> Result<(), String>,
}

/// The problems of one file, as they are printed.
pub(crate) fn render(path: &Path, problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let mut out = format!("{}: {count}", path.display());
    for problem in problems {
        out.push_str(&format!("\n  {problem}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A world in which every file is good and the variables are those given.
    pub(super) fn with_probe<T>(
        variables: &[(&str, &str)],
        run: impl FnOnce(&Probe<'_>) -> T,
    ) -> T {
        let find = |name: &str| {
            let hit = variables.iter().find(|(known, _)| *known == name);
            hit.map(|(_, value)| (*value).to_owned())
        };
        run(&Probe {
            environment: &find,
            secret: &|name| Ok(find(name)),
            ca_file: &|_| Ok(()),
            host_store: &|| Ok(()),
            key_pair: &|_, _| [Ok(()), Ok(())],
            writable: &|_| Ok(()),
        })
    }

    #[test]
    fn problems_are_counted_and_listed() {
        let path = Path::new("/etc/tasseograph/collector.yaml");
        let one = [Problem::new("db_path", "no such folder")];
        let text = "/etc/tasseograph/collector.yaml: 1 problem\n  db_path: no such folder";
        assert_eq!(render(path, &one), text);
        let two = [one[0].clone(), Problem::new("", "not YAML")];
        assert!(render(path, &two).contains("2 problems\n"));
        assert!(render(path, &two).ends_with("\n  not YAML"));
    }
}
