//! The analyst: asks the endpoints in order until each question has an answer that can be used.
//!
//! Does what `llm::Chain` says; keeps one HTTP client for each endpoint, for the process's life.
//! Shared by all workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::analysis::{PROMPT_VERSION, Prompt, Verdict, settle};
use crate::config::{Endpoint, EndpointKind, Secret};
use crate::kernel::{Record, SeqRange};
use crate::llm::{Chain, Failure, Format, Turn, read_answer, request_body};
use crate::sys::http::{Client, ClientSettings, Deadline};
use crate::sys::{clock, random};

/// An answer of a chat completion is a few kilobytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

pub(crate) struct Analyst {
    endpoints: Vec<Ready>,
    retries: Vec<u32>,
}

struct Ready {
    model: String,
    provider: String,
    kind: ReadyKind,
}

enum ReadyKind {
    Builtin,
    Http {
        client: Client,
        url: String,
        api_key: Option<Secret>,
        /// The endpoint has refused our schema: the prompt alone shapes its answers.
        no_schema: AtomicBool,
    },
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
}

/// Every endpoint failed: which, and why.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(crate) Vec<String>);

/// One question's answer.
enum Answer {
    Model {
        verdict: Verdict,
        model: String,
    },
    /// The chain came to the signature table, which every analysis ends with.
    Table,
}

impl Analyst {
    /// Fails where the certificates to trust cannot be read; the error names the endpoint's key.
    pub(crate) fn new(chain: &[Endpoint]) -> Result<Self, String> {
        let mut endpoints = Vec::new();
        for (index, endpoint) in chain.iter().enumerate() {
            let ready = ready(endpoint).map_err(|why| format!("llm_endpoints[{index}]: {why}"))?;
            endpoints.push(ready);
        }
        let retries = chain.iter().map(|endpoint| endpoint.max_retries).collect();
        Ok(Self { endpoints, retries })
    }

    /// The signature table alone.
    pub(crate) fn builtin() -> Self {
        let table = Ready {
            model: "signatures".into(),
            provider: "builtin".into(),
            kind: ReadyKind::Builtin,
        };
        Self { endpoints: vec![table], retries: vec![0] }
    }

    /// Judges records of one host, oldest first; `missing` are ranges that lie between them.
    pub(crate) fn analyse(
        &self,
        records: &[Record],
        missing: &[SeqRange],
    ) -> Result<Analysis, Unavailable> {
        let mut analysis = Analysis {
            verdict: Verdict::from_issues(Vec::new()),
            provider: String::new(),
            model: String::new(),
            prompt_version: None,
            fell_over: Vec::new(),
        };
        // No prompt is built for a chain that begins with the table.
        let table = matches!(self.endpoints[0].kind, ReadyKind::Builtin);
        if table {
            analysis.take_name(&self.endpoints[0]);
        }
        let asked = if table { &[] } else { records };
        for prompt in Prompt::for_records(asked, missing) {
            let shown = &records[prompt.shown.clone()];
            let mut chain = Chain::new(&self.retries, random::seed());
            let answered = self.ask(&mut chain, &prompt, shown);
            let failures = self.named(&chain);
            let (endpoint, answer) = answered.ok_or_else(|| Unavailable(failures.clone()))?;
            analysis.fell_over.extend(failures);
            analysis.take_name(&self.endpoints[endpoint]);
            match answer {
                Answer::Model { verdict, model } => {
                    analysis.model = model;
                    analysis.prompt_version = Some(PROMPT_VERSION);
                    analysis.verdict.merge(verdict);
                }
                Answer::Table => {}
            }
        }
        analysis.verdict = settle(analysis.verdict, records);
        Ok(analysis)
    }

    fn ask(
        &self,
        chain: &mut Chain<'_>,
        prompt: &Prompt,
        shown: &[Record],
    ) -> Option<(usize, Answer)> {
        while let Turn::Ask { endpoint, wait } = chain.next() {
            if wait > Duration::ZERO {
                clock::sleep(wait);
            }
            match self.endpoints[endpoint].ask(prompt, shown) {
                Ok(answer) => return Some((endpoint, answer)),
                Err(failure) => chain.failed(&failure),
            }
        }
        None
    }

    fn named(&self, chain: &Chain<'_>) -> Vec<String> {
        let named = |(endpoint, reason): &(usize, String)| {
            let provider = &self.endpoints[*endpoint].provider;
            format!("llm_endpoints[{endpoint}] ({provider}): {reason}")
        };
        chain.reasons().iter().map(named).collect()
    }
}

impl Analysis {
    fn take_name(&mut self, endpoint: &Ready) {
        self.provider.clone_from(&endpoint.provider);
        self.model.clone_from(&endpoint.model);
    }
}

fn ready(endpoint: &Endpoint) -> Result<Ready, String> {
    let kind = match &endpoint.kind {
        EndpointKind::Builtin => ReadyKind::Builtin,
        EndpointKind::Http(http) => ReadyKind::Http {
            client: Client::new(&ClientSettings {
                trust: &http.trust,
                https: http.https,
                connect_timeout: http.connect_timeout,
                deadline: Deadline::Call(http.timeout),
                answer_bytes_max: ANSWER_BYTES_MAX,
                // Not every server knows the question.
                unasked_bytes_max: None,
            })?,
            url: http.url.clone(),
            api_key: http.api_key.clone(),
            no_schema: AtomicBool::new(false),
        },
    };
    Ok(Ready { model: endpoint.model.clone(), provider: endpoint.provider.clone(), kind })
}

impl Ready {
    fn ask(&self, prompt: &Prompt, shown: &[Record]) -> Result<Answer, Failure> {
        let ReadyKind::Http { client, url, api_key, no_schema } = &self.kind else {
            return Ok(Answer::Table);
        };
        let call = |format| {
            let body = request_body(&self.model, prompt, format);
            let answer = client.post(url, api_key.as_ref(), &body);
            let answer = answer.map_err(|error| Failure::Transient(error.0))?;
            read_answer(answer.status, &answer.body, format)
        };
        let format =
            if no_schema.load(Ordering::Relaxed) { Format::Prompt } else { Format::Schema };
        let reply = match call(format) {
            Err(Failure::FormatUnknown(reason)) => {
                log::info!("{}: no JSON schema from now on ({reason})", self.provider);
                no_schema.store(true, Ordering::Relaxed);
                call(Format::Prompt)?
            }
            other => other?,
        };
        let verdict = Verdict::from_reply(&reply.content, shown)
            .map_err(|why| Failure::Transient(format!("unusable answer: {why}")))?;
        Ok(Answer::Model { verdict, model: reply.model.unwrap_or_else(|| self.model.clone()) })
    }
}
