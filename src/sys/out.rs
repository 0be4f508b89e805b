//! What commands print, and how a command says that it cannot go on.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};

/// To stdout. A reader that has gone (`| head`) is no error; with a disk that is full this says so,
/// and is `false`.
pub(crate) fn print(text: &str) -> bool {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("cannot write the output: {}", super::files::cause(&error)));
            false
        }
        _ => true,
    }
}

/// To stderr, as `tasseograph: ...`.
pub(crate) fn complain(text: &str) {
    drop(writeln!(stderr().lock(), "tasseograph: {text}"));
}

/// How far a long command is: in place of what it said last, where stderr is a terminal, and
/// nowhere else.
pub(crate) fn progress(text: &str) {
    let mut to = stderr().lock();
    if to.is_terminal() {
        drop(write!(to, "\r\x1b[K{text}").and_then(|()| to.flush()));
    }
}
