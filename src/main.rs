//! The one call: everything else is in the library.

fn main() -> std::process::ExitCode {
    tasseograph::main()
}
