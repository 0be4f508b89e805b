//! The table of commands: arguments, options, what they do, an example of each, and the command
//! that they make. The parser, `--help` and the manual page are made from it.

use super::{Analyze, Command, Eval, Given, Which};

/// One command. All but `make` is text for people.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    /// A line.
    pub(super) what: &'static str,
    /// A paragraph.
    pub(super) more: &'static str,
    pub(super) options: &'static [Opt],
    pub(super) example: &'static str,
    /// `Err` is what is wrong with what was given.
    pub(super) make: fn(&Given) -> Result<Command, String>,
}

/// One option; without a value it is a flag.
pub(super) struct Opt {
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    pub(super) value: &'static str,
    pub(super) what: &'static str,
}

const fn opt(long: &'static str, value: &'static str, what: &'static str) -> Opt {
    Opt { short: None, long, value, what }
}

const fn config(what: &'static str) -> Opt {
    Opt { short: Some('c'), long: "config", value: "FILE", what }
}

pub(super) const AGENT_CONFIG: &str = "/etc/tasseograph/agent.yaml";
pub(super) const COLLECTOR_CONFIG: &str = "/etc/tasseograph/collector.yaml";
pub(super) const DB: &str = "/var/lib/tasseograph/tasseograph.db";

const CHECK: Opt = opt("check-config", "", "check the configuration, and exit");
const UNIT: Opt = opt("unit", "", "print the systemd unit, and exit");
const COLLECTOR_FILE: Opt = config("the configuration; default /etc/tasseograph/collector.yaml");
const DB_FILE: Opt = opt("db", "FILE", "the database; default /var/lib/tasseograph/tasseograph.db");

const ASKED: Opt = config(
    "ask the endpoints of this collector's configuration; without it the signature table alone",
);
const FORMAT: Opt = opt("format", "FORMAT", "text, the default, or json");

pub(super) const WHAT: &str = "reads kernel logs for the first signs of failing hardware";

