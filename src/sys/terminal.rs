//! The terminal that a command prints to, where it is one.

use std::io::IsTerminal;

use super::env::Environment;

/// In columns; `None`: stdout is no terminal, or one that does not say.
pub(crate) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Whether to print in colour: to a terminal that has it, and to nobody who minds
/// (<https://no-color.org>).
pub(crate) fn colour(environment: &Environment) -> bool {
    let minds = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = environment.get("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && !minds && !dumb
}
