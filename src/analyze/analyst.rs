//! The analyst: asks the endpoints in order until each question has an answer that can be used.
//!
//! Does what `llm::Chain` says; `endpoint` makes the calls, `progress` keeps what is answered.
//! Shared by all workers.
//!
//! A large delta is several questions. One that nobody can answer keeps the others from nothing, as
//! long as the endpoints themselves are well; what is answered is not asked again at the next try.

use std::ops::Range;
use std::time::Duration;

use super::endpoint::{Posed, Server, name};
use super::matter::{Matter, Question};
use super::progress::Progress;
use crate::analysis::{PROMPT_VERSION, Verdict};
use crate::config::{Endpoint, EndpointKind};
use crate::kernel::{Record, SeqRange};
use crate::llm::{Call, Chain, Trial, Turn};
use crate::sys::{clock, random};
use crate::time::{Mono, format_span};

pub(crate) struct Analyst {
    endpoints: Vec<Ready>,
    retries: Vec<u32>,
    /// Of one try.
    calls_max: usize,
    span_max: Duration,
}

/// Of the tree that splitting makes of questions, times the endpoints, times their retries: a delta
/// that needs more goes on later, behind others that wait.
const CALLS_MAX: usize = 100;
const SPAN_MAX: Duration = Duration::from_secs(30 * 60);
/// Without an answer, with all endpoints well: it is not for one odd record.
const UNANSWERED_MAX: usize = 3;
/// So many answers that cost something and cannot be used, and there is no waiting any longer for
/// an endpoint that is down.
const IN_VAIN_MAX: usize = 20;

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
    /// The first of those that answered, by their places in `llm_endpoints`.
    pub(crate) endpoint: usize,
    pub(crate) provider: String,
    pub(crate) model: String,
    /// `None`: the signature table needs no prompt.
    pub(crate) prompt_version: Option<u32>,
    /// Endpoints that failed before one answered, and why.
    pub(crate) fell_over: Vec<String>,
    /// One of them for its own sake, and not for what it was asked.
    pub(crate) ailing: bool,
    /// Every call that was made, those that failed too.
    pub(crate) calls: Vec<Call>,
}

/// Every endpoint failed, for some of the records at least.
#[derive(Debug)]
pub(crate) struct Unavailable {
    /// Which, and why.
    pub(crate) reasons: Vec<String>,
    pub(crate) calls: Vec<Call>,
    pub(crate) blame: Blame,
    /// All of them failed for their own sake.
    pub(crate) outage: bool,
    /// One of them at least may get well by itself.
    pub(crate) ailing: bool,
    /// The soonest that an endpoint asks to be tried again.
    pub(crate) retry_after: Option<Duration>,
    /// Of what was answered, and of the signature table.
    pub(crate) verdict: Box<Verdict>,
}

/// Whether the delta is to blame for being without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// An endpoint failed for its own sake, which may answer yet.
    Nobodys,
    /// None did, by what they say.
    Deltas,
    /// None did, by what they do with other deltas, or have yet to do: that may be chance.
    Doubtful,
    /// So much has been paid for it that there is no waiting any longer.
    Spent,
}

/// What a question came to.
enum Outcome {
    Answered,
    /// It is to be asked in these parts.
    Parts(Vec<Question>),
    Unanswered(Unanswered),
}

/// Why there is no answer.
struct Unanswered {
    reasons: Vec<String>,
    cause: Cause,
    retry_after: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// None of them is well.
    Endpoints,
    /// One that is well has no answer to it.
    Question,
    /// Of calls, or of time.
    Limit,
}

