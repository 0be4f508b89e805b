//! Reading for reports, through a connection of its own that cannot write.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::{BUSY_TIMEOUT, StoreError, schema};

pub(crate) struct Reader {
    connection: Connection,
}

/// A query's answer, as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        must_be_there(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags);
        let connection = opened.map_err(|error| {
            let why = StoreError::from(error).reason().to_owned();
            StoreError::Unusable(format!("{}: {why}", path.display()))
        })?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(Self { connection })
    }

    /// For questions of ours, which name what the present schema has.
    pub(crate) fn must_be_current(&self) -> Result<(), StoreError> {
        schema::must_be_current(&self.connection)
    }

    pub(crate) fn query(&self, sql: &str) -> Result<Table, StoreError> {
        let prepared = self.connection.prepare(sql);
        let mut statement = prepared.map_err(|error| match error {
            // Without the query, which the operator has before their eyes.
            rusqlite::Error::SqlInputError { msg, .. } => StoreError::Unusable(msg),
            error => error.into(),
        })?;
        // The connection cannot write the database; `VACUUM INTO` would write another file.
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(StoreError::Unusable("it is no query: only SELECT is answered".to_owned()));
        }
        let columns: Vec<_> = statement.column_names().map(String::from).collect();
        let mut found = statement.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let cells = (0..columns.len()).map(|index| Ok(text(row.get_ref(index)?)));
            rows.push(cells.collect::<rusqlite::Result<Vec<_>>>()?);
        }
        Ok(Table { columns, rows })
    }
}

/// SQLite has one text for whatever keeps it from opening a file.
pub(super) fn must_be_there(path: &Path) -> Result<(), StoreError> {
    let opened = std::fs::File::open(path).map_err(|error| {
        let cause = crate::sys::files::cause(&error);
        let hint = match error.kind() {
            ErrorKind::NotFound => {
                "; name the collector's database with --db, or start the collector, which makes it"
            }
            ErrorKind::PermissionDenied => "; run as root",
            _ => "",
        };
        StoreError::Unusable(format!("{}: {cause}{hint}", path.display()))
    });
    opened.map(drop)
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}
