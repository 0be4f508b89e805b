//! What a collector and its hosts need before they run: `collector --init`, `agent-config`,
//! `host-key` and `--unit`.
//!
//! Makes what is missing and overwrites nothing. Opens no port, makes no connection, and asks the
//! network for nothing; runs before the daemons do, and never beside them.

mod init;
mod join;
mod texts;

use std::path::{Path, PathBuf};

use crate::config::{self, Front};
use crate::exit::Exit;
use crate::sys::certificate::Name;
use crate::sys::env::Environment;
use crate::sys::{files, host, out};
pub(crate) use init::init;
pub(crate) use join::{agent_config, host_key};

/// Where the units look.
const INSTALLED: &str = "/etc/tasseograph";
const CONFIG_FILE: &str = "collector.yaml";
const API_KEY_FILE: &str = "api_key";
const AGENT_FILE: &str = "agent.yaml";

/// How a command that cannot go on ends.
type Ended = (Exit, String);

/// A folder with a collector's configuration and what belongs to it.
struct Place {
    config: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// Paths in configurations are absolute, and text.
    fn of(config: &Path) -> Result<Self, Ended> {
        if config.is_dir() || config.as_os_str().as_encoded_bytes().ends_with(b"/") {
            let shown = files::quoted(config);
            return Err((
                Exit::Usage,
                format!("{shown} names a folder; name a file with --config"),
            ));
        }
        let absolute = std::path::absolute(config).ok().filter(|path| path.to_str().is_some());
        let folder = absolute.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        match (absolute, folder) {
            (Some(config), Some(folder)) => Ok(Self { config, folder }),
            _ => {
                let shown = files::quoted(config);
                Err((Exit::Usage, format!("{shown} cannot be used; name a file with --config")))
            }
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The units read this folder and no other.
    fn is_installed(&self) -> bool {
        self.folder == Path::new(INSTALLED)
    }

    /// How a command names this configuration, for a shell; nothing where it is the default.
    fn option(&self) -> String {
        if self.config == Path::new(INSTALLED).join(CONFIG_FILE) {
            return String::new();
        }
        format!(" -c {}", texts::word(&self.config.to_string_lossy()))
    }

    fn front(&self) -> Result<Front, Ended> {
        let failed = |reason: String| (Exit::Config, reason);
        let maker = config::COLLECTOR_MAKER;
        let bytes =
            files::read_made(&self.config, config::FILE_BYTES_MAX, maker).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        let front = config::front(&text);
        let front = front.map_err(|problems| failed(config::render(&self.config, &problems)))?;
        if front.listen.port == 0 {
            let shown = files::quoted(&self.config);
            let why = "its listen_addr has another port at each start; name one";
            return Err(failed(format!("{shown}: {why}")));
        }
        Ok(front)
    }
}

/// The unit of a daemon, for the program as it lies here.
pub(crate) fn unit(daemon: &str) -> Exit {
    let text = if daemon == "agent" { texts::AGENT_UNIT } else { texts::COLLECTOR_UNIT };
    Exit::ok_if(out::print(&texts::unit(text, host::program().as_deref())))
}

fn ended(result: Result<(), Ended>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        Err((exit, reason)) => {
            let hint = if files::is_forbidden(&reason) { "; run it as root" } else { "" };
            if !reason.is_empty() {
                out::complain(&(reason + hint));
            }
            exit
        }
    }
}

fn say(text: &str) -> Result<(), Ended> {
    // What could not be printed has been complained of.
    if out::print(text) { Ok(()) } else { Err((Exit::Failed, String::new())) }
}

/// How this program was called, for a shell; before it, as for any command, `sudo` who needs it.
fn called(environment: &Environment) -> (&'static str, String) {
    let sudo = if environment.get("SUDO_USER").is_some() { "sudo " } else { "" };
    (sudo, texts::word(&host::called()))
}

/// Where `name` listens on `port`.
fn url(name: &Name, port: u16) -> String {
    match name {
        Name::Address(std::net::IpAddr::V6(address)) => format!("https://[{address}]:{port}"),
        name => format!("https://{name}:{port}"),
    }
}
