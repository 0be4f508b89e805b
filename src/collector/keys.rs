//! Keys: which are right, whose they are, and what becomes of requests without one.
//!
//! The key that agents share, the one before it, and the keys of single hosts, which are made from
//! these two. Decided on the head, before a body is read. No key is ever logged, and no comparison
//! takes longer the more of a guess is right.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::failures::{Failures, WINDOW};
use super::server::HEALTH_PATH;
use crate::config::{self, CollectorConfig, Secret};
use crate::gate::{Answer, Head, Who};
use crate::store::KeyKind;
use crate::sys::digest::Mac;
use crate::sys::log::Limited;
use crate::sys::{clock, random};
use crate::time::Mono;
use crate::wire::{HostKey, HostName, INGEST_PATH, MAC_BYTES};

const WRONG: &str = "the key is wrong or missing";

pub(super) struct Keys {
    masters: Vec<Master>,
    host_keys_only: bool,
    failures: Mutex<Failures>,
    shared_refused: Limited,
}

/// What a request proved: the kind of its key, and the only host that it may post as, if there is
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) kind: KeyKind,
    owner: Option<HostName>,
}

/// A key that agents may share, and that hosts' own keys are made from.
struct Master {
    shared: KeyKind,
    host: KeyKind,
    /// With a key that nobody knows: of the master itself there is only `tag`.
    blind: Mac,
    tag: [u8; MAC_BYTES],
    derive: Mac,
}

impl Master {
    fn new(key: &Secret, shared: KeyKind, host: KeyKind) -> Self {
        let key = key.expose().as_bytes();
        let blind = Mac::new(&random::bytes::<32>());
        let tag = blind.sign(key);
        Self { shared, host, blind, tag, derive: Mac::new(key) }
    }

    /// Both sides go through the HMAC: neither length nor content shows in the time it takes.
    fn is(&self, token: &str) -> bool {
        self.blind.verify(token.as_bytes(), &self.tag)
    }

    fn has_made(&self, key: &HostKey) -> bool {
        self.derive.verify(key.host.as_str().as_bytes(), &key.mac)
    }
}

impl Keys {
    pub(super) fn new(config: &CollectorConfig) -> Self {
        if config.api_key.is_short() {
            log::warn!("{}: {}", config::API_KEY, Secret::SHORT);
        }
        Self::of(&config.api_key, config.previous_key.as_ref(), config.host_keys_only)
    }

    fn of(current: &Secret, previous: Option<&Secret>, host_keys_only: bool) -> Self {
        let current = Master::new(current, KeyKind::Shared, KeyKind::Host);
        let previous =
            previous.map(|key| Master::new(key, KeyKind::SharedPrevious, KeyKind::HostPrevious));
        Self {
            masters: [current].into_iter().chain(previous).collect(),
            host_keys_only,
            failures: Mutex::default(),
            shared_refused: Limited::default(),
        }
    }

    /// Judges a head before its body is read.
    pub(super) fn admit(&self, head: &Head, peer: IpAddr) -> Result<Who, Answer> {
        match (head.path.as_str(), head.method.as_str()) {
            // Whoever needs no key must not book room for a body either.
            (HEALTH_PATH, "GET" | "HEAD") if head.content_length > 0 => {
                Err(Answer::error(413, "no body belongs here"))
            }
            (HEALTH_PATH, "GET" | "HEAD") => Ok(Who::Stranger),
            (INGEST_PATH, "POST") => {
                // A right key first: it may share its address with somebody who guesses.
                match self.credential(head.authorization.as_deref()) {
                    Some(Credential { owner: None, .. }) if self.host_keys_only => {
                        Err(self.refuse_shared(peer))
                    }
                    Some(credential) => Ok(Who::Known(credential.encode())),
                    None => Err(self.refuse(peer)),
                }
            }
            (HEALTH_PATH, _) => Err(Answer::method_not_allowed("GET, HEAD")),
            (INGEST_PATH, _) => Err(Answer::method_not_allowed("POST")),
            _ => Err(Answer::error(404, "there is nothing here")),
        }
    }

