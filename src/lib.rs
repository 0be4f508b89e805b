//! Tasseograph reads the kernel's tea leaves: an agent on every bare-metal host ships new kernel
//! log records to a collector, the collector has an LLM read them for signs of failing hardware,
//! and operators query one SQLite file.
//!
//! # The map
//!
//! ```text
//!  host                              collector                                         endpoints
//!  /dev/kmsg ─▶ agent ──POST /ingest──▶ gate ─▶ tiny_http ─▶ ingest ─▶ store ◀─ workers ─▶ chain
//!              cursor   ◀─ next_seq ──                                   └─▶ sqlite3, report
//! ```
//!
//! Rooms are folders, one level deep. Those that *decide* touch no socket, file, clock,
//! environment, thread or log; `tests/it/house.rs` keeps that, and every arrow below.
//!
//! | room | holds | may use |
//! |---|---|---|
//! | `time` | wall and monotonic instants, spans, RFC 3339, backoff | |
//! | `kernel` | one record from any usual form; events; delta; cursor and gap arithmetic | `time` |
//! | `wire` | the agent-collector contract: encode, decode, limits | `kernel` `time` |
//! | `analysis` | signatures, prompt, reply -> verdict, evidence | `kernel` `time` |
//! | `llm` | Chat Completions codec; the endpoint chain as a machine | `analysis` `kernel` `time` |
//! | `config` | raw YAML -> checked settings; secrets | `wire` `kernel` `time` |
//! | `report` | findings and rows -> text | `analysis` `kernel` `time` |
//! | *do* | | |
//! | `sys` | clock, kmsg, HTTP client, TLS, files, sd_notify, log | *decide* |
//! | `store` | the only room that names rusqlite | *decide*, `sys` |
//! | `gate` | TCP, rustls, deadlines, one bounded request at a time | *decide*, `sys` |
//! | *edge* | | |
//! | `cli` | arguments -> Command | |
//! | `exit` | exit codes | |
//! | *compose* | | |
//! | `setup` | `collector --init`, `agent-config`, `host-key`, `--unit` | *decide*, `sys`, `exit` |
//! | `analyze` | the chain | all but `agent`, `collector`, `eval`, `gate`, `setup`, `store` |
//! | `eval` | endpoints measured on logs | all but `agent`, `collector`, `gate`, `setup`, `store` |
//! | `agent` | `tasseograph agent` | *decide*, `sys`, `exit` |
//! | `collector` | `collector`, `report`, `reanalyse` | all but `agent`, `setup` |
//!
//! What flows: bytes -> `kernel::Record` -> `kernel::Delta` -> `wire::Post` -> (stored) delta ->
//! `analysis::Prompt` -> `llm::Reply` -> `analysis::Verdict` -> rows -> reports.

mod agent;
mod analysis;
mod analyze;
mod cli;
mod collector;
mod config;
mod eval;
mod exit;
mod gate;
mod kernel;
mod llm;
mod report;
mod setup;
mod store;
mod sys;
mod time;
mod wire;

/// The whole program: arguments in, exit code out.
pub fn main() -> std::process::ExitCode {
    let environment = sys::env::Environment::read();
    let arguments: Vec<_> = std::env::args_os().collect();
    let monitor = cli::status_wanted(&arguments);
    let command = match cli::parse(arguments) {
        Ok(command) => command,
        Err(reason) => {
            if let Some(format) = monitor {
                return analyze::run_unknown(&reason, format).into();
            }
            sys::out::complain(&reason);
            return exit::Exit::Usage.into();
        }
    };
    sys::log::init(&environment);
    sys::cores::forbid();
    run(command, &environment).into()
}

/// For the benchmark of what a verdict costs, which cannot be told from outside: the records of one
/// question, and what is made of a reply to it.
pub struct Question(Vec<kernel::Record>);

impl Question {
    /// Of lines as /dev/kmsg gives them; what is no record is left out.
    pub fn of(lines: &[String]) -> Self {
        Self(lines.iter().filter_map(|line| kernel::Record::parse(line).ok()).collect())
    }

    /// The reply parsed, its evidence looked for, the floor under it, as it is stored. Nothing
    /// where the reply cannot be used.
    pub fn judge(&self, reply: &str) -> Option<String> {
        let model = analysis::Verdict::from_reply(reply, &self.0).ok()?;
        Some(analysis::settle(model, &self.0).issues_json())
    }
}

fn run(command: cli::Command, environment: &sys::env::Environment) -> exit::Exit {
    match command {
        cli::Command::Print(text) => exit::Exit::ok_if(sys::out::print(&text)),
        cli::Command::Agent { config, check_only, once } => {
            agent::run(&config, check_only, once, environment)
        }
        cli::Command::Collector { config, check_only } => {
            collector::run(&config, check_only, environment)
        }
        cli::Command::Init { config, names } => setup::init(&config, &names, environment),
        cli::Command::Unit { daemon } => setup::unit(daemon),
        cli::Command::AgentConfig { host, config, url } => {
            setup::agent_config(&host, &config, url.as_deref(), environment)
        }
        cli::Command::Analyze(wanted) => analyze::run(&wanted, environment),
        cli::Command::Explain { id } => analyze::run_explain(id.as_deref()),
        cli::Command::Eval(wanted) => eval::run(&wanted, environment),
        cli::Command::Report { db, query } => collector::report(&db, query.as_deref()),
        cli::Command::Reanalyse { db, which } => collector::reanalyse(&db, &which),
        cli::Command::HostKey { name, config } => setup::host_key(&name, &config, environment),
    }
}
