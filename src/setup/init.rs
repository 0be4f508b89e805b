//! `tasseograph collector --init`: everything that a collector needs, and its own host's agent.

use std::net::IpAddr;
use std::path::Path;

use super::{AGENT_FILE, API_KEY_FILE, Ended, Place, called, ended, say, texts, url};
use crate::config::{self, Front, Pin};
use crate::exit::Exit;
use crate::sys::certificate::{self, Name, SigningKey};
use crate::sys::env::Environment;
use crate::sys::{clock, files, host, probe, random, tls};
use crate::wire::HostName;

const SECRET_MODE: u32 = 0o600;
/// The units' user reads these.
const SHARED_MODE: u32 = 0o644;
const LABEL_BYTES_MAX: usize = 63;
const NAME_RULE: &str = "a name is letters, digits, \"_\" and \"-\", its parts with one \".\" \
    between, 253 characters at most and 63 a part; no part begins or ends with \"-\", and the last \
    is no number";
const ANEW: &str = "move it away and run this again for another, from the same key";
const UNIT_FOLDER: &str = "/etc/systemd/system";
/// Where a package's or an administrator's unit may lie.
const UNIT_FOLDERS: &[&str] = &[
    UNIT_FOLDER,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const UNITS: &[(&str, &str)] = &[
    ("tasseograph-collector.service", texts::COLLECTOR_UNIT),
    ("tasseograph-agent.service", texts::AGENT_UNIT),
];

/// Without `names` the certificate is for this host's own.
pub(crate) fn init(config: &Path, names: &[String], environment: &Environment) -> Exit {
    ended(make_all(config, names, environment))
}

fn make_all(config: &Path, names: &[String], environment: &Environment) -> Result<(), Ended> {
    let names = names.iter().map(|name| parsed(name)).collect::<Result<Vec<_>, _>>()?;
    let place = Place::of(config)?;
    files::make_shared_folder(&place.folder).map_err(failed)?;
    let folder = place.folder.to_string_lossy();
    make(&place.config, &texts::collector(&folder), SHARED_MODE, "")?;
    let front = place.front()?;
    make_pair(&front, names)?;
    let key: String = random::bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
    let key_file = place.beside(API_KEY_FILE);
    make(&key_file, &format!("{key}\n"), SECRET_MODE, ", for root alone")?;
    check_key(&key_file)?;
    let identity = tls::server_identity(&front.tls_cert, &front.tls_key)
        .map_err(|error| (Exit::Config, error.cert.and(error.key).err().unwrap_or_default()))?;
    if let Some(what) = identity.expired(clock::wall()) {
        said(&front.tls_cert, format!("{what}; {ANEW}"))?;
    }
    let pin = identity.key_pin.to_string();
    let here = front.listen.address.filter(|address| !address.is_unspecified());
    let here = here.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let here = url(&Name::Address(here), front.listen.port);
    let agent = place.beside(AGENT_FILE);
    make_agent(&agent, &texts::agent(&folder, &here, &pin))?;
    check_pins(&agent, &identity.key_pin)?;
    if place.is_installed() {
        make_units()?;
    }
    say(&next(&place, &front, &pin, environment))
}

/// Who may not write there is told where he may.
fn failed(reason: String) -> Ended {
    let hint = if files::is_forbidden(&reason) {
        "; run it as root, or name a file in a folder of your own with --config"
    } else if files::is_missing(&reason) {
        "; make the one above it first"
    } else {
        ""
    };
    (Exit::Failed, reason + hint)
}

/// One that the collector would not start with is nobody's yet.
fn check_key(path: &Path) -> Result<(), Ended> {
    files::read(path, config::FILE_BYTES_MAX).map_err(failed)?;
    let alone = Environment::default().or_file(config::API_KEY, path);
    let checked = probe::with_probe(&alone, config::collector_key);
    checked.map(drop).map_err(|problem| {
        let shown = files::quoted(path);
        (Exit::Config, format!("{shown}: {}; move it away, and run this again", problem.what))
    })
}

fn parsed(name: &str) -> Result<Name, Ended> {
    if let Ok(address) = name.parse() {
        return Ok(Name::Address(address));
    }
    let shown = crate::kernel::escape_controls(name);
    let is_url = name.contains(['/', '[', ']']) || name.matches(':').count() == 1;
    let rule = if is_url { "leave out https://, brackets and port" } else { NAME_RULE };
    let wrong = || (Exit::Usage, format!("--name: \"{shown}\" is no address, and no name; {rule}"));
    if is_dns(name) { Ok(Name::Dns(name.to_owned())) } else { Err(wrong()) }
}

/// Parts of 1 to 63 characters (RFC 1035), none of which begins or ends with a hyphen; the last is
/// no number, which only a mistyped address has.
fn is_dns(name: &str) -> bool {
    let part = |part: &str| {
        (1..=LABEL_BYTES_MAX).contains(&part.len())
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    HostName::parse(name).is_some()
        && name.split('.').all(part)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Makes a file that is not there, and says which of the two it was.
fn make(path: &Path, text: &str, mode: u32, what: &str) -> Result<(), Ended> {
    let made = files::make(path, text.as_bytes(), mode);
    let made = made.map_err(failed)?;
    said(path, if made { format!("made{what}") } else { "there; kept as it is".to_owned() })
}

fn said(path: &Path, what: String) -> Result<(), Ended> {
    say(&format!("{}: {what}\n", path.display()))
}

/// A certificate that was taken away is made anew from its key, which agents know it by.
fn make_pair(front: &Front, given: Vec<Name>) -> Result<(), Ended> {
    let (cert, key) = (&front.tls_cert, &front.tls_key);
    if cert.exists() && !key.exists() {
        let (cert, key) = (files::quoted(cert), files::quoted(key));
        let why = format!("{cert} is there and its key {key} is not; put it there, or move {cert}");
        return Err((Exit::Config, why));
    }
    let kept = || "there; kept as it is".to_owned();
    if cert.exists() {
        said(key, kept())?;
        said(cert, kept())?;
        return check_names(cert, &given);
    }
    let pair = if key.exists() {
        SigningKey::read(key).map_err(|reason| (Exit::Config, reason))?
    } else {
        SigningKey::generate()
    };
    let names = names(front, given);
    let list = names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ");
    make(key, &pair.pem(), SECRET_MODE, ", for root alone")?;
    let text = pair.certificate(&names, clock::wall());
    make(cert, &text, SHARED_MODE, &format!(", for {list}"))
}

/// Who asks for names that a certificate does not have is told how to get them.
fn check_names(cert: &Path, given: &[Name]) -> Result<(), Ended> {
    let chain = tls::certificates(cert).map_err(|reason| (Exit::Config, reason))?;
    let has = chain.first().map(|first| certificate::names(first)).unwrap_or_default();
    let lacks = given.iter().filter(|name| !has.contains(name)).map(Name::to_string);
    let lacks = lacks.collect::<Vec<_>>().join(", ");
    if lacks.is_empty() {
        return Ok(());
    }
    said(cert, format!("does not name {lacks}; {ANEW}"))
}

/// An agent of another pin would refuse this collector. One that has none goes by something else.
fn check_pins(path: &Path, pin: &Pin) -> Result<(), Ended> {
    let text = files::read(path, config::FILE_BYTES_MAX).map_err(failed)?;
    match config::agent_pins(&String::from_utf8_lossy(&text)) {
        Some(pins) if !pins.is_empty() && !pins.contains(pin) => {
            said(path, format!("its tls_pin_sha256 is not this collector's; put {pin} into it"))
        }
        _ => Ok(()),
    }
}

/// The first is what agents are told. A name with a domain is known to others, an address too; a
/// bare one perhaps not.
fn names(front: &Front, given: Vec<Name>) -> Vec<Name> {
    let mut names = given;
    if names.is_empty() {
        let own = host::names().into_iter().filter(|name| is_dns(name));
        let (full, bare): (Vec<_>, Vec<_>) = own.partition(|name| name.contains('.'));
        let listens = front.listen.address.filter(|address| !address.is_unspecified());
        names.extend(listens.map(Name::Address));
        names.extend(full.into_iter().map(Name::Dns));
        names.extend(host::addresses().into_iter().map(Name::Address));
        names.extend(bare.into_iter().map(Name::Dns));
    }
    names.extend(loopback());
    let mut known = Vec::new();
    names.retain(|name| {
        !known.contains(name) && {
            known.push(name.clone());
            true
        }
    });
    names
}

/// How a host calls itself, whatever it is.
pub(super) fn loopback() -> [Name; 3] {
    let (v4, v6) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
    [Name::Dns("localhost".to_owned()), Name::Address(v4), Name::Address(v6)]
}

/// An example that nobody has touched says nothing, and points nowhere: it is filled in.
fn make_agent(path: &Path, text: &str) -> Result<(), Ended> {
    let there = path.exists().then(|| files::read(path, config::FILE_BYTES_MAX));
    if there.transpose().map_err(failed)?.as_deref() != Some(texts::AGENT.as_bytes()) {
        return make(path, text, SHARED_MODE, ", for this host's own agent");
    }
    files::replace_shared(path, text.as_bytes(), SHARED_MODE).map_err(failed)?;
    said(path, "was the example as it comes; filled in for this host's own agent".to_owned())
}

fn make_units() -> Result<(), Ended> {
    if !Path::new(UNIT_FOLDER).is_dir() {
        return Ok(());
    }
    for (name, text) in UNITS {
        let there = UNIT_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
        match there.into_iter().find(|path| path.exists()) {
            Some(path) => said(&path, "there; kept as it is".to_owned())?,
            None => {
                let text = texts::unit(text, host::program().as_deref());
                let missing = text.contains(texts::PROGRAM) && !Path::new(texts::PROGRAM).exists();
                let hint = format!("; put the program where it starts it: {}", texts::PROGRAM);
                let hint = if missing { &hint } else { "" };
                make(&Path::new(UNIT_FOLDER).join(name), &text, SHARED_MODE, hint)?;
            }
        }
    }
    Ok(())
}

/// What is left to do.
fn next(place: &Place, front: &Front, pin: &str, environment: &Environment) -> String {
    let (sudo, program) = called(environment);
    let of_config = place.option();
    let file = |name: &str| texts::word(&place.beside(name).to_string_lossy());
    let start = if place.is_installed() {
        let units = "tasseograph-collector tasseograph-agent";
        format!(
            "\nStart the collector and this host's agent:\n  {sudo}systemctl enable --now {units}\n"
        )
    } else {
        let keyed = format!("{sudo}{}_FILE={} {program}", config::API_KEY, file(API_KEY_FILE));
        format!(
            "\nStart the collector in one shell, and this host's agent in another:\n  \
             {keyed} collector{of_config}\n  {keyed} agent -c {}\n",
            file(AGENT_FILE)
        )
    };
    let reached = match super::join::reached(front, None) {
        Ok(reached) => reached,
        Err((_, why)) => return format!("{start}\nOther hosts cannot join yet: {why}\n"),
    };
    let lines = texts::agent_lines(&reached, pin).replace('\n', "\n  ");
    format!(
        "{start}\nAnother host, where the program is, joins by this:\n  \
         {sudo}{program} agent-config{of_config} HOST | ssh root@HOST sh\n\n\
         Or by hand, with what this prints as its api_key, and an agent.yaml:\n  \
         {sudo}{program} host-key{of_config} HOST\n\n  {}\n",
        lines.trim_end()
    )
}