    /// Every key is compared, whichever is right.
    fn credential(&self, authorization: Option<&str>) -> Option<Credential> {
        let (scheme, token) = authorization?.split_once(' ')?;
        let token = scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())?;
        let host_key = HostKey::parse(token);
        let mut found = None;
        for master in &self.masters {
            if let Some(key) = host_key.as_ref().filter(|key| master.has_made(key)) {
                found = Some(Credential { kind: master.host, owner: Some(key.host.clone()) });
            }
            if master.is(token) {
                found = Some(Credential { kind: master.shared, owner: None });
            }
        }
        found
    }

    /// Once a minute: what the log has not named of requests that were refused.
    pub(super) fn tell(&self, now: Mono) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = failures.left_over(now) {
            log::warn!("refused a wrong or missing key: {} in the last minute", unsaid.counted());
        }
    }

    fn refuse(&self, peer: IpAddr) -> Answer {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = failures.count(peer, clock::mono());
        drop(failures);
        if let Some(unsaid) = verdict.say {
            log::warn!("refused a wrong or missing key from {peer}{unsaid}");
        }
        if !verdict.is_too_many {
            return Answer::error(401, WRONG);
        }
        // An agent has to learn what is wrong here, too.
        let reason = format!("{WRONG}; too many such requests from this address");
        let seconds = u32::try_from(WINDOW.as_secs()).ok();
        Answer { retry_after: seconds, ..Answer::error(429, &reason) }
    }

    /// Whoever has this key guesses nothing: it counts as no failure.
    fn refuse_shared(&self, peer: IpAddr) -> Answer {
        if let Some(unsaid) = self.shared_refused.allow(clock::mono()) {
            log::warn!("refused the shared key from {peer}: require_host_keys is on{unsaid}");
        }
        let reason = "this collector takes host keys only; tasseograph host-key NAME prints one";
        Answer::error(401, reason)
    }
}

impl Credential {
    /// For the handler, through the gate: `shared`, `host:web-1`.
    fn encode(&self) -> String {
        match &self.owner {
            None => self.kind.name().to_owned(),
            Some(owner) => format!("{}:{owner}", self.kind.name()),
        }
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let (kind, owner) = match text.split_once(':') {
            None => (text, None),
            Some((kind, owner)) => (kind, Some(HostName::parse(owner)?)),
        };
        let kind = KeyKind::ALL.into_iter().find(|known| known.name() == kind)?;
        let is_of_a_host = matches!(kind, KeyKind::Host | KeyKind::HostPrevious);
        (is_of_a_host == owner.is_some()).then_some(Self { kind, owner })
    }

