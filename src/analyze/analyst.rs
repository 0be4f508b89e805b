//! The analyst: asks the endpoints in order until each question has an answer that can be used.
//!
//! Does what `llm::Chain` says; `endpoint` makes the calls. Shared by all workers.

use std::ops::Range;
use std::time::Duration;

use super::endpoint::{Server, name};
use crate::analysis::{PROMPT_VERSION, Prompt, Verdict, settle};
use crate::config::{Endpoint, EndpointKind};
use crate::kernel::{Record, SeqRange};
use crate::llm::{Call, Chain, Kind, Trial, Turn};
use crate::sys::{clock, random};

pub(crate) struct Analyst {
    endpoints: Vec<Ready>,
    retries: Vec<u32>,
}

struct Ready {
    model: String,
    provider: String,
    /// `None`: the signature table.
    server: Option<Server>,
}

/// A verdict, and who gave it.
#[derive(Debug)]
pub(crate) struct Analysis {
    pub(crate) verdict: Verdict,
    pub(crate) provider: String,
    pub(crate) model: String,
    /// `None`: the signature table needs no prompt.
    pub(crate) prompt_version: Option<u32>,
    /// Endpoints that failed before one answered, and why.
    pub(crate) fell_over: Vec<String>,
    /// Every call that was made, those that failed too.
    pub(crate) calls: Vec<Call>,
}

/// Every endpoint failed.
#[derive(Debug, Default)]
pub(crate) struct Unavailable {
    /// Which, and why.
    pub(crate) reasons: Vec<String>,
    pub(crate) calls: Vec<Call>,
    /// An endpoint did answer, and nothing that could be used: the delta may be to blame.
    pub(crate) unusable: bool,
    /// The soonest that an endpoint asks to be tried again.
    pub(crate) retry_after: Option<Duration>,
}

/// Records of one delta on their way to a verdict.
struct Matter<'a> {
    records: &'a [Record],
    /// Ranges that lie between them.
    missing: &'a [SeqRange],
    analysis: Analysis,
    /// Endpoints before this one cannot take even one record of this delta.
    first: usize,
}

/// What a question came to.
enum Outcome {
    Answered,
    /// For this endpoint it is too long.
    Split {
        endpoint: usize,
    },
}

impl Analyst {
    /// Fails where the certificates to trust cannot be read; the error names the endpoint's key.
    pub(crate) fn new(chain: &[Endpoint]) -> Result<Self, String> {
        let mut endpoints = Vec::new();
        for (index, endpoint) in chain.iter().enumerate() {
            let Endpoint { model, provider, .. } = endpoint;
            let server = match &endpoint.kind {
                EndpointKind::Builtin => None,
                EndpointKind::Http(http) => Some(
                    Server::new(index, provider, model, http)
                        .map_err(|why| format!("llm_endpoints[{index}]: {why}"))?,
                ),
            };
            endpoints.push(Ready { model: model.clone(), provider: provider.clone(), server });
        }
        let retries = chain.iter().map(|endpoint| endpoint.max_retries).collect();
        Ok(Self { endpoints, retries })
    }

    /// The signature table alone.
    pub(crate) fn builtin() -> Self {
        let table = Ready { model: "signatures".into(), provider: "builtin".into(), server: None };
        Self { endpoints: vec![table], retries: vec![0] }
    }

    /// Judges records of one host, oldest first; `missing` are ranges that lie between them.
    pub(crate) fn analyse(
        &self,
        records: &[Record],
        missing: &[SeqRange],
    ) -> Result<Analysis, Unavailable> {
        let mut matter = Matter::new(records, missing);
        // No prompt is built for a chain that begins with the table.
        if self.endpoints[0].server.is_none() {
            matter.analysis.take_name(&self.endpoints[0]);
        } else {
            self.ask_all(&mut matter)?;
        }
        Ok(matter.settled())
    }

    fn ask_all(&self, matter: &mut Matter<'_>) -> Result<(), Unavailable> {
        let all = matter.questions(0..matter.records.len());
        let mut left: Vec<_> = all.into_iter().rev().map(|question| (question, 0)).collect();
        while let Some(((range, prompt), first)) = left.pop() {
            let first = first.max(matter.first);
            match self.ask(matter, range.clone(), &prompt, first)? {
                Outcome::Answered => {}
                Outcome::Split { endpoint } => {
                    let middle = range.start + range.len() / 2;
                    for half in [middle..range.end, range.start..middle] {
                        let questions = matter.questions(half);
                        left.extend(questions.into_iter().rev().map(|part| (part, endpoint)));
                    }
                }
            }
        }
        Ok(())
    }