pub(super) const MORE: &str = "An agent on every host ships the kernel's log records to one \
    collector, over TLS. The collector keeps them in one SQLite file, and has a language model, or \
    a table of signatures, read them for the first signs of failing hardware.";

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "agent",
        arguments: "",
        what: "ship this host's new kernel log records to a collector",
        more: "Runs until it is ended. It reads the kernel log from standard input where that is \
               /dev/kmsg, as in its unit, and opens it otherwise, which takes root or CAP_SYSLOG.",
        options: &[
            config("the configuration; default /etc/tasseograph/agent.yaml"),
            CHECK,
            opt("once", "", "poll once, and exit"),
            UNIT,
        ],
        example: "tasseograph agent --once -c agent.yaml",
        make: |given| {
            if given.flag("unit") {
                return Ok(Command::Unit { daemon: "agent" });
            }
            Ok(Command::Agent {
                config: given.path("config").unwrap_or_else(|| AGENT_CONFIG.into()),
                check_only: given.flag("check-config"),
                once: given.flag("once"),
            })
        },
    },
    Spec {
        name: "collector",
        arguments: "",
        what: "receive, store and analyse the records of all agents",
        more: "Runs until it is ended, at any instant; nothing needs to be shut down.",
        options: &[
            COLLECTOR_FILE,
            CHECK,
            opt(
                "init",
                "",
                "make the configuration, and beside it a certificate with its key, an api_key and \
                 an agent.yaml for this host; overwrites nothing, and says what to do next",
            ),
            opt(
                "name",
                "NAME,...",
                "with --init: the names or addresses that agents may use; the first is what \
                 agent-config tells them; default: this host's own",
            ),
            UNIT,
        ],
        example: "tasseograph collector --init --name collector.example.org,192.0.2.10",
        make: collector,
    },
    Spec {
        name: "agent-config",
        arguments: "HOST",
        what: "print the commands that make a host an agent of this collector",
        more: "For a root shell on that host, where the program has to be: its agent.yaml with the \
               collector's pin, a key of its own, and its unit. What is there is kept under \
               another name. The key is made from TASSEOGRAPH_API_KEY, or without it from the \
               file api_key beside the configuration.",
        options: &[
            COLLECTOR_FILE,
            opt(
                "url",
                "URL",
                "how that host reaches the collector; default: the certificate's first name",
            ),
        ],
        example: "tasseograph agent-config web-1 | ssh root@web-1 sh",
        make: |given| {
            Ok(Command::AgentConfig {
                host: given.host()?,
                config: given.path("config").unwrap_or_else(|| COLLECTOR_CONFIG.into()),
                url: given.text("url"),
            })
        },
    },
    Spec {
        name: "analyze",
        arguments: "[FILE|-]",
        what: "judge one kernel log, and print what is found",
        more: "Reads a file in any usual form (dmesg, journalctl -k, syslog, /dev/kmsg), standard \
               input for -, or without an argument this host's own log, which takes root or \
               CAP_SYSLOG. No daemon is needed.",
        options: &[
            ASKED,
            FORMAT,
            opt("exit-status", "", "exit with 0 ok, 1 warning, 2 critical, 3 unknown"),
        ],
        example: "dmesg | tasseograph analyze -",
        make: |given| Analyze::read(given).map(Command::Analyze),
    },
    Spec {
        name: "eval",
        arguments: "",
        what: "measure endpoints on kernel logs with labels",
        more: "Has every log of a folder analysed, and tells what was found and missed.",
        options: &[
            opt("corpus", "DIR", "the folder of NAME.log and NAME.json files"),
            ASKED,
            FORMAT,
            opt("repeat", "N", "so many runs of each log, 1 to 100"),
            opt("resume", "FILE", "keep finished runs in it, and do none of them again"),
            opt("baseline", "", "tell what two simple ways of raising alarms come to"),
            opt("export-prompts", "DIR", "write the questions into it, and ask nobody"),
            opt("answers", "DIR", "score the answers that are in it, and ask nobody"),
        ],
        example: "tasseograph eval --corpus incidents -c collector.yaml",
        make: |given| Eval::read(given).map(Command::Eval),
    },
    Spec {
        name: "explain",
        arguments: "[ID]",
        what: "tell what a signature means, and what to do",
        more: "ID is the signature of a finding, as in the database's issues. Without one, all \
               signatures are listed with their severity and category, and what only looks like \
               one.",
        options: &[],
        example: "tasseograph explain edac-ce",
        make: |given| {
            let id = given.argument().map(|id| id.to_string_lossy().into_owned());
            Ok(Command::Explain { id })
        },
    },
    Spec {
        name: "report",
        arguments: "",
        what: "print what the collector has found",
        more: "What needs someone comes first: silent hosts, what waits for its analysis, what was \
               given up, what was lost in the last week, then findings and hosts, the worst first. \
               It writes nothing to the database.",
        options: &[DB_FILE, opt("query", "SQL", "print the answer to this SELECT instead")],
        example: "tasseograph report --query 'SELECT * FROM hosts'",
        make: |given| Ok(Command::Report { db: given.db(), query: given.text("query") }),
    },
    Spec {
        name: "reanalyse",
        arguments: "",
        what: "have the collector analyse again what is analysed or given up",
        more: "All that is given has to be true of a delta. A collector that runs finds them \
               within a second; old results stay until new ones come.",
        options: &[
            DB_FILE,
            opt("id", "N", "the delta of this number"),
            opt("host", "NAME", "of this host"),
            opt("status", "STATUS", "ok, warning, critical, llm_unavailable or error"),
            opt("since", "TIME", "read at this time or later: 2026-02-03T12:30:00Z"),
            opt("until", "TIME", "read before this time"),
            opt("all", "", "everything"),
        ],
        example: "tasseograph reanalyse --status error",
        make: |given| Ok(Command::Reanalyse { db: given.db(), which: which(given)? }),
    },
    Spec {
        name: "host-key",
        arguments: "NAME",
        what: "print the key of one host, made from the collector's",
        more: "The collector's key is TASSEOGRAPH_API_KEY, or without it in the file api_key \
               beside the configuration. The key that is printed serves posts under that host's \
               name alone.",
        options: &[COLLECTOR_FILE],
        example: "tasseograph host-key web-1",
        make: |given| {
            Ok(Command::HostKey {
                name: given.host()?,
                config: given.path("config").unwrap_or_else(|| COLLECTOR_CONFIG.into()),
            })
        },
    },
    Spec {
        name: "man",
        arguments: "",
        what: "print the manual page of all commands",
        more: "In the language of man(1): pipe it into man -l -, or put it into a file \
               tasseograph.1 of a folder man1.",
        options: &[],
        example: "tasseograph man | man -l -",
        make: |_| Ok(Command::Print(super::page::manual())),
    },
];

