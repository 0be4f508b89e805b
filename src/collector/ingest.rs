//! `POST /ingest`: checked, stored, answered. No analysis happens here.

use std::sync::Arc;
use std::time::Duration;

use super::keys::Credential;
use super::server::{Handled, refused};
use super::worker::Bell;
use crate::kernel::BootId;
use crate::store::{Arrival, Conflict, Store, StoreError, Stored};
use crate::sys::clock;
use crate::sys::log::Limited;
use crate::time::Wall;
use crate::wire::{Content, HostName, Post, Reply};

/// An agent's clock outside of these is wrong: the collector's counts.
const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);
const BEHIND_MAX: Duration = Duration::from_secs(24 * 3600);
/// What a full or locked database asks of agents.
const RETRY_SECONDS: u32 = 10;

/// What every post needs.
pub(super) struct Ingest {
    pub(super) store: Arc<Store>,
    pub(super) bell: Arc<Bell>,
    pub(super) trouble: Limited,
    pub(super) conflicts: Limited,
    pub(super) losses: Limited,
    pub(super) foreign_keys: Limited,
}

impl Ingest {
    /// Checks a post and hands it to the next group; `answer` is called once it is on disk, or is
    /// known not to be.
    pub(super) fn handle(
        self: &Arc<Self>,
        body: &[u8],
        peer: &str,
        credential: &Credential,
        answer: impl FnOnce(&Handled) + Send + 'static,
    ) {
        let post = match Post::decode(body) {
            Ok(post) => post,
            Err(error) => {
                log::debug!("refused a post from {peer}: {}", error.0);
                return answer(&refused(400, &error.0));
            }
        };
        if let Some(owner) = credential.owner_unless(&post.host) {
            let posted = &post.host;
            if let Some(unsaid) = self.foreign_keys.allow(clock::mono()) {
                log::warn!("refused a post of {posted} with {owner}'s key from {peer}{unsaid}");
            }
            let reason = format!("the key is {owner}'s, the post is {posted}'s");
            return answer(&refused(403, &reason));
        }
        let now = clock::wall();
        let host = post.host.clone();
        let arrival = Arrival {
            host: post.host,
            kernel: post.kernel,
            agent: post.agent,
            timestamp: believable(post.timestamp, now),
            received_at: now,
            key_kind: credential.kind,
            content: post.content,
        };
        let ingest = Arc::clone(self);
        let boot = boot_of(&arrival.content);
        self.store.ingest(arrival, move |stored| {
            answer(&match &stored {
                Ok(stored) => accepted(stored),
                Err(error) => rejected(error),
            });
            ingest.note(&host, boot.as_ref(), &stored);
        });
    }

    fn note(&self, host: &HostName, boot: Option<&BootId>, stored: &Result<Stored, StoreError>) {
        match stored {
            Ok(stored) => {
                log::debug!("{host}: {}, {} lines", stored.status.name(), stored.lines);
                if stored.lost > 0
                    && let Some(unsaid) = self.losses.allow(clock::mono())
                {
                    let lost = stored.lost;
                    log::warn!("{host}: {lost} records were lost; gaps says which{unsaid}");
                }
                for conflict in &stored.conflicts {
                    if let (Some(boot), Some(unsaid)) = (boot, self.conflicts.allow(clock::mono()))
                    {
                        log::warn!("{}{unsaid}", described(host, boot, conflict));
                    }
                }
                if stored.lines > 0 {
                    self.bell.ring();
                }
            }
            Err(error) => {
                if let Some(unsaid) = self.trouble.allow(clock::mono()) {
                    log::error!("cannot store: {error}; agents keep their records{unsaid}");
                }
            }
        }
    }
}

fn boot_of(content: &Content) -> Option<BootId> {
    match content {
        Content::Text(_) => None,
        Content::Records { delta, .. } => Some(delta.boot.clone()),
    }
}

fn described(host: &HostName, boot: &BootId, conflict: &Conflict) -> String {
    match conflict {
        Conflict::SharedBoot { other } => format!(
            "boot {boot} is posted by {host} and was by {other}: a renamed host, or two agents on \
             one kernel"
        ),
        Conflict::TwoBoots { other } => format!(
            "{host} posts boots {boot} and {other} by turns: two machines with one name; give one \
             another"
        ),
    }
}

fn accepted(stored: &Stored) -> Handled {
    let reply = Reply { status: stored.status, next_seq: stored.next_seq };
    Handled { status: 200, body: reply.encode(), retry_after: None }
}

fn rejected(error: &StoreError) -> Handled {
    let retry_after = match error {
        StoreError::Retry(_) => RETRY_SECONDS,
        StoreError::Unusable(_) | StoreError::Damaged(_) => 6 * RETRY_SECONDS,
        StoreError::Fault(_) => return refused(500, "a fault of ours"),
    };
    let refusal = refused(503, "the database cannot be written now");
    Handled { retry_after: Some(retry_after), ..refusal }
}

/// The agent's time unless it cannot be right.
fn believable(timestamp: Option<Wall>, now: Wall) -> Wall {
    timestamp
        .filter(|time| *time <= now.plus(AHEAD_MAX) && *time >= now.minus(BEHIND_MAX))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_cannot_be_right_is_replaced() {
        let wall = |text: &str| Wall::parse(text).unwrap();
        let now = wall("2026-02-03T12:30:00Z");
        for (timestamp, believed) in [
            ("2026-02-03T12:29:00Z", "2026-02-03T12:29:00Z"),
            ("2026-02-03T12:35:00Z", "2026-02-03T12:35:00Z"),
            ("2026-02-03T12:35:01Z", "2026-02-03T12:30:00Z"),
            ("2026-02-02T12:30:00Z", "2026-02-02T12:30:00Z"),
            ("2026-02-02T12:29:59Z", "2026-02-03T12:30:00Z"),
            ("1970-01-01T00:00:00Z", "2026-02-03T12:30:00Z"),
        ] {
            assert_eq!(believable(Some(wall(timestamp)), now), wall(believed), "{timestamp}");
        }
        assert_eq!(believable(None, now), now);
    }
}