    fn ask(
        &self,
        matter: &mut Matter<'_>,
        range: Range<usize>,
        prompt: &Prompt,
        first: usize,
    ) -> Result<Outcome, Unavailable> {
        let shown = &matter.records[range];
        let mut chain = Chain::new(&self.retries, first, shown.len(), random::seed());
        let mut trial = Trial::default();
        loop {
            let (endpoint, wait, doubled) = match chain.next() {
                Turn::Ask { endpoint, wait, doubled } => (endpoint, wait, doubled),
                Turn::Split { endpoint } => {
                    matter.analysis.fell_over.extend(self.named(&chain));
                    return Ok(Outcome::Split { endpoint });
                }
                Turn::Exhausted => return Err(matter.unavailable(&chain, self.named(&chain))),
            };
            if wait > Duration::ZERO {
                clock::sleep(wait);
            }
            let ready = &self.endpoints[endpoint];
            let Some(server) = &ready.server else {
                matter.answered(ready, self.named(&chain));
                return Ok(Outcome::Answered);
            };
            match server.ask(prompt, shown, doubled, &mut trial, &mut matter.analysis.calls) {
                Ok(said) => {
                    matter.answered(ready, self.named(&chain));
                    matter.analysis.model = said.model;
                    matter.analysis.prompt_version = Some(PROMPT_VERSION);
                    matter.analysis.verdict.merge(said.verdict);
                    return Ok(Outcome::Answered);
                }
                Err(failure) => {
                    // It would refuse each of the others in turn.
                    if failure.kind == Kind::TooLong && shown.len() == 1 {
                        matter.first = matter.first.max(endpoint + 1);
                    }
                    chain.failed(&failure);
                }
            }
        }
    }

    fn named(&self, chain: &Chain<'_>) -> Vec<String> {
        let named = |(endpoint, reason): &(usize, String)| {
            format!("{}: {reason}", name(*endpoint, &self.endpoints[*endpoint].provider))
        };
        chain.reasons().iter().map(named).collect()
    }
}

impl<'a> Matter<'a> {
    fn new(records: &'a [Record], missing: &'a [SeqRange]) -> Self {
        let analysis = Analysis {
            verdict: Verdict::from_issues(Vec::new()),
            provider: String::new(),
            model: String::new(),
            prompt_version: None,
            fell_over: Vec::new(),
            calls: Vec::new(),
        };
        Self { records, missing, analysis, first: 0 }
    }

    /// As many as these records need, each with the records that it shows.
    fn questions(&self, range: Range<usize>) -> Vec<(Range<usize>, Prompt)> {
        let place = |missing: &SeqRange| {
            let before = |record: &Record| record.seq.is_none_or(|seq| seq < missing.from);
            self.records.partition_point(before)
        };
        let last = range.end == self.records.len();
        let within = |missing: &&SeqRange| {
            let place = place(missing);
            range.contains(&place) || last && place == range.end
        };
        let missing: Vec<_> = self.missing.iter().filter(within).cloned().collect();
        let prompts = Prompt::for_records(&self.records[range.clone()], &missing);
        let placed = |prompt: Prompt| {
            let shown = prompt.shown.start + range.start..prompt.shown.end + range.start;
            (shown, prompt)
        };
        prompts.into_iter().map(placed).collect()
    }

    fn answered(&mut self, by: &Ready, fell_over: Vec<String>) {
        self.analysis.fell_over.extend(fell_over);
        self.analysis.take_name(by);
    }

    fn unavailable(&mut self, chain: &Chain<'_>, named: Vec<String>) -> Unavailable {
        let mut reasons = std::mem::take(&mut self.analysis.fell_over);
        reasons.extend(named);
        Unavailable {
            reasons,
            calls: std::mem::take(&mut self.analysis.calls),
            unusable: chain.unusable(),
            retry_after: chain.retry_after(),
        }
    }

    /// What the records say by themselves is merged into what models said of them, here alone.
    fn settled(mut self) -> Analysis {
        self.analysis.verdict = settle(self.analysis.verdict, self.records);
        self.analysis
    }
}

impl Analysis {
    fn take_name(&mut self, endpoint: &Ready) {
        self.provider.clone_from(&endpoint.provider);
        self.model.clone_from(&endpoint.model);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Seq;

    /// Whatever is split, a gap is shown in its place, once.
    #[test]
    fn halves_of_a_question_keep_the_gaps_in_their_places() {
        let seqs = [2, 3, 6, 7, 9];
        let line = |seq: &u64| Record::parse(&format!("3,{seq},1,-;r{seq}")).unwrap();
        let records: Vec<_> = seqs.iter().map(line).collect();
        let range = |from, to| SeqRange::new(Seq(from), Seq(to));
        let missing = [range(0, 2), range(4, 6), range(8, 9), range(10, 13)];
        let matter = Matter::new(&records, &missing);
        let shown = |range: Range<usize>| {
            let questions = matter.questions(range.clone());
            assert_eq!(
                questions.iter().map(|(shown, _)| shown.clone()).collect::<Vec<_>>(),
                [range]
            );
            let user: serde_json::Value = serde_json::from_str(&questions[0].1.user).unwrap();
            let element = |element: &serde_json::Value| match element.get("lost") {
                Some(lost) => format!("-{lost}"),
                None => element["text"].as_str().unwrap().to_owned(),
            };
            let elements = user["records"].as_array().unwrap().iter().map(element);
            elements.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(0..5), "-2 r2 r3 -2 r6 r7 -1 r9 -3");
        assert_eq!(shown(0..2), "-2 r2 r3");
        assert_eq!(shown(2..5), "-2 r6 r7 -1 r9 -3");
        assert_eq!(shown(3..4), "r7");
        assert_eq!(shown(4..5), "-1 r9 -3");
        assert!(Matter::new(&[], &missing).questions(0..0).is_empty());
    }
}