fn collector(given: &Given) -> Result<Command, String> {
    let config = given.path("config").unwrap_or_else(|| COLLECTOR_CONFIG.into());
    let names = given.list("name");
    let mut asked = ["check-config", "init", "unit"].into_iter().filter(|flag| given.flag(flag));
    match (asked.next(), asked.next()) {
        (_, Some(_)) => Err("it takes one of --check-config, --init and --unit".to_owned()),
        (Some("init"), _) => Ok(Command::Init { config, names }),
        _ if !names.is_empty() => Err("--name goes with --init".to_owned()),
        (Some("unit"), _) => Ok(Command::Unit { daemon: "collector" }),
        (other, _) => Ok(Command::Collector { config, check_only: other.is_some() }),
    }
}

/// A slip must not cost the price of everything.
fn which(given: &Given) -> Result<Which, String> {
    let which = Which {
        id: given.text("id"),
        host: given.text("host"),
        status: given.text("status"),
        since: given.text("since"),
        until: given.text("until"),
    };
    match (which == Which::default(), given.flag("all")) {
        (true, false) => Err("it needs to be told what, or --all".to_owned()),
        (false, true) => Err("it takes --all or a part of it, not both".to_owned()),
        _ => Ok(which),
    }
}

/// A word and what it means.
pub(super) type Row = (&'static str, &'static str);

pub(super) const EXIT_CODES: &[Row] = &[
    ("0", "done; analyze ends so whatever it found, but with --exit-status"),
    (
        "1",
        "failed; analyze: or no line is in a known form, and nothing was found; eval: or a case \
         could not be analysed",
    ),
    ("1, 2, 3", "analyze --exit-status: warning, critical, unknown"),
    ("64", "wrong usage"),
    ("77", "no permission to read the kernel log"),
    ("78", "wrong configuration, an address in use, no certificate store"),
    ("143", "ended by SIGTERM; nothing needs to be shut down"),
];

pub(super) const ENVIRONMENT: &[Row] = &[
    ("TASSEOGRAPH_API_KEY", "the key that agents and collector share, or a host's own"),
    ("TASSEOGRAPH_API_KEY_PREVIOUS", "the key before it, which the collector takes as well"),
    ("TASSEOGRAPH_HOSTNAME", "the name that an agent reports, in place of hostname in agent.yaml"),
    (
        "TASSEOGRAPH_LOG",
        "error, warn, info (the default) or debug, or filters of env_logger; the log goes to \
         standard error",
    ),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "read instead of the host's certificate store"),
    (
        "NAME_FILE",
        "the file that holds the secret NAME, for the keys above and those of api_key_env; a \
         systemd credential NAME is read as well",
    ),
];

pub(super) const FILES: &[Row] = &[
    (AGENT_CONFIG, "the agent's configuration; the comments in it tell every key"),
    (COLLECTOR_CONFIG, "the collector's"),
    ("/etc/tasseograph/api_key", "the key, for root alone; the units hand it over"),
    ("/etc/tasseograph/cert.pem, key.pem", "the collector's certificate and its key"),
    (DB, "the database, for sqlite3 and tasseograph report"),
    (
        "/var/lib/tasseograph/last_timestamp",
        "how far the agent's records have been acknowledged; its spool lies beside it",
    ),
];
