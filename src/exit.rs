//! How the program ends: the codes of `sysexits.h` where one fits.

use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 64,
    Permission = 77,
    Config = 78,
}

impl Exit {
    pub(crate) fn ok_if(worked: bool) -> Self {
        if worked { Self::Ok } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
