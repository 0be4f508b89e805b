//! One endpoint in action: its HTTP client, and what its answers have taught about it.
//!
//! Shared by all workers. Waits for a place where the endpoint takes only so many calls at once,
//! skips it while its breaker is open, and makes one `Call` of whatever was sent.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::secrets::secrets;
use crate::analysis::{PROMPT_VERSION, Prompt, Verdict};
use crate::config::{HttpEndpoint, Secret};
use crate::kernel::Record;
use crate::llm::{
    ANSWERED, Asked, Asking, Breaker, Call, Failure, Heard, Kind, Limiter, Manner, Place, Price,
    Probe, ROOM_WAIT_MAX, Refusals, Slow, Suspects, Topic, Trial, Usage, hidden, read_answer,
};
use crate::sys::clock;
use crate::sys::http::{Client, ClientSettings, Deadline};
use crate::sys::log::Limited;
use crate::time::format_span;

/// An answer of a chat completion is a few kilobytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// As if this were the status of all that it says.
const REFUSES_ALL: u16 = 400;
const OUTCOME_CHARS_MAX: usize = 200;

pub(super) struct Server {
    /// In `llm_endpoints`, from 0.
    place: usize,
    provider: String,
    asking: Asking,
    client: Client,
    url: Secret,
    /// The key as `Authorization: Bearer`; where it has a header of its own it is in `headers`.
    bearer: Option<Secret>,
    headers: Vec<(String, Secret)>,
    hidden: Vec<Secret>,
    timeout: Duration,
    state: Mutex<State>,
    /// A place is free, or the breaker has opened.
    change: Condvar,
    /// Lines of what an operator must mend, and of what is mended: an endpoint may go to and fro.
    broken: Limited,
    mended: Limited,
}

struct State {
    manner: Manner,
    breaker: Breaker,
    limiter: Limiter,
    refusals: Refusals,
    suspects: Suspects,
    slow: Slow,
    /// The status of an error that an operator must mend, where the last call ended so.
    to_mend: Option<u16>,
    /// Likewise, as the log said last.
    misconfigured: Option<u16>,
    /// It has answered at some time.
    proven: bool,
    /// The delta that it first called misconfigured since then.
    accused_by: Option<u64>,
    /// The log has said that questions are split.
    splits: bool,
    splits_slow: bool,
}

/// A question as it is put.
pub(super) struct Posed<'a> {
    pub(super) prompt: &'a Prompt,
    /// The records that it shows.
    pub(super) shown: &'a [Record],
    /// With room for twice as long an answer.
    pub(super) doubled: bool,
    pub(super) topic: Topic,
    /// No endpoint is there to ask instead.
    pub(super) is_last: bool,
}

/// What a model said, and who it says it is.
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) model: String,
}

/// Leave to call, given back whatever happens.
struct Permit<'a> {
    server: &'a Server,
    place: Place,
    probe: Probe,
    settled: bool,
}

impl Server {
    /// Fails where the certificates to trust cannot be read.
    pub(super) fn new(
        place: usize,
        provider: &str,
        model: &str,
        http: &HttpEndpoint,
    ) -> Result<Self, String> {
        let client = Client::new(&ClientSettings {
            trust: &http.trust,
            https: http.https,
            connect_timeout: http.connect_timeout,
            deadline: Deadline::Call(http.timeout),
            answer_bytes_max: ANSWER_BYTES_MAX,
            // Not every server knows the question.
            unasked_bytes_max: None,
        })?;
        let (mut headers, mut bearer) = (http.headers.clone(), http.api_key.clone());
        if let Some(name) = &http.api_key_header {
            headers.extend(bearer.take().map(|key| (name.clone(), key)));
        }
        Ok(Self {
            place,
            provider: provider.to_owned(),
            asking: asking(model, http),
            client,
            url: http.url.clone(),
            bearer,
            headers,
            hidden: secrets(model, http),
            timeout: http.timeout,
            state: Mutex::new(State {
                manner: Manner::new(),
                breaker: Breaker::new(),
                limiter: Limiter::new(),
                refusals: Refusals::default(),
                suspects: Suspects::default(),
                slow: Slow::default(),
                to_mend: None,
                misconfigured: None,
                proven: false,
                accused_by: None,
                splits: false,
                splits_slow: false,
            }),
            change: Condvar::new(),
            broken: Limited::default(),
            mended: Limited::default(),
        })
    }

