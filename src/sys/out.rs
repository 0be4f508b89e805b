//! What commands print, and how a command says that it cannot go on.

use std::io::{Write, stderr, stdout};

/// To stdout. A reader that has gone (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// To stderr, as `tasseograph: ...`.
pub(crate) fn complain(text: &str) {
    drop(writeln!(stderr().lock(), "tasseograph: {text}"));
}
