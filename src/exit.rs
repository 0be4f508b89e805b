//! How the program ends: the codes of `sysexits.h` where one fits, and those of monitoring plugins
//! where a status is asked for.

use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Failed,
    Usage,
    Permission,
    Config,
    /// Something was found, or nobody knows.
    Warning,
    Critical,
    Unknown,
}

impl Exit {
    pub(crate) fn ok_if(worked: bool) -> Self {
        if worked { Self::Ok } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed | Exit::Warning => 1,
            Exit::Critical => 2,
            Exit::Unknown => 3,
            Exit::Usage => 64,
            Exit::Permission => 77,
            Exit::Config => 78,
        })
    }
}