    /// Asks once.
    pub(super) fn ask(
        &self,
        posed: &Posed<'_>,
        trial: &mut Trial,
        calls: &mut Vec<Call>,
    ) -> Result<Said, Failure> {
        let Posed { prompt, shown, doubled, .. } = *posed;
        let max_tokens = self.asking.max_tokens * if doubled { 2 } else { 1 };
        let manner = trial.manner(self.place, self.state().manner);
        let mut body = self.asking.body(prompt, manner, max_tokens);
        let sorted = |kind: Kind| if doubled { kind.when_doubled() } else { kind };
        if let Some(why) = self.asking.too_long(prompt, &body, max_tokens) {
            return Err(Failure::new(sorted(Kind::TooLong), why));
        }
        let permit = self.admit(posed.is_last)?;
        // Others may have learnt something while this one waited.
        let now_known = trial.manner(self.place, self.state().manner);
        if now_known != manner {
            body = self.asking.body(prompt, now_known, max_tokens);
        }
        let begun = clock::mono();
        let secrets: Vec<_> = self.hidden.iter().map(Secret::expose).collect();
        let asked = Asked { manner: now_known, prompt, secrets: &secrets };
        let heard = self.post(&asked, &body);
        let took = clock::mono().remaining(begun);
        let latency_ms = took.as_millis() as u64;
        let outcome = heard.outcome.and_then(|content| {
            let untold = asked.untold();
            Verdict::from_hidden(&content, shown, &|text| hidden(text, &untold))
                .map_err(|why| Failure::new(Kind::Unusable, format!("unusable answer: {why}")))
        });
        let outcome = outcome.map_err(|failure| Failure {
            kind: sorted(failure.kind),
            timed_out: failure.timed_out || took >= self.timeout,
            ..failure
        });
        let outcome = permit.settle(posed, now_known, trial, outcome);
        let call = Call {
            endpoint: self.place,
            provider: match heard.provider {
                Some(behind) => format!("{} ({behind})", self.provider),
                None => self.provider.clone(),
            },
            model: heard.model.unwrap_or_else(|| self.asking.model.clone()),
            outcome: match &outcome {
                Ok(_) => ANSWERED.to_owned(),
                Err(failure) => failure.reason.chars().take(OUTCOME_CHARS_MAX).collect(),
            },
            usage: heard.usage,
            cost_micros: self
                .asking
                .price
                .map(|price| price.believing(heard.cost_micros, heard.usage)),
            latency_ms,
            prompt_version: PROMPT_VERSION,
        };
        log::debug!("{}: {}", self.name(), said(&call));
        let model = call.model.clone();
        calls.push(call);
        outcome.map(|verdict| Said { verdict, model })
    }

    fn post(&self, asked: &Asked<'_>, body: &[u8]) -> Heard {
        let (url, key) = (self.url.expose(), self.bearer.as_ref());
        match self.client.post_with(url, key, &self.headers, body) {
            Ok(answer) => read_answer(asked, answer.status, answer.retry_after, &answer.body),
            Err(error) => Heard::nothing(asked, &error.why, error.late),
        }
    }

