//! What is wanted of `analyze` and `eval`, read from their options.

use std::path::PathBuf;

use super::{Given, Input};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Analyze {
    pub(crate) input: Input,
    /// A collector's, whose endpoints are asked.
    pub(crate) config: Option<PathBuf>,
    pub(crate) format: Format,
    /// The exit code tells the status.
    pub(crate) exit_status: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Eval {
    pub(crate) corpus: PathBuf,
    /// A collector's, whose endpoints are evaluated.
    pub(crate) config: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) baseline: bool,
    pub(crate) way: Way,
}

/// Where an evaluation has its answers from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// So many runs of each case, those that this file knows left out.
    Ask { runs: usize, resume: Option<PathBuf> },
    /// From a folder of answers that came from elsewhere.
    Score(PathBuf),
    /// Nowhere: the questions are written into a folder.
    Export(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

const RUNS_MAX: usize = 100;

impl Analyze {
    pub(super) fn read(given: &Given) -> Result<Self, String> {
        let input = match given.argument() {
            None => Input::Ring,
            Some(dash) if dash == "-" => Input::Stdin,
            Some(path) => Input::File(path.into()),
        };
        let (format, exit_status) = (Format::read(given)?, given.flag("exit-status"));
        Ok(Self { input, config: given.path("config"), format, exit_status })
    }
}

impl Eval {
    pub(super) fn read(given: &Given) -> Result<Self, String> {
        let config = given.path("config");
        Ok(Self {
            corpus: given.path("corpus").ok_or("it needs --corpus")?,
            format: Format::read(given)?,
            baseline: given.flag("baseline"),
            way: Way::read(given, config.is_some())?,
            config,
        })
    }
}

impl Way {
    fn read(given: &Given, configured: bool) -> Result<Self, String> {
        let resume = given.path("resume");
        let repeat = given.text("repeat");
        let asks = repeat.is_some() || resume.is_some();
        let runs = match repeat.as_deref().unwrap_or("1").parse() {
            Ok(runs @ 1..=RUNS_MAX) => runs,
            _ => {
                let given = repeat.unwrap_or_default();
                return Err(format!("--repeat {given:?} is outside 1..={RUNS_MAX}"));
            }
        };
        match (given.path("export-prompts"), given.path("answers")) {
            (None, None) => Ok(Self::Ask { runs, resume }),
            (Some(_), Some(_)) => Err("it takes --export-prompts or --answers, not both".into()),
            _ if asks => Err("--repeat and --resume are for asking endpoints".into()),
            (Some(_), None) if !configured => {
                Err("--export-prompts needs --config, which says how to ask".into())
            }
            (Some(folder), None) => Ok(Self::Export(folder)),
            (None, Some(folder)) => Ok(Self::Score(folder)),
        }
    }
}

impl Format {
    fn read(given: &Given) -> Result<Self, String> {
        match given.text("format").as_deref() {
            None | Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(format!("--format {other:?} is not text or json")),
        }
    }
}
