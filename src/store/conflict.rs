//! Conflicts: names and boots that contradict each other. Nothing is lost by one, since cursors
//! belong to host and boot together; but an operator has to know.
//!
//! `shared_boot`: a boot is posted under another host name than before. Counted once a change: a
//! renamed host is one row that stays at 1, two hosts that share a boot are two rows that count on.
//!
//! `two_boots`: a host goes back to a boot that another one had followed. A reboot never does: what
//! is left of the old boot is sent before the new one's first record.

use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;
use crate::kernel::BootId;
use crate::time::Wall;
use crate::wire::HostName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// With the host that posted this boot before.
    SharedBoot { other: String },
    /// With the boot that the host posted before.
    TwoBoots { other: String },
}

impl Conflict {
    fn kind(&self) -> &'static str {
        match self {
            Self::SharedBoot { .. } => "shared_boot",
            Self::TwoBoots { .. } => "two_boots",
        }
    }

    fn other(&self) -> &str {
        match self {
            Self::SharedBoot { other } | Self::TwoBoots { other } => other,
        }
    }
}

/// Finds, counts and gives back what a post of `boot` contradicts, and remembers who posted it.
/// Called before the host's cursor moves; `known` says that this host has posted this boot before.
pub(super) fn note(
    connection: &Connection,
    host: &HostName,
    boot: &BootId,
    known: bool,
    now: Wall,
) -> Result<Vec<Conflict>, StoreError> {
    let (host, boot) = (host.as_str(), boot.as_str());
    let poster: Option<String> = connection
        .prepare_cached("SELECT hostname FROM boots WHERE boot_id = ?1")?
        .query_row([boot], |row| row.get(0))
        .optional()?;
    let mut conflicts = Vec::new();
    if poster.as_deref() != Some(host) {
        connection
            .prepare_cached(
                "INSERT INTO boots (boot_id, hostname) VALUES (?1, ?2)
                 ON CONFLICT (boot_id) DO UPDATE SET hostname = ?2",
            )?
            .execute([boot, host])?;
        conflicts.extend(poster.map(|other| Conflict::SharedBoot { other }));
    }
    if known {
        let last: Option<String> = connection
            .prepare_cached("SELECT boot_id FROM hosts WHERE hostname = ?1")?
            .query_row([host], |row| row.get(0))?;
        let other = last.filter(|last| last != boot);
        conflicts.extend(other.map(|other| Conflict::TwoBoots { other }));
    }
    for conflict in &conflicts {
        connection
            .prepare_cached(
                "INSERT INTO conflicts
                     (kind, hostname, boot_id, other, first_seen, last_seen, count)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1)
                 ON CONFLICT DO UPDATE SET last_seen = ?5, count = count + 1",
            )?
            .execute(params![conflict.kind(), host, boot, conflict.other(), now.to_string()])?;
    }
    Ok(conflicts)
}
