//! The agent: reads what the kernel log has new, posts it, remembers how far it came, sleeps.
//!
//! One thread, one loop. Every instant is a good one for SIGKILL: the state file moves only after
//! the collector's answer, and the collector's cursor removes what is sent twice.

mod outbox;

use std::path::Path;
use std::time::Duration;

use crate::config::{self, AgentConfig};
use crate::exit::Exit;
use crate::kernel::{BootId, Cursor, Seq};
use crate::sys::env::Environment;
use crate::sys::http::{Client, ClientSettings, Deadline};
use crate::sys::kmsg::{Kmsg, OpenError, Reading};
use crate::sys::notify::Notifier;
use crate::sys::{clock, files, host, out, probe, random};
use crate::time::{Random, Wall, full_jitter};
use crate::wire::{HostName, Outgoing, Reply};
use outbox::{Moved, Offer, Outbox};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A collector that is busy writing may take a while; a dead one must not hold us for ever.
const POST_TIMEOUT: Duration = Duration::from_secs(30);
const REPLY_BYTES_MAX: u64 = 64 * 1024;
const RETRY_BASE: Duration = Duration::from_secs(1);
/// A state file is one line.
const STATE_BYTES_MAX: u64 = 4 * 1024;
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

struct Agent {
    config: AgentConfig,
    host: HostName,
    kernel: String,
    kmsg: Kmsg,
    client: Client,
    outbox: Outbox,
    /// When the batch's records were read.
    read_at: Wall,
    /// A record that did not fit into the batch.
    held: Option<String>,
    notifier: Notifier,
    /// What the log said last: said once a change.
    healthy: Option<bool>,
    /// What the state file says.
    saved: Option<Seq>,
}

/// Why a poll did not end well.
struct PollError {
    reason: String,
    /// How long the collector asks us to stay away.
    retry_after: Option<Duration>,
}

impl From<String> for PollError {
    fn from(reason: String) -> Self {
        Self { reason, retry_after: None }
    }
}

#[derive(Default)]
struct Sent {
    posts: u64,
    records: u64,
    lost: u64,
}

/// `tasseograph agent`.
pub(crate) fn run(path: &Path, check_only: bool, once: bool, environment: &Environment) -> Exit {
    let config = match load(path, environment) {
        Ok(config) => config,
        Err(reason) => {
            out::complain(&reason);
            return Exit::Config;
        }
    };
    if check_only {
        out::print(&format!("{}: ok\n", path.display()));
        return Exit::Ok;
    }
    let mut agent = match Agent::start(config, Notifier::new(environment)) {
        Ok(agent) => agent,
        Err((exit, reason)) => {
            out::complain(&reason);
            return exit;
        }
    };
    if once { agent.run_once() } else { agent.run_for_ever() }
}

