//! The command line: raw arguments -> `Command`. The only file that names lexopt.
//!
//! One table of commands and options feeds the parser, `--help` and the tests.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

/// What to do, with every default applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Help or the version.
    Print(String),
    Agent {
        config: PathBuf,
        check_only: bool,
        once: bool,
    },
    Collector {
        config: PathBuf,
        check_only: bool,
    },
    Analyze {
        input: Input,
        config: Option<PathBuf>,
    },
    Report {
        db: PathBuf,
        query: Option<String>,
    },
    /// Deltas put back, to be analysed again.
    Reanalyse {
        db: PathBuf,
        which: Which,
    },
    /// The key of the host of this name.
    HostKey {
        name: String,
    },
}

/// What `analyze` reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// This host's kernel log.
    Ring,
    Stdin,
    File(PathBuf),
}

/// The filters of `reanalyse` as they were given; none of them with `--all`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Which {
    pub(crate) id: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
}

struct Spec {
    name: &'static str,
    arguments: &'static str,
    what: &'static str,
    options: &'static [Opt],
    example: &'static str,
}

struct Opt {
    short: Option<char>,
    long: &'static str,
    value: &'static str,
    what: &'static str,
}

const fn opt(
    short: Option<char>,
    long: &'static str,
    value: &'static str,
    what: &'static str,
) -> Opt {
    Opt { short, long, value, what }
}

const AGENT_CONFIG: &str = "/etc/tasseograph/agent.yaml";
const COLLECTOR_CONFIG: &str = "/etc/tasseograph/collector.yaml";
const DB: &str = "/var/lib/tasseograph/tasseograph.db";
const CHECK: Opt = opt(None, "check-config", "", "check the configuration, and exit");

const COMMANDS: &[Spec] = &[
    Spec {
        name: "agent",
        arguments: "",
        what: "ship this host's new kernel log records to a collector",
        options: &[
            opt(Some('c'), "config", "FILE", "default /etc/tasseograph/agent.yaml"),
            CHECK,
            opt(None, "once", "", "poll once, and exit"),
        ],
        example: "tasseograph agent --once -c agent.yaml",
    },
    Spec {
        name: "collector",
        arguments: "",
        what: "receive, store and analyse the records of all agents",
        options: &[
            opt(Some('c'), "config", "FILE", "default /etc/tasseograph/collector.yaml"),
            CHECK,
        ],
        example: "tasseograph collector -c collector.yaml",
    },
    Spec {
        name: "analyze",
        arguments: "[FILE|-]",
        what: "judge one kernel log: a file in any usual form, - for stdin, or this host's",
        options: &[opt(
            Some('c'),
            "config",
            "FILE",
            "ask the endpoints of this collector's configuration; without it, the signature table",
        )],
        example: "dmesg | tasseograph analyze -",
    },
    Spec {
        name: "report",
        arguments: "",
        what: "print what the collector has found",
        options: &[
            opt(None, "db", "FILE", "default /var/lib/tasseograph/tasseograph.db"),
            opt(None, "query", "SQL", "print the answer to this query instead"),
        ],
        example: "tasseograph report --query 'SELECT * FROM hosts'",
    },
    Spec {
        name: "reanalyse",
        arguments: "",
        what: "have the collector analyse again what is analysed or given up",
        options: &[
            opt(None, "db", "FILE", "default /var/lib/tasseograph/tasseograph.db"),
            opt(None, "id", "N", "the delta of this number"),
            opt(None, "host", "NAME", "of this host"),
            opt(None, "status", "STATUS", "ok, warning, critical, llm_unavailable or error"),
            opt(None, "since", "TIME", "read at this time or later: 2026-02-03T12:30:00Z"),
            opt(None, "until", "TIME", "read before this time"),
            opt(None, "all", "", "everything; otherwise all that is given has to fit"),
        ],
        example: "tasseograph reanalyse --status error",
    },
    Spec {
        name: "host-key",
        arguments: "NAME",
        what: "print the key of one host, made from the collector's",
        options: &[],
        example: "tasseograph host-key web-1",
    },
];

