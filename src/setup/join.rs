//! `tasseograph agent-config HOST`: what makes a host an agent's, to be pasted or piped there; and
//! `tasseograph host-key HOST`, its key alone.

use std::net::IpAddr;
use std::path::Path;

use super::init::loopback;
use super::{API_KEY_FILE, Ended, Place, called, ended, say, texts, url};
use crate::config::{self, API_KEY, Front, Secret, Url};
use crate::exit::Exit;
use crate::sys::digest::Mac;
use crate::sys::env::Environment;
use crate::sys::{certificate, out, probe, tls};
use crate::wire::{HostKey, HostName};

const SAY_HOW: &str = "say how they reach it with agent-config --url https://NAME:PORT";

/// `given` is where the host reaches the collector; without it, the first name of its certificate.
pub(crate) fn agent_config(
    host: &str,
    config: &Path,
    given: Option<&str>,
    environment: &Environment,
) -> Exit {
    ended(print(host, config, given, environment))
}

fn print(
    host: &str,
    config: &Path,
    given: Option<&str>,
    environment: &Environment,
) -> Result<(), Ended> {
    let host = named(host)?;
    let place = Place::of(config)?;
    let front = place.front()?;
    let identity = tls::server_identity(&front.tls_cert, &front.tls_key)
        .map_err(|error| (Exit::Config, error.cert.and(error.key).err().unwrap_or_default()))?;
    let reached = reached(&front, given)?;
    let key = key(&host, &place, environment)?.encode();
    let again = again(&host, &place, given, environment);
    say(&texts::join(host.as_str(), &key, &reached, &identity.key_pin.to_string(), &again))
}

/// `config` is the collector's; it need not be there.
pub(crate) fn host_key(host: &str, config: &Path, environment: &Environment) -> Exit {
    let printed = named(host).and_then(|host| {
        let key = key(&host, &Place::of(config)?, environment)?;
        say(&format!("{}\n", key.encode()))
    });
    ended(printed)
}

fn named(host: &str) -> Result<HostName, Ended> {
    let shown = crate::kernel::escape_controls(host);
    let unnamed = (Exit::Usage, format!("\"{shown}\" cannot be used; {}", HostName::RULE));
    HostName::parse(host).ok_or(unnamed)
}

/// Made from the collector's key, of the environment or else beside its configuration.
fn key(host: &HostName, place: &Place, environment: &Environment) -> Result<HostKey, Ended> {
    let environment = environment.or_file(API_KEY, &place.beside(API_KEY_FILE));
    let key = probe::with_probe(&environment, config::collector_key)
        .map_err(|problem| (Exit::Config, problem.to_string()))?;
    if key.is_short() {
        out::complain(&format!("{API_KEY}: {}", Secret::SHORT));
    }
    let mac = Mac::new(key.expose().as_bytes()).sign(host.as_str().as_bytes());
    Ok(HostKey { host: host.clone(), mac })
}

/// The command that was given.
fn again(host: &HostName, place: &Place, given: Option<&str>, environment: &Environment) -> String {
    let (sudo, program) = called(environment);
    let url = given.map(|url| format!(" --url {}", texts::word(url))).unwrap_or_default();
    format!("{sudo}{program} agent-config{}{url} {host}", place.option())
}

/// The collector's URL for other hosts.
pub(super) fn reached(front: &Front, given: Option<&str>) -> Result<String, Ended> {
    if let Some(given) = given {
        let shown = crate::kernel::escape_controls(given);
        let wrong = |what: &str| (Exit::Usage, format!("--url: \"{shown}\" is not {what}"));
        let parsed = Url::parse(given).map_err(wrong)?;
        return if parsed.https { Ok(given.to_owned()) } else { Err(wrong("an https URL")) };
    }
    if let Some(address) = front.listen.address.filter(IpAddr::is_loopback) {
        let why = format!("the collector listens on {address} alone; change its listen_addr");
        return Err((Exit::Config, format!("{why}, or {SAY_HOW}")));
    }
    let chain = tls::certificates(&front.tls_cert).map_err(|reason| (Exit::Config, reason))?;
    let names = chain.first().map(|first| certificate::names(first)).unwrap_or_default();
    let loopback = loopback();
    let mut plain = names.iter().map(|name| url(name, front.listen.port));
    let known = names.iter().position(|name| !loopback.contains(name));
    known.and_then(|at| plain.nth(at)).filter(|url| Url::parse(url).is_ok()).ok_or_else(|| {
        let why = "the collector's certificate has no name that other hosts know";
        (Exit::Config, format!("{why}; {SAY_HOW}"))
    })
}