/// One try, and what it has come to.
struct Try<'a> {
    matter: Matter<'a>,
    progress: &'a mut Progress,
    /// The place of who answered.
    by: Option<usize>,
    model: String,
    host: &'a str,
    /// Tells it from other tries.
    number: u64,
    ailing: bool,
    to_mend: bool,
    stumped: bool,
    calls_max: usize,
    until: Mono,
    span_max: Duration,
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
        Ok(Self::of(endpoints, retries))
    }

    /// The signature table alone.
    pub(crate) fn builtin() -> Self {
        let table = Ready { model: "signatures".into(), provider: "builtin".into(), server: None };
        Self::of(vec![table], vec![0])
    }

    fn of(endpoints: Vec<Ready>, retries: Vec<u32>) -> Self {
        Self { endpoints, retries, calls_max: CALLS_MAX, span_max: SPAN_MAX }
    }

    /// Judges records of one host, oldest first; `missing` are ranges that lie between them. Takes
    /// as many tries as get any further.
    pub(crate) fn analyse(
        &self,
        records: &[Record],
        missing: &[SeqRange],
    ) -> Result<Analysis, Unavailable> {
        self.analyse_on(records, missing, &mut Progress::default())
    }

    /// Likewise, without what this progress has an answer to already.
    pub(crate) fn analyse_on(
        &self,
        records: &[Record],
        missing: &[SeqRange],
        progress: &mut Progress,
    ) -> Result<Analysis, Unavailable> {
        loop {
            let before = progress.left_of(records.len());
            match self.go_on("", records, missing, progress) {
                Err(put_off)
                    if !put_off.outage
                        && put_off.blame == Blame::Nobodys
                        && progress.left_of(records.len()) < before =>
                {
                    progress.calls = put_off.calls;
                }
                done => return done,
            }
        }
    }

    /// One try, which takes up where the last one with this progress ended.
    pub(crate) fn go_on(
        &self,
        host: &str,
        records: &[Record],
        missing: &[SeqRange],
        progress: &mut Progress,
    ) -> Result<Analysis, Unavailable> {
        progress.begin(records.len());
        let mut one = Try {
            matter: Matter::new(records, missing),
            calls_max: progress.calls.len() + self.calls_max,
            progress,
            by: None,
            model: String::new(),
            host,
            number: random::seed(),
            ailing: false,
            to_mend: false,
            stumped: false,
            until: clock::mono().plus(self.span_max),
            span_max: self.span_max,
        };
        // No prompt is built for a chain that begins with the table.
        if self.endpoints[0].server.is_some() {
            self.ask_all(&mut one)?;
        }
        Ok(self.settled(one))
    }

    fn ask_all(&self, one: &mut Try<'_>) -> Result<(), Unavailable> {
        let mut left = Vec::new();
        for range in one.progress.left() {
            left.extend(one.matter.questions(range, 0));
        }
        left.reverse();
        let mut unanswered: Vec<(Range<usize>, Unanswered)> = Vec::new();
        while let Some(question) = left.pop() {
            one.progress.store_calls();
            match self.ask(one, &question) {
                Outcome::Answered => {}
                Outcome::Parts(parts) => left.extend(parts.into_iter().rev()),
                Outcome::Unanswered(why) => {
                    let cause = why.cause;
                    unanswered.push((question.range, why));
                    if cause != Cause::Question || unanswered.len() >= UNANSWERED_MAX {
                        break;
                    }
                }
            }
        }
        // What nobody has an answer to comes last: it must not keep the others waiting.
        let (puzzles, interrupted): (Vec<_>, Vec<_>) =
            unanswered.iter().partition(|(_, why)| why.cause == Cause::Question);
        let range = |(range, _): &(Range<usize>, Unanswered)| range.clone();
        let asked_not = left.into_iter().rev().map(|question| question.range);
        let interrupted = interrupted.into_iter().map(range);
        let left = interrupted.chain(asked_not).chain(puzzles.into_iter().map(range));
        one.progress.set_left(left.collect());
        if unanswered.is_empty() {
            return Ok(());
        }
        Err(unavailable(one, unanswered.into_iter().map(|(_, why)| why).collect()))
    }

    fn ask(&self, one: &mut Try<'_>, question: &Question) -> Outcome {
        let shown = &one.matter.records[question.range.clone()];
        let mut chain = Chain::new(&self.retries, question.first, shown.len(), random::seed());
        let mut trial = Trial::default();
        loop {
            let (endpoint, wait, doubled) = match chain.next() {
                Turn::Ask { endpoint, wait, doubled } => (endpoint, wait, doubled),
                Turn::Split { endpoint } => {
                    one.note(self.named(&chain), &chain);
                    one.progress.is_split = true;
                    return Outcome::Parts(one.matter.halves(question, endpoint));
                }
                Turn::Exhausted => return self.exhausted(one, question, &chain),
            };
            let ready = &self.endpoints[endpoint];
            let Some(server) = &ready.server else {
                one.note(self.named(&chain), &chain);
                one.answered(endpoint, &ready.model);
                return Outcome::Answered;
            };
            if let Some(limit) = one.limit(wait) {
                one.blame(&chain);
                let reasons = self.named(&chain).into_iter().chain([limit]).collect();
                // Time alone may run out with endpoints that let it run out.
                let down = (chain.ailing() || chain.to_mend()) && one.by.is_none();
                let cause = if down { Cause::Endpoints } else { Cause::Limit };
                let retry_after = None;
                return Outcome::Unanswered(Unanswered { reasons, cause, retry_after });
            }
            if wait > Duration::ZERO {
                one.progress.store_calls();
                clock::sleep(wait);
            }
            let posed = Posed {
                prompt: &question.prompt,
                shown,
                doubled,
                topic: one.matter.topic(question, one.host, one.number),
                is_last: endpoint + 1 == self.endpoints.len(),
            };
            match server.ask(&posed, &mut trial, &mut one.progress.calls) {
                Ok(said) => {
                    one.note(self.named(&chain), &chain);
                    one.answered(endpoint, &said.model);
                    one.progress.note(one.matter.cut(question));
                    one.progress.add(said.verdict, PROMPT_VERSION);
                    return Outcome::Answered;
                }
                Err(failure) => chain.failed(&failure),
            }
        }
    }

    /// A record that alone is too long is cut where nobody takes it whole.
    fn exhausted(&self, one: &mut Try<'_>, question: &Question, chain: &Chain<'_>) -> Outcome {
        let cut = chain.too_long().and_then(|first| one.matter.shorter(question, first));
        if let Some(shorter) = cut {
            one.note(self.named(chain), chain);
            return Outcome::Parts(vec![shorter]);
        }
        one.blame(chain);
        one.stumped |= chain.stumped();
        one.progress.in_vain += chain.in_vain();
        let cause = if chain.puzzled() { Cause::Question } else { Cause::Endpoints };
        let (reasons, retry_after) = (self.named(chain), chain.retry_after());
        Outcome::Unanswered(Unanswered { reasons, cause, retry_after })
    }

    fn named(&self, chain: &Chain<'_>) -> Vec<String> {
        let named = |(endpoint, reason): &(usize, String)| {
            format!("{}: {reason}", name(*endpoint, &self.endpoints[*endpoint].provider))
        };
        chain.reasons().iter().map(named).collect()
    }

    fn settled(&self, one: Try<'_>) -> Analysis {
        let endpoint = one.by.unwrap_or(0);
        let Ready { provider, model, .. } = &self.endpoints[endpoint];
        let model = if one.model.is_empty() { model.clone() } else { one.model };
        Analysis {
            verdict: one.progress.verdict(one.matter.records),
            endpoint,
            provider: provider.clone(),
            model,
            prompt_version: one.progress.prompt_version,
            fell_over: std::mem::take(&mut one.progress.fell_over),
            ailing: one.ailing || one.to_mend,
            calls: one.progress.take_calls(),
        }
    }
}

