//! The WAL's size: known, and cut back whenever nobody stands in the way.
//!
//! SQLite moves the WAL into the database by itself every 1000 pages, and then begins it anew; but
//! the file stays as large as it has been, and a reader that keeps a transaction open lets it grow
//! without bound.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BUSY_TIMEOUT, Store, StoreError, WAL_BYTES_KEPT};
use crate::time::Mono;

/// With nothing written for so long, there is time to empty the WAL.
const IDLE: Duration = Duration::from_secs(5);

pub(super) fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

impl Store {
    /// Bytes of the WAL's file.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.wal.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Empties the WAL when nothing else is to be done or when it is larger than it should be.
    /// Waits for nobody: as long as a reader is in the way, the file stays.
    pub(crate) fn tend_wal(&self, now: Mono) -> Result<(), StoreError> {
        let bytes = self.wal_bytes();
        let idle = self.wrote_at().is_none_or(|at| at.plus(IDLE) <= now);
        if bytes == 0 || !(idle || bytes > u64::from(WAL_BYTES_KEPT)) {
            return Ok(());
        }
        let connection = self.lock();
        connection.busy_timeout(Duration::ZERO)?;
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(emptied?)
    }
}