fn load(path: &Path, environment: &Environment) -> Result<AgentConfig, String> {
    let bytes = files::read(path, CONFIG_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    probe::with_probe(environment, |probe| AgentConfig::check(&text, probe))
        .map_err(|problems| config::render(path, &problems))
}

impl Agent {
    fn start(config: AgentConfig, notifier: Notifier) -> Result<Self, (Exit, String)> {
        let failed = |reason| (Exit::Failed, reason);
        let host = match &config.host {
            Some(host) => host.clone(),
            None => own_name().map_err(|reason| (Exit::Config, reason))?,
        };
        files::make_folder_of(&config.state_file).map_err(failed)?;
        let kmsg = Kmsg::open(&config.kmsg_path).map_err(|error| match error {
            OpenError::Permission(reason) => (Exit::Permission, reason),
            OpenError::Failed(reason) => failed(reason),
        })?;
        let boot = if kmsg.is_device() { host::boot_id() } else { kmsg.boot_of_file() };
        let cursor = resume(&config.state_file, boot.map_err(failed)?);
        let saved = cursor.next;
        let settings = ClientSettings {
            trust: &config.trust,
            https: true,
            connect_timeout: CONNECT_TIMEOUT,
            deadline: Deadline::Phase(POST_TIMEOUT),
            answer_bytes_max: REPLY_BYTES_MAX,
        };
        let client = Client::new(&settings).map_err(|reason| (Exit::Config, reason))?;
        if config.trust == config::Trust::Anyone {
            log::warn!("tls_skip_verify is on: whoever answers as the collector gets the key");
        }
        let outbox = Outbox::new(cursor, config.payload_bytes);
        Ok(Self {
            host,
            kernel: host::kernel_release(),
            kmsg,
            client,
            outbox,
            read_at: clock::wall(),
            held: None,
            notifier,
            healthy: None,
            saved,
            config,
        })
    }

    fn run_once(&mut self) -> Exit {
        match self.poll() {
            Ok(sent) => {
                log::info!(
                    "records sent: {}, posts: {}, records lost: {}; the next is {}",
                    sent.records,
                    sent.posts,
                    sent.lost,
                    self.outbox.cursor().next.map_or(0, |seq| seq.0)
                );
                Exit::Ok
            }
            Err(error) => {
                log::error!("{}", error.reason);
                Exit::Failed
            }
        }
    }

    fn run_for_ever(&mut self) -> Exit {
        log::info!(
            "tasseograph {} reads {} as {} and posts to {} every {}",
            env!("CARGO_PKG_VERSION"),
            self.config.kmsg_path.display(),
            self.host,
            self.config.ingest_url,
            crate::time::format_span(self.config.poll_interval)
        );
        self.notifier.ready("first poll");
        let mut random = Random::from_seed(random::seed());
        let mut failures = 0;
        loop {
            let wait = match self.poll() {
                Ok(_) => {
                    failures = 0;
                    self.note_success();
                    self.config.poll_interval
                }
                Err(error) => {
                    failures += 1;
                    self.note_failure(&error.reason);
                    let cap = self.config.poll_interval;
                    let wait = full_jitter(failures, RETRY_BASE, cap, &mut random);
                    wait.max(error.retry_after.unwrap_or_default().min(cap))
                }
            };
            self.sleep(wait);
        }
    }

    fn note_success(&mut self) {
        let next = self.outbox.cursor().next.map_or(0, |seq| seq.0);
        self.notifier.status(&format!("all records before {next} are acknowledged"));
        if self.healthy.replace(true) != Some(true) {
            log::info!("the collector has all records before {next}");
        }
    }

    fn note_failure(&mut self, reason: &str) {
        self.notifier.status(&format!("failing: {reason}"));
        if self.healthy.replace(false) == Some(false) {
            log::debug!("still failing: {reason}");
        } else {
            log::error!("{reason}; records stay in the kernel's ring and are sent when it works");
        }
    }

    fn sleep(&self, span: Duration) {
        let until = clock::mono().plus(span);
        loop {
            self.notifier.alive();
            let remaining = until.remaining(clock::mono());
            if remaining.is_zero() {
                return;
            }
            clock::sleep(remaining.min(self.notifier.pet_every().unwrap_or(remaining)));
        }
    }

    /// Sends all that is new, oldest first, in as many posts as it takes; at least one, so that the
    /// collector knows that we live.
    fn poll(&mut self) -> Result<Sent, PollError> {
        let mut sent = Sent::default();
        let mut went_back = false;
        loop {
            let ended = self.fill()?;
            if self.outbox.is_empty() && sent.posts > 0 && ended {
                return Ok(sent);
            }
            self.notifier.alive();
            let batch = self.outbox.batch();
            let lost: u64 = batch.lost.iter().map(|gap| gap.len()).sum();
            let records = batch.lines.len() as u64;
            let Some(reply) = self.post()? else { continue };
            sent.posts += 1;
            sent.records += records;
            sent.lost += lost;
            if lost > 0 {
                log::warn!("the kernel overwrote {lost} records before they could be read");
            }
            if self.adopt(&reply)? == Moved::Back {
                if went_back {
                    return Err("the collector asks for older records again and again"
                        .to_owned()
                        .into());
                }
                went_back = true;
                self.start_over()?;
            }
        }
    }

    /// Reads until the batch is full or the ring ends; `true` at its end.
    fn fill(&mut self) -> Result<bool, PollError> {
        if self.outbox.is_empty() {
            self.read_at = clock::wall();
        }
        let mut newest = None;
        loop {
            let line = match self.held.take() {
                Some(line) => line,
                None => match self.kmsg.read()? {
                    Reading::Record(line) => line,
                    Reading::Overrun => continue,
                    Reading::End if self.is_ahead_of(newest) => {
                        log::warn!(
                            "the state is ahead of the kernel log; reading it from its start"
                        );
                        self.outbox.forget();
                        self.kmsg.rewind()?;
                        newest = None;
                        continue;
                    }
                    Reading::End => return Ok(true),
                },
            };
            newest = crate::kernel::Head::parse(&line).ok().map(|head| head.seq).max(newest);
            match self.outbox.offer(line) {
                Ok(Offer::Full(line)) => {
                    self.held = Some(line);
                    return Ok(false);
                }
                Ok(Offer::Taken | Offer::Old) => {}
                Err(error) => log::warn!("a record cannot be read: {}", error.reason()),
            }
        }
    }

    /// Whether all that was read lies below what we expect, with a hole before it: no ring of this
    /// boot can be so.
    fn is_ahead_of(&self, newest: Option<Seq>) -> bool {
        match (self.outbox.expected(), newest) {
            (Some(expected), Some(newest)) => newest.next() < expected,
            _ => false,
        }
    }

    /// `None`: the batch was too large, and has been made smaller.
    fn post(&mut self) -> Result<Option<Reply>, PollError> {
        let batch = self.outbox.batch();
        let body = Outgoing {
            host: &self.host,
            timestamp: self.read_at,
            boot: &self.outbox.cursor().boot,
            boot_time: self.boot_time(batch.last_usec),
            kernel: &self.kernel,
            range: batch.range,
            lost: &batch.lost,
            lines: &batch.lines,
        }
        .encode();
        let url = &self.config.ingest_url;
        let answer = self
            .client
            .post(url, Some(&self.config.api_key), &body)
            .map_err(|error| format!("cannot post to {url}: {}", error.0))?;
        let refused = |reason: &str| PollError {
            reason: format!("{url} answered {}: {reason}", answer.status),
            retry_after: answer.retry_after,
        };
        match answer.status {
            200 => match Reply::decode(&answer.body) {
                Some(reply) => Ok(Some(reply)),
                None => {
                    Err(refused("it is not a collector's answer; is there a proxy in between?"))
                }
            },
            401 => {
                Err(refused(&format!("the key is not the collector's; check {}", config::API_KEY)))
            }
            413 if self.outbox.shrink() => {
                log::info!("{url} finds a post of {} bytes too large; halving it", body.len());
                self.start_over()?;
                Ok(None)
            }
            _ => Err(refused(&error_text(&answer.body))),
        }
    }

    /// The wall time of the kernel's time zero. A file says nothing of it: its last record is now.
    fn boot_time(&self, last_usec: u64) -> Wall {
        let since_boot = if self.kmsg.is_device() {
            clock::since_boot()
        } else {
            Duration::from_micros(last_usec)
        };
        clock::wall().minus(since_boot)
    }

    fn adopt(&mut self, reply: &Reply) -> Result<Moved, PollError> {
        let batch = self.outbox.batch();
        let (end, last_usec) = (batch.range.to, batch.last_usec);
        let moved = self.outbox.acknowledge(reply.next_seq.unwrap_or(end));
        // A poll without news writes nothing.
        if self.outbox.cursor().next != self.saved {
            let last = self.boot_time(last_usec).plus(Duration::from_micros(last_usec));
            let state = self.outbox.cursor().encode(last.min(self.read_at));
            files::replace(&self.config.state_file, state.as_bytes())?;
            self.saved = self.outbox.cursor().next;
        }
        Ok(moved)
    }

    fn start_over(&mut self) -> Result<(), PollError> {
        self.held = None;
        Ok(self.kmsg.rewind()?)
    }
}

fn own_name() -> Result<HostName, String> {
    let name = host::name();
    if name.is_empty() {
        return Err("the kernel does not tell its host name; set hostname".to_owned());
    }
    HostName::parse(&name).ok_or_else(|| {
        format!(
            "the kernel's host name \"{name}\" cannot be used; {}; set hostname",
            HostName::RULE
        )
    })
}

/// Where to go on. What the state file cannot tell, the collector's cursor does.
fn resume(path: &Path, boot: BootId) -> Cursor {
    if !path.exists() {
        return Cursor::resume(boot, None);
    }
    let bytes = files::read(path, STATE_BYTES_MAX).unwrap_or_else(|reason| {
        log::warn!("{reason}; reading the kernel log from its start");
        Vec::new()
    });
    let state = Cursor::decode(&String::from_utf8_lossy(&bytes)).unwrap_or_else(|error| {
        let shown = files::quoted(path);
        log::warn!("{shown}: {}; reading the kernel log from its start", error.reason());
        None
    });
    Cursor::resume(boot, state.as_ref())
}

/// The collector's own words, if the body holds any.
fn error_text(body: &[u8]) -> String {
    let text = serde_json::from_slice::<serde_json::Value>(body).ok();
    let text = text.as_ref().and_then(|value| value.get("error")?.as_str());
    crate::kernel::escape_controls(text.unwrap_or("no reason given")).chars().take(300).collect()
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
