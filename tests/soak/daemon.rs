//! A daemon of ours as a child process: started with a crash point or without, killed, watched.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::support::tasseograph;

/// How one of the two is started.
#[derive(Clone)]
pub(crate) struct Setup {
    /// `agent` or `collector`.
    pub(crate) role: &'static str,
    pub(crate) config: PathBuf,
    /// Its stderr, of all its lives.
    pub(crate) log: PathBuf,
    pub(crate) variables: Vec<(&'static str, String)>,
}

pub(crate) struct Daemon {
    child: Child,
}

impl Setup {
    pub(crate) fn start(&self, more: &[(&str, String)]) -> Daemon {
        let log = OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
        let mut command = tasseograph(&[self.role, "-c", self.config.to_str().unwrap()]);
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.envs(more.iter().map(|(name, value)| (*name, value)));
        let child = command.stdout(Stdio::null()).stderr(Stdio::from(log)).spawn().unwrap();
        Daemon { child }
    }

    /// The last lines that it said.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Daemon {
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it dies of itself within `limit`.
    pub(crate) fn dies_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// SIGSTOP, and every thread out of the kernel: a write that was under way has ended.
    pub(crate) fn freeze(&self) {
        let pid = self.child.id();
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(raw, Signal::STOP).unwrap();
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        crate::support::wait_until("all threads stop", || {
            let threads = std::fs::read_dir(&tasks).unwrap();
            threads.map(Result::unwrap).all(|thread| is_stopped(&thread.path()))
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The state is the first letter after the name, which stands in parentheses.
fn is_stopped(thread: &Path) -> bool {
    let stat = std::fs::read_to_string(thread.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
}

pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}