    /// Whose key it is, where it is not one to post as `host` with.
    pub(super) fn owner_unless(&self, host: &HostName) -> Option<&HostName> {
        self.owner.as_ref().filter(|owner| *owner != host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    fn keys(previous: Option<&str>, host_keys_only: bool) -> Keys {
        Keys::of(&secret("current"), previous.map(secret).as_ref(), host_keys_only)
    }

    fn head(method: &str, path: &str, authorization: Option<&str>) -> Head {
        Head {
            method: method.into(),
            path: path.into(),
            authorization: authorization.map(str::to_owned),
            content_length: 0,
            keep_alive: true,
            expects_continue: false,
        }
    }

    /// Who it is, or the status of the answer.
    fn admitted(keys: &Keys, authorization: Option<&str>) -> Result<String, u16> {
        match keys.admit(&head("POST", INGEST_PATH, authorization), PEER) {
            Ok(Who::Known(who)) => Ok(who),
            Ok(Who::Stranger) => panic!("a stranger may post"),
            Err(answer) => Err(answer.status),
        }
    }

    fn made(master: &str, name: &str) -> String {
        let mac = Mac::new(master.as_bytes()).sign(name.as_bytes());
        HostKey { host: HostName::parse(name).unwrap(), mac }.encode()
    }

    #[test]
    fn which_keys_are_right_and_whose_they_are() {
        let (one, both, hosts) =
            (keys(None, false), keys(Some("before"), false), keys(Some("before"), true));
        let no = Err(401);
        let ok = |who: &str| Ok(who.to_owned());
        let forged = made("current", "web-1").replace("web-1.", "web-2.");
        let mut cut = made("current", "web-1");
        cut.pop();
        for (token, by_one, by_both, by_hosts) in [
            ("current", ok("shared"), ok("shared"), no.clone()),
            ("before", no.clone(), ok("shared_previous"), no.clone()),
            (&made("current", "web-1"), ok("host:web-1"), ok("host:web-1"), ok("host:web-1")),
            (&made("current", "a.b.c"), ok("host:a.b.c"), ok("host:a.b.c"), ok("host:a.b.c")),
            (
                &made("before", "web-1"),
                no.clone(),
                ok("host_previous:web-1"),
                ok("host_previous:web-1"),
            ),
            (&made("other", "web-1"), no.clone(), no.clone(), no.clone()),
            (&forged, no.clone(), no.clone(), no.clone()),
            (&cut, no.clone(), no.clone(), no.clone()),
            ("web-1.current", no.clone(), no.clone(), no.clone()),
            ("curren", no.clone(), no.clone(), no.clone()),
            ("currentx", no.clone(), no.clone(), no.clone()),
            ("", no.clone(), no.clone(), no.clone()),
        ] {
            let given = format!("Bearer {token}");
            for (keys, expected) in [(&one, by_one), (&both, by_both), (&hosts, by_hosts)] {
                *keys.failures.lock().unwrap() = Failures::default();
                assert_eq!(admitted(keys, Some(&given)), expected, "{token}");
            }
        }
        for (given, expected) in [
            (Some("bearer  current"), ok("shared")),
            (Some("Basic current"), no.clone()),
            (Some("current"), no.clone()),
            (None, no),
        ] {
            assert_eq!(admitted(&one, given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_right_key_is_admitted_from_where_others_guess() {
        let keys = keys(Some("before"), false);
        for number in 1..=200 {
            let expected = if number <= 10 { 401 } else { 429 };
            assert_eq!(admitted(&keys, Some("Bearer guess")), Err(expected), "{number}");
            assert_eq!(admitted(&keys, Some("Bearer before")), Ok("shared_previous".into()));
        }
        let answer = keys.admit(&head("POST", INGEST_PATH, None), PEER).unwrap_err();
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.retry_after, Some(60));
        assert!(body.starts_with("{\"error\":\"the key is wrong or missing; too many"), "{body}");
        let other = keys.admit(&head("POST", INGEST_PATH, None), "192.0.2.2".parse().unwrap());
        assert_eq!(other.unwrap_err().status, 401);
    }

    #[test]
    fn who_has_the_shared_key_guesses_nothing() {
        let keys = keys(None, true);
        for _ in 0..50 {
            let answer = keys.admit(&head("POST", INGEST_PATH, Some("Bearer current")), PEER);
            let answer = answer.unwrap_err();
            let body = String::from_utf8(answer.body).unwrap();
            assert_eq!(answer.status, 401);
            assert_eq!(
                body,
                "{\"error\":\"this collector takes host keys only; tasseograph host-key NAME \
                 prints one\"}"
            );
        }
        assert_eq!(admitted(&keys, None), Err(401));
    }

    #[test]
    fn other_paths_need_no_key() {
        let keys = keys(None, false);
        for (method, path, expected) in [
            ("GET", HEALTH_PATH, 200),
            ("HEAD", HEALTH_PATH, 200),
            ("POST", HEALTH_PATH, 405),
            ("GET", INGEST_PATH, 405),
            ("GET", "/", 404),
        ] {
            let status = match keys.admit(&head(method, path, None), PEER) {
                Ok(who) => {
                    assert_eq!(who, Who::Stranger);
                    200
                }
                Err(answer) => answer.status,
            };
            assert_eq!(status, expected, "{method} {path}");
        }
    }

    #[test]
    fn credentials_come_back_as_they_went() {
        let host = |name: &str| HostName::parse(name).unwrap();
        for kind in KeyKind::ALL {
            let is_of_a_host = matches!(kind, KeyKind::Host | KeyKind::HostPrevious);
            let credential = Credential { kind, owner: is_of_a_host.then(|| host("web-1")) };
            assert_eq!(Credential::decode(&credential.encode()), Some(credential.clone()));
            assert_eq!(credential.owner_unless(&host("web-1")), None);
            assert_eq!(credential.owner_unless(&host("web-2")).is_some(), is_of_a_host);
        }
        for bad in ["", "host", "shared:web-1", "host:", "host:a b", "root", "host_previous"] {
            assert_eq!(Credential::decode(bad), None, "{bad}");
        }
    }
}
