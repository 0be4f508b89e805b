//! The units as files: what they leave open, and what README.md says of them. How they behave is
//! tests/units/run.sh's.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{binary, run, skip, text};

/// Tenths: what `systemd-analyze security` gives at most. 0 is no access to anything.
const EXPOSURE_MAX: &str = "12";
const DAEMONS: [&str; 2] = ["agent", "collector"];

fn unit(daemon: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("systemd/tasseograph-{daemon}.service"))
}

fn settings(daemon: &str) -> Vec<String> {
    let text = std::fs::read_to_string(unit(daemon)).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Where a unit starts the program that is tested: its place, or the usual one where no unit sees
/// it.
pub(crate) fn program() -> String {
    let built = binary().to_str().unwrap().to_owned();
    let unseen = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let seen = !unseen.iter().any(|folder| Path::new(&built).starts_with(folder))
        && built.bytes().all(plain);
    if seen { built } else { "/usr/local/bin/tasseograph".to_owned() }
}

#[test]
fn the_units_leave_little_open() {
    for daemon in DAEMONS {
        let analysed = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true"])
            .arg(format!("--threshold={EXPOSURE_MAX}"))
            .arg(unit(daemon))
            .env("LC_ALL", "C.UTF-8")
            .output();
        let Ok(analysed) = analysed else { return skip("no systemd-analyze here") };
        let error = text(&analysed.stderr);
        if error.contains("unrecognized option") {
            return skip("this systemd-analyze looks at running units alone");
        }
        let shown = text(&analysed.stdout);
        assert!(shown.contains("Overall exposure level"), "{daemon}: {shown}{error}");
        assert!(analysed.status.success(), "{daemon}: {shown}{error}");
    }
}

/// What both need and no group of system calls has: without `flock` neither starts.
#[test]
fn the_filter_lets_through_what_the_program_calls() {
    for daemon in DAEMONS {
        let settings = settings(daemon);
        let filter = settings.iter().filter_map(|line| line.strip_prefix("SystemCallFilter="));
        let calls: Vec<_> = filter.flat_map(str::split_whitespace).collect();
        for call in ["flock", "ioctl", "madvise", "mremap", "uname"] {
            assert!(calls.contains(&call), "{daemon}: {call}");
        }
    }
}

#[test]
fn the_program_prints_the_units_for_where_it_lies() {
    for daemon in DAEMONS {
        let printed = text(&run(&[daemon, "--unit"]).stdout);
        let expected = std::fs::read_to_string(unit(daemon)).unwrap();
        assert_eq!(printed, expected.replace("/usr/local/bin/tasseograph", &program()));
    }
}

#[test]
fn readme_tells_the_units_limits() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let row = readme.lines().find(|line| line.starts_with("| memory, tasks and processor"));
    let row = row.expect("a row of README.md's limits");
    for daemon in DAEMONS {
        let told = row.split(daemon).nth(1).unwrap().split(" of ").next().unwrap();
        let limits = ["MemoryMax=", "TasksMax=", "CPUWeight="];
        let settings = settings(daemon);
        for line in
            settings.iter().filter(|line| limits.iter().any(|limit| line.starts_with(limit)))
        {
            assert!(told.contains(&format!("`{line}`")), "{daemon}: {line}: {told}");
        }
    }
}