    /// Waits for a place, as long as a call may take: one comes free when a call ends. Nobody waits
    /// out what the endpoint asks for while another can be asked.
    fn admit(&self, is_last: bool) -> Result<Permit<'_>, Failure> {
        let deadline = clock::mono().plus(self.timeout);
        let mut state = self.state();
        loop {
            let now = clock::mono();
            if let Some(left) = state.breaker.refuses(now) {
                let reason = format!("left alone after failures: {}", state.breaker.reason());
                // Left alone for what has to be mended, it is no better for that.
                let kind = state.to_mend.map_or(Kind::Skipped, Kind::Misconfigured);
                return Err(Failure { retry_after: Some(left), ..Failure::new(kind, reason) });
            }
            if let Some(place) = state.limiter.admit(now) {
                let probe = state.breaker.begin();
                return Ok(Permit { server: self, place, probe, settled: false });
            }
            let left = deadline.remaining(now);
            let pause = state.limiter.pause(now);
            let most = if is_last { left } else { left.min(ROOM_WAIT_MAX) };
            if left.is_zero() || pause.is_some_and(|pause| pause > most) {
                let reason = match pause {
                    Some(_) => "left alone for as long as its HTTP 429 asks".to_owned(),
                    None => {
                        let waited = format_span(self.timeout);
                        format!("it takes no more calls, and none ended within {waited}")
                    }
                };
                let failure = Failure::new(Kind::Skipped, reason);
                return Err(Failure { retry_after: pause, ..failure });
            }
            let span = pause.unwrap_or(left);
            let waited = self.change.wait_timeout(state, span);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The log says so once, however many workers learn it.
    fn learn(
        &self,
        state: &mut State,
        asked: Manner,
        trial: &mut Trial,
        outcome: Result<(), &Failure>,
    ) {
        match outcome.map_err(|failure| (failure.kind, &failure.reason)) {
            Err((Kind::Unknown(parameter), reason)) => {
                trial.refused(self.place, asked, parameter, reason);
            }
            Ok(()) | Err((Kind::Unusable | Kind::Cut, _)) => {
                if let Some(reason) = trial.answered(self.place, &mut state.manner) {
                    let manner = state.manner.name();
                    log::info!("{}: asked with {manner} from now on ({reason})", self.name());
                }
            }
            Err(_) => {}
        }
    }

    /// A change that the log may not say yet is said when it may, if it still is one.
    fn tell_operator(&self, state: &mut State, subject: u64, outcome: Result<(), &Failure>) {
        let now = clock::mono();
        match outcome {
            Ok(()) => {
                (state.proven, state.accused_by) = (true, None);
                if state.misconfigured.is_some()
                    && let Some(unsaid) = self.mended.allow(now)
                {
                    state.misconfigured = None;
                    log::info!("{}: takes our questions now{unsaid}", self.name());
                }
            }
            Err(Failure { of_question: true, .. }) => {}
            Err(Failure { kind: Kind::Misconfigured(status), reason, .. }) => {
                let first = *state.accused_by.get_or_insert(subject);
                let sure = !state.proven || first != subject || is_plain(*status);
                if sure
                    && state.misconfigured != Some(*status)
                    && let Some(unsaid) = self.broken.allow(now)
                {
                    state.misconfigured = Some(*status);
                    let (name, what) = (self.name(), what_to_mend(*status));
                    log::error!(
                        "{name}: {reason}; {what}; the next endpoint is asked instead{unsaid}"
                    );
                }
            }
            Err(Failure { kind: Kind::TooLong, reason, .. }) => {
                if !std::mem::replace(&mut state.splits, true) {
                    let what = "such questions are split; its context_tokens would spare the call";
                    log::info!("{}: {reason}; {what}", self.name());
                }
            }
            Err(Failure { kind: Kind::Slow, reason, .. }) => {
                if !std::mem::replace(&mut state.splits_slow, true) {
                    let what = "such questions are split; a longer timeout would spare the calls";
                    log::info!("{}: {reason}, twice; {what}", self.name());
                }
            }
            Err(_) => {}
        }
    }

    fn name(&self) -> String {
        name(self.place, &self.provider)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an endpoint is called in logs and notes.
pub(super) fn name(place: usize, provider: &str) -> String {
    format!("llm_endpoints[{place}] ({provider})")
}

fn what_to_mend(status: u16) -> &'static str {
    match status {
        400 => "it refuses every question; its model, max_tokens or extra_body may be wrong",
        402 => "the account behind its key has no credit left",
        300..=399 | 404..=499 => "its url or its model is wrong",
        _ => "its key is wrong, or may not do this",
    }
}

fn said(call: &Call) -> String {
    let Usage { prompt, cached, completion, estimated } = call.usage;
    let about = if estimated { "about " } else { "" };
    let cost = call.cost_micros.map_or(String::new(), |cost| format!(", {cost} millionths"));
    format!(
        "{} by {} in {} ms, {about}{prompt} tokens ({cached} cached) and {completion} for the \
         answer{cost}, prompt {}, endpoint {}",
        call.outcome, call.model, call.latency_ms, call.prompt_version, call.endpoint
    )
}

/// What it is asked for, whatever the question.
pub(crate) fn asking(model: &str, http: &HttpEndpoint) -> Asking {
    let price = http.price.map(|price| Price {
        input: price.input,
        cached_input: price.cached_input,
        output: price.output,
    });
    Asking {
        model: model.to_owned(),
        max_tokens: http.max_tokens,
        context_tokens: http.context_tokens,
        temperature: http.temperature.clone(),
        extra: http.extra_body.clone(),
        price,
    }
}

impl Permit<'_> {
    /// Tells the endpoint's state how the call ended. A refusal beside other calls of ours is
    /// `Crowded` from here on; one of many, and no answer, the operator's to mend; a failure at one
    /// question, with others answered, the question's.
    fn settle(
        mut self,
        posed: &Posed<'_>,
        asked: Manner,
        trial: &mut Trial,
        mut outcome: Result<Verdict, Failure>,
    ) -> Result<Verdict, Failure> {
        let now = clock::mono();
        let Topic { subject, question, .. } = posed.topic;
        let mut state = self.server.state();
        match &mut outcome {
            Err(failure) if failure.kind == Kind::Busy => {
                if state.limiter.refused(self.place, failure.retry_after, now) {
                    failure.kind = Kind::Crowded;
                }
            }
            Ok(_) => state.limiter.succeeded(),
            Err(_) => state.limiter.ended(),
        }
        state.sort(posed, &mut outcome);
        match &outcome {
            // It says nothing of the endpoint, a probe or not.
            Err(failure) if failure.of_question || failure.kind == Kind::Slow => {
                state.breaker.abandoned(self.probe, now);
            }
            Err(failure) if is_ill(failure.kind) => {
                state.breaker.failed(self.probe, question, &failure.reason, now);
            }
            _ => state.breaker.succeeded(),
        }
        self.server.learn(&mut state, asked, trial, outcome.as_ref().map(|_| ()));
        self.server.tell_operator(&mut state, subject, outcome.as_ref().map(|_| ()));
        drop(state);
        self.settled = true;
        self.server.change.notify_all();
        outcome
    }
}

impl State {
    /// Finds out whose fault a failure is, and what may help.
    fn sort(&mut self, posed: &Posed<'_>, outcome: &mut Result<Verdict, Failure>) {
        let topic = posed.topic;
        match outcome {
            Err(failure) if failure.kind == Kind::Refused => {
                failure.doubtful = !self.proven;
                if self.refusals.refused(topic.subject) {
                    failure.kind = Kind::Misconfigured(REFUSES_ALL);
                }
            }
            Err(failure) if failure.kind.has_model() => self.answered(topic),
            Err(failure) if is_any_questions(failure.kind) => {
                failure.of_question = self.suspects.failed(topic);
                if failure.kind == Kind::Transient && failure.timed_out {
                    let (again, lives) = self.slow.failed(topic.question);
                    // One that is dead is slow for each half as well.
                    if again && (lives || posed.is_last) && posed.shown.len() > 1 {
                        failure.kind = Kind::Slow;
                    }
                }
            }
            Ok(_) => self.answered(topic),
            Err(_) => {}
        }
        self.to_mend = match outcome {
            Err(Failure { of_question: true, .. }) => self.to_mend,
            Err(Failure { kind: Kind::Misconfigured(status), .. }) => Some(*status),
            _ => None,
        };
    }

    fn answered(&mut self, topic: Topic) {
        self.refusals.answered();
        self.suspects.answered(topic);
        self.slow.answered(topic.question);
    }
}

/// Whether it speaks against the endpoint: one that answers something else is there, and works.
fn is_ill(kind: Kind) -> bool {
    matches!(kind, Kind::Transient | Kind::Busy | Kind::Misconfigured(_))
}

/// Whether it may be for one question's sake, as nothing in it says.
fn is_any_questions(kind: Kind) -> bool {
    match kind {
        // Three deltas have shown that it is not.
        Kind::Misconfigured(status) => status != REFUSES_ALL,
        kind => kind == Kind::Transient,
    }
}

/// Whether an endpoint that has answered before means itself by it. Other statuses may be those of
/// a filter before it, which stops one question.
fn is_plain(status: u16) -> bool {
    matches!(status, 400..=402)
}

impl Drop for Permit<'_> {
    /// A panic must not take the place for ever.
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut state = self.server.state();
        state.limiter.ended();
        state.breaker.abandoned(self.probe, clock::mono());
        drop(state);
        self.server.change.notify_all();
    }
}
