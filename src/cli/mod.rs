//! The command line: raw arguments -> `Command`. The only room that names lexopt.
//!
//! `table` has every command with its options, words and example. The parser, `--help`, the manual
//! page (`page`) and the tests are made from it, so a new command is one entry there.

mod page;
mod table;
mod wanted;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::prelude::*;

use page::{help, help_of};
use table::{COMMANDS, DB, Spec};
pub(crate) use wanted::{Analyze, Eval, Format, Way};

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
    /// A collector's files, where they are not there.
    Init {
        config: PathBuf,
        names: Vec<String>,
    },
    /// The systemd unit of `agent` or `collector`.
    Unit {
        daemon: &'static str,
    },
    /// What makes a host an agent's.
    AgentConfig {
        host: String,
        config: PathBuf,
        url: Option<String>,
    },
    Analyze(Analyze),
    Eval(Eval),
    Report {
        db: PathBuf,
        query: Option<String>,
    },
    /// Deltas put back, to be analysed again.
    Reanalyse {
        db: PathBuf,
        which: Which,
    },
    /// What a signature means; the list of all without an id.
    Explain {
        id: Option<String>,
    },
    /// The key of the host of this name.
    HostKey {
        name: String,
        /// The collector's, beside which its key lies.
        config: PathBuf,
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
    let see = |error: String| format!("{error}; see tasseograph {} --help", spec.name);
    let given = Given::read(&mut parser, spec).map_err(|error| see(error.to_string()))?;
    let Some(given) = given else { return Ok(Command::Print(help_of(spec))) };
    (spec.make)(&given).map_err(|error| see(format!("{}: {error}", spec.name)))
}

/// In which form a monitoring system wants to be told, also by a command line that cannot be used.
pub(crate) fn status_wanted(arguments: &[OsString]) -> Option<Format> {
    let any = |words: &[&str]| arguments.iter().any(|given| words.iter().any(|word| given == word));
    let format = if any(&["json", "--format=json"]) { Format::Json } else { Format::Text };
    any(&["--exit-status"]).then_some(format)
}