/// `Err` is the usage error, in words.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let spec = match parser.next().map_err(|error| error.to_string())? {
        None => return Err(format!("no command given\n{}", help())),
        Some(Short('h') | Long("help")) => return Ok(Command::Print(help())),
        Some(Short('V') | Long("version")) => match parser.next() {
            Ok(None) => {
                return Ok(Command::Print(format!("tasseograph {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Ok(Some(argument)) => return Err(argument.unexpected().to_string()),
            Err(error) => return Err(error.to_string()),
        },
        Some(Value(name)) => {
            let known = COMMANDS.iter().find(|spec| *spec.name == *name);
            known.ok_or_else(|| format!("there is no command {name:?}\n{}", help()))?
        }
        Some(other) => return Err(other.unexpected().to_string()),
    };
    let given = Given::read(&mut parser, spec)
        .map_err(|error| format!("{error}; see tasseograph {} --help", spec.name))?;
    let Some(given) = given else { return Ok(Command::Print(help_of(spec))) };
    given.into_command(spec)
}

/// The options of one command as they were given.
#[derive(Default)]
struct Given {
    values: Vec<(&'static str, OsString)>,
    flags: Vec<&'static str>,
    argument: Option<OsString>,
}

impl Given {
    /// `None`: help was asked for.
    fn read(parser: &mut lexopt::Parser, spec: &Spec) -> Result<Option<Self>, lexopt::Error> {
        let mut given = Self::default();
        while let Some(argument) = parser.next()? {
            if matches!(argument, Short('h') | Long("help")) {
                return Ok(None);
            }
            let option = spec.options.iter().find(|option| match &argument {
                Short(short) => option.short == Some(*short),
                Long(long) => option.long == *long,
                Value(_) => false,
            });
            match (option, argument) {
                (Some(option), _) if option.value.is_empty() => given.flags.push(option.long),
                (Some(option), _) => given.values.push((option.long, parser.value()?)),
                (None, Value(value)) if !spec.arguments.is_empty() && given.argument.is_none() => {
                    given.argument = Some(value);
                }
                (None, argument) => return Err(argument.unexpected()),
            }
        }
        Ok(Some(given))
    }

    fn flag(&self, name: &str) -> bool {
        self.flags.contains(&name)
    }

    /// The last one given counts.
    fn value(&self, name: &str) -> Option<&OsString> {
        self.values.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// A slip must not cost the price of everything.
    fn which(&self) -> Result<Which, String> {
        let which = Which {
            id: self.text("id"),
            host: self.text("host"),
            status: self.text("status"),
            since: self.text("since"),
            until: self.text("until"),
        };
        match (which == Which::default(), self.flag("all")) {
            (true, false) => Err("reanalyse needs to be told what, or --all; see tasseograph \
                                  reanalyse --help"
                .to_owned()),
            (false, true) => Err("reanalyse takes --all or a part of it, not both; see \
                                  tasseograph reanalyse --help"
                .to_owned()),
            _ => Ok(which),
        }
    }

    fn into_command(self, spec: &Spec) -> Result<Command, String> {
        let config = self.path("config");
        let check_only = self.flag("check-config");
        Ok(match spec.name {
            "agent" => Command::Agent {
                config: config.unwrap_or_else(|| AGENT_CONFIG.into()),
                check_only,
                once: self.flag("once"),
            },
            "collector" => Command::Collector {
                config: config.unwrap_or_else(|| COLLECTOR_CONFIG.into()),
                check_only,
            },
            "report" => Command::Report {
                db: self.path("db").unwrap_or_else(|| DB.into()),
                query: self.text("query"),
            },
            "reanalyse" => Command::Reanalyse {
                db: self.path("db").unwrap_or_else(|| DB.into()),
                which: self.which()?,
            },
            "host-key" => {
                let missing = "host-key needs the name of a host; see tasseograph host-key --help";
                let name = self.argument.ok_or(missing)?;
                Command::HostKey { name: name.to_string_lossy().into_owned() }
            }
            _ => {
                let input = match self.argument {
                    None => Input::Ring,
                    Some(dash) if dash == "-" => Input::Stdin,
                    Some(path) => Input::File(path.into()),
                };
                Command::Analyze { input, config }
            }
        })
    }
}

fn help() -> String {
    let mut out = String::from(
        "Reads kernel logs for the first signs of failing hardware.\n\n\
         usage: tasseograph COMMAND\n\n",
    );
    for spec in COMMANDS {
        out.push_str(&format!("  {:<10} {}\n", spec.name, spec.what));
    }
    out.push_str("\n  -h, --help      this, or with a command its options\n");
    out.push_str("  -V, --version\n\n");
    out.push_str(&format!("example: {}\n", COMMANDS[2].example));
    out
}

fn help_of(spec: &Spec) -> String {
    let arguments =
        if spec.arguments.is_empty() { String::new() } else { format!(" {}", spec.arguments) };
    let what = spec.what;
    let mut out = format!("usage: tasseograph {} [OPTIONS]{arguments}\n\n{what}\n\n", spec.name);
    for option in spec.options {
        let short = option.short.map_or("    ".to_owned(), |short| format!("-{short}, "));
        let long = format!("{short}--{} {}", option.long, option.value);
        out.push_str(&format!("  {long:<22} {}\n", option.what));
    }
    out.push_str(&format!("  {:<22} this\n\nexample: {}\n", "-h, --help", spec.example));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(format!("tasseograph {line}").split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_with_their_defaults() {
        let agent = |config: &str, check_only, once| Command::Agent {
            config: config.into(),
            check_only,
            once,
        };
        for (line, expected) in [
            ("agent", agent(AGENT_CONFIG, false, false)),
            ("agent -c x --once", agent("x", false, true)),
            ("agent --config=x --check-config", agent("x", true, false)),
            ("agent -cx -cy", agent("y", false, false)),
            (
                "collector",
                Command::Collector { config: COLLECTOR_CONFIG.into(), check_only: false },
            ),
            ("analyze", Command::Analyze { input: Input::Ring, config: None }),
            ("analyze -", Command::Analyze { input: Input::Stdin, config: None }),
            (
                "analyze f -c x",
                Command::Analyze { input: Input::File("f".into()), config: Some("x".into()) },
            ),
            ("report", Command::Report { db: DB.into(), query: None }),
            (
                "reanalyse --all --db x",
                Command::Reanalyse { db: "x".into(), which: Which::default() },
            ),
            (
                "reanalyse --host web-1 --since=2026-02-03T12:30:00Z",
                Command::Reanalyse {
                    db: DB.into(),
                    which: Which {
                        host: Some("web-1".into()),
                        since: Some("2026-02-03T12:30:00Z".into()),
                        ..Which::default()
                    },
                },
            ),
            ("host-key web-1", Command::HostKey { name: "web-1".into() }),
        ] {
            assert_eq!(parse_line(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, start) in [
            ("", "no command given"),
            ("agnet", "there is no command \"agnet\""),
            ("--frobnicate", "invalid option '--frobnicate'"),
            ("agent --frobnicate", "invalid option '--frobnicate'; see tasseograph agent --help"),
            ("agent file", "unexpected argument \"file\""),
            ("--version file", "unexpected argument \"file\""),
            ("agent --config", "missing argument for option '--config'"),
            ("analyze a b", "unexpected argument \"b\""),
            ("collector --once", "invalid option '--once'"),
            ("reanalyse", "reanalyse needs to be told what, or --all; see tasseograph reanalyse"),
            ("reanalyse --db x", "reanalyse needs to be told what, or --all"),
            ("reanalyse --all --id 1", "reanalyse takes --all or a part of it, not both"),
            ("host-key", "host-key needs the name of a host; see tasseograph host-key --help"),
            ("host-key a b", "unexpected argument \"b\""),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.starts_with(start), "{line}: {error}");
        }
    }

    #[test]
    fn help_of_every_command_fits_a_screen_and_every_example_parses() {
        for spec in COMMANDS {
            let Ok(Command::Print(help)) = parse_line(&format!("{} --help", spec.name)) else {
                panic!("{} --help prints nothing", spec.name);
            };
            assert!(help.lines().count() <= 24, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
            let example = spec.example.split("tasseograph ").nth(1).unwrap();
            let line = example.replace("'SELECT * FROM hosts'", "SQL");
            assert!(parse_line(&line).is_ok(), "{example}");
        }
        for flag in ["-h", "--help"] {
            let Ok(Command::Print(help)) = parse_line(flag) else { panic!("{flag}") };
            assert!(COMMANDS.iter().all(|spec| help.contains(spec.what)), "{help}");
        }
    }
}