impl Try<'_> {
    fn note(&mut self, reasons: Vec<String>, chain: &Chain<'_>) {
        self.blame(chain);
        self.progress.note(reasons);
    }

    fn blame(&mut self, chain: &Chain<'_>) {
        self.ailing |= chain.ailing();
        self.to_mend |= chain.to_mend();
    }

    fn answered(&mut self, endpoint: usize, model: &str) {
        if self.by.is_none_or(|by| endpoint <= by) {
            self.by = Some(endpoint);
            model.clone_into(&mut self.model);
        }
    }

    /// Why no further call may be made after this wait.
    fn limit(&self, wait: Duration) -> Option<String> {
        if self.progress.calls.len() >= self.calls_max {
            return Some(format!("put off after {} calls", self.progress.calls.len()));
        }
        let late = clock::mono().plus(wait) > self.until;
        late.then(|| format!("put off after {}", format_span(self.span_max)))
    }
}

fn unavailable(one: &mut Try<'_>, unanswered: Vec<Unanswered>) -> Unavailable {
    let any = |cause: Cause| unanswered.iter().any(|why| why.cause == cause);
    let blame = match any(Cause::Question) {
        true if one.ailing && one.progress.in_vain >= IN_VAIN_MAX => Blame::Spent,
        true if one.ailing => Blame::Nobodys,
        true if one.stumped => Blame::Doubtful,
        true => Blame::Deltas,
        false => Blame::Nobodys,
    };
    Unavailable {
        blame,
        outage: any(Cause::Endpoints),
        ailing: one.ailing,
        retry_after: unanswered.last().and_then(|why| why.retry_after),
        reasons: unanswered.into_iter().flat_map(|why| why.reasons).collect(),
        calls: one.progress.take_calls(),
        verdict: Box::new(one.progress.verdict(one.matter.records)),
    }
}