/// The options and the argument of one command as they were given.
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

    /// Given more than once, or with commas.
    fn list(&self, name: &str) -> Vec<String> {
        let given = self.values.iter().filter(|(known, _)| *known == name);
        let given = given.map(|(_, value)| value.to_string_lossy().into_owned());
        given.flat_map(|value| value.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    fn argument(&self) -> Option<&OsStr> {
        self.argument.as_deref()
    }

    fn host(&self) -> Result<String, String> {
        let missing = "it needs the name of a host";
        Ok(self.argument().ok_or(missing)?.to_string_lossy().into_owned())
    }

    fn db(&self) -> PathBuf {
        self.path("db").unwrap_or_else(|| DB.into())
    }
}

#[cfg(test)]
mod tests {
    use super::table::{AGENT_CONFIG, COLLECTOR_CONFIG};
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
        let analyze = |input, config: Option<&str>, format, exit_status| {
            let config = config.map(PathBuf::from);
            Command::Analyze(Analyze { input, config, format, exit_status })
        };
        let eval = |config: Option<&str>, format, way| {
            let config = config.map(PathBuf::from);
            Command::Eval(Eval { corpus: "d".into(), config, format, baseline: false, way })
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
            (
                "collector --init --name a,10.0.0.1 --name b -c x",
                Command::Init {
                    config: "x".into(),
                    names: ["a", "10.0.0.1", "b"].map(String::from).to_vec(),
                },
            ),
            ("collector --unit", Command::Unit { daemon: "collector" }),
            ("agent --unit", Command::Unit { daemon: "agent" }),
            (
                "agent-config web-1 --url https://c:1",
                Command::AgentConfig {
                    host: "web-1".into(),
                    config: COLLECTOR_CONFIG.into(),
                    url: Some("https://c:1".into()),
                },
            ),
            ("analyze", analyze(Input::Ring, None, Format::Text, false)),
            ("analyze --format=text -", analyze(Input::Stdin, None, Format::Text, false)),
            (
                "analyze f -c x --format json --exit-status",
                analyze(Input::File("f".into()), Some("x"), Format::Json, true),
            ),
            ("eval --corpus d", eval(None, Format::Text, Way::Ask { runs: 1, resume: None })),
            (
                "eval --corpus d --repeat 3 --resume s -c x --format json",
                eval(Some("x"), Format::Json, Way::Ask { runs: 3, resume: Some("s".into()) }),
            ),
            ("eval --corpus d --answers a", eval(None, Format::Text, Way::Score("a".into()))),
            (
                "eval --corpus d --export-prompts e -c x",
                eval(Some("x"), Format::Text, Way::Export("e".into())),
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
            ("explain", Command::Explain { id: None }),
            ("explain edac-ce", Command::Explain { id: Some("edac-ce".into()) }),
            (
                "host-key web-1",
                Command::HostKey { name: "web-1".into(), config: COLLECTOR_CONFIG.into() },
            ),
            ("host-key web-1 -c x", Command::HostKey { name: "web-1".into(), config: "x".into() }),
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
            (
                "reanalyse",
                "reanalyse: it needs to be told what, or --all; see tasseograph reanalyse --help",
            ),
            ("reanalyse --db x", "reanalyse: it needs to be told what, or --all"),
            ("reanalyse --all --id 1", "reanalyse: it takes --all or a part of it, not both"),
            ("analyze --format xml", "analyze: --format \"xml\" is not text or json; see tasseo"),
            ("eval", "eval: it needs --corpus; see tasseograph eval --help"),
            ("eval --corpus d --repeat 0", "eval: --repeat \"0\" is outside 1..=100; see"),
            ("eval --corpus d --repeat x", "eval: --repeat \"x\" is outside 1..=100"),
            (
                "eval --corpus d --answers a --export-prompts e",
                "eval: it takes --export-prompts or",
            ),
            ("eval --corpus d --answers a --resume s", "eval: --repeat and --resume are for"),
            ("eval --corpus d --export-prompts e", "eval: --export-prompts needs --config"),
            ("host-key", "host-key: it needs the name of a host; see tasseograph host-key --help"),
            ("agent-config", "agent-config: it needs the name of a host; see"),
            ("collector --name a", "collector: --name goes with --init; see"),
            ("collector --init --unit", "collector: it takes one of --check-config, --init and"),
            ("host-key a b", "unexpected argument \"b\""),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.starts_with(start), "{line}: {error}");
        }
    }

    /// A terminal that nobody has made larger.
    const SCREEN: (usize, usize) = (24, 80);

    #[test]
    fn every_help_fits_a_screen_and_every_example_parses() {
        let printed = |line: &str| match parse_line(line) {
            Ok(Command::Print(text)) => text,
            other => panic!("{line} gives {other:?}"),
        };
        let fits = |help: &str| {
            assert!(help.lines().count() <= SCREEN.0, "{help}");
            assert!(help.lines().all(|line| line.chars().count() < SCREEN.1), "{help}");
            assert!(help.contains("\nexample: "), "{help}");
        };
        let manual = printed("man");
        for spec in COMMANDS {
            let help = printed(&format!("{} --help", spec.name));
            fits(&help);
            let example = spec.example.split("tasseograph ").nth(1).unwrap();
            let example = example.split(" |").next().unwrap();
            let line = example.replace("'SELECT * FROM hosts'", "SQL");
            assert!(parse_line(&line).is_ok(), "{}", spec.example);
            assert!(
                manual.contains(&format!("\n.SS tasseograph {}", spec.name.replace('-', "\\-")))
            );
            for option in spec.options {
                assert!(help.contains(&format!("--{}", option.long)), "{help}");
            }
        }
        for flag in ["-h", "--help"] {
            let help = printed(flag);
            fits(&help);
            assert!(COMMANDS.iter().all(|spec| help.contains(spec.what)), "{help}");
        }
    }

    #[test]
    fn commands_come_in_their_own_words() {
        let mut names: Vec<_> = COMMANDS.iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COMMANDS.len(), "each once");
        for spec in COMMANDS {
            assert!(spec.example.contains(&format!("tasseograph {}", spec.name)), "{}", spec.name);
            assert!(spec.more.ends_with('.'), "{}: paragraphs end", spec.name);
            assert!(!spec.what.ends_with('.'), "{}: lines do not", spec.name);
        }
    }
}
