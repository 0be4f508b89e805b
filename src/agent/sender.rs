//! The sender: one batch as one post, and what its answer means.
//!
//! A thread of its own waits for the collector, so that the agent goes on reading the ring: a
//! collector that hangs for a minute would cost whatever the kernel overwrites meanwhile. Driven by
//! `agent::deliver`: `post`, then `answer` until there is one.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::dispatch::Batch;
use super::pace::Setback;
use crate::config::{self, AgentConfig, Secret};
use crate::sys::crash;
use crate::sys::http::{Client, ClientSettings, Deadline};
use crate::wire::{HostName, Outgoing, Reply};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What fits into the collector's drain before it closes.
const UNASKED_BYTES_MAX: usize = 32 * 1024;
const REPLY_BYTES_MAX: u64 = 64 * 1024;
const REASON_CHARS_MAX: usize = 300;

pub(super) struct Sender {
    host: HostName,
    kernel: String,
    bodies: SyncSender<Vec<u8>>,
    answers: Receiver<Answer>,
}

/// What the thread has.
struct Poster {
    client: Client,
    url: String,
    api_key: Secret,
}

/// What became of a post, sorted by what the agent does next.
#[derive(Debug)]
pub(super) enum Answer {
    Taken(Reply),
    /// 413: send less at once.
    TooLarge,
    /// 400: something in it cannot be taken.
    Malformed(String),
    /// Keep the records, try again.
    Failed(String, Setback),
}

impl Sender {
    /// Fails where the certificates to trust cannot be read.
    pub(super) fn new(
        config: &AgentConfig,
        host: HostName,
        kernel: String,
    ) -> Result<Self, String> {
        let client = Client::new(&ClientSettings {
            trust: &config.trust,
            https: true,
            connect_timeout: CONNECT_TIMEOUT,
            deadline: Deadline::Phase(config.post_timeout),
            answer_bytes_max: REPLY_BYTES_MAX,
            unasked_bytes_max: Some(UNASKED_BYTES_MAX),
        })?;
        let poster =
            Poster { client, url: config.ingest_url.clone(), api_key: config.api_key.clone() };
        let (bodies, to_post) = sync_channel::<Vec<u8>>(1);
        let (answered, answers) = sync_channel(1);
        let thread = std::thread::Builder::new().name("post".to_owned()).stack_size(STACK_BYTES);
        let work = move || {
            while let Ok(body) = to_post.recv() {
                if answered.send(poster.post(&body)).is_err() {
                    return;
                }
            }
        };
        thread.spawn(work).map_err(|error| format!("no thread to post from: {error}"))?;
        Ok(Self { host, kernel, bodies, answers })
    }

    /// Hands a batch to the thread; `answer` has to be asked for before the next.
    pub(super) fn post(&self, batch: &Batch) {
        let body = Outgoing {
            host: &self.host,
            timestamp: batch.read_at,
            boot: &batch.boot,
            boot_time: batch.boot_time,
            kernel: &self.kernel,
            range: batch.range,
            lost: &batch.lost,
            lines: &batch.lines,
        }
        .encode();
        self.bodies.send(body).expect(THREAD_LIVES);
    }

    /// Waits for the answer for at most `limit`.
    pub(super) fn answer(&self, limit: Duration) -> Option<Answer> {
        match self.answers.recv_timeout(limit) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("{THREAD_LIVES}"),
        }
    }
}

/// If it does not, something of ours is broken: systemd starts us anew, and nothing is lost.
const THREAD_LIVES: &str = "the thread that posts lives as long as the agent";
/// A handshake and a request; large bodies are on the heap.
const STACK_BYTES: usize = 512 * 1024;

impl Poster {
    fn post(&self, body: &[u8]) -> Answer {
        let url = &self.url;
        let answered = self.client.post(url, Some(&self.api_key), body);
        crash::point("after send");
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) => {
                let reason = format!("cannot post to {url}: {}", error.why);
                return Answer::Failed(reason, Setback::Soon(None));
            }
        };
        let soon = Setback::Soon(answer.retry_after);
        let said = |what: &str| format!("{url} answered {}: {what}", answer.status);
        match answer.status {
            200 => match Reply::decode(&answer.body) {
                Some(reply) => Answer::Taken(reply),
                None => Answer::Failed(
                    said("it is not a collector's answer; is there a proxy in between?"),
                    soon,
                ),
            },
            400 => Answer::Malformed(said(&error_text(&answer.body))),
            401 | 403 => {
                let why = error_text(&answer.body);
                let also = if answer.status == 403 { " and this host's name" } else { "" };
                let what = format!("{why}; check {}{also}", config::API_KEY);
                Answer::Failed(said(&what), Setback::Slow(None))
            }
            413 => Answer::TooLarge,
            // A wrong key, again and again: not theirs alone who share this address.
            429 => {
                let slow = Setback::Slow(answer.retry_after);
                Answer::Failed(said(&error_text(&answer.body)), slow)
            }
            _ => Answer::Failed(said(&error_text(&answer.body)), soon),
        }
    }
}

/// The collector's own words, if the body holds any.
fn error_text(body: &[u8]) -> String {
    let text = serde_json::from_slice::<serde_json::Value>(body).ok();
    let text = text.as_ref().and_then(|value| value.get("error")?.as_str());
    let text = crate::kernel::escape_controls(text.unwrap_or("no reason given"));
    text.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_in_the_collectors_words() {
        for (body, expected) in [
            (&br#"{"error":"lines[0] is bad\n"}"#[..], r"lines[0] is bad\x0a"),
            (b"<html>", "no reason given"),
            (b"{}", "no reason given"),
        ] {
            assert_eq!(error_text(body), expected);
        }
    }
}
