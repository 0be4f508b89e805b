//! The tables, which people query with sqlite3, and the steps from older ones.
//!
//! Times are UTC text with microseconds, so that they sort as text. No stored text holds a control
//! character but the line ends of `raw_dmesg`.

use rusqlite::Connection;

use super::{StoreError, WAL_BYTES_KEPT, check};
use crate::sys::crash;

/// Marks the file as ours: "Tass".
const APPLICATION_ID: i32 = 0x5461_7373;

/// Step `n` leads from version `n` to `n + 1`; each is one transaction.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE hosts (
        hostname TEXT PRIMARY KEY,
        first_seen TEXT NOT NULL,
        last_seen TEXT NOT NULL,         -- by the collector's clock
        boot_id TEXT,                    -- of the last post
        kernel TEXT,
        agent TEXT,
        cursor INTEGER,                  -- the next record that is expected of this boot
        records_lost INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    CREATE TABLE cursors (
        hostname TEXT NOT NULL REFERENCES hosts (hostname),
        boot_id TEXT NOT NULL,
        next_seq INTEGER NOT NULL,
        updated_at TEXT NOT NULL,
        PRIMARY KEY (hostname, boot_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE deltas (
        id INTEGER PRIMARY KEY,
        hostname TEXT NOT NULL REFERENCES hosts (hostname),
        boot_id TEXT,                    -- these three are NULL for agents of the older form
        first_seq INTEGER,
        next_seq INTEGER,
        timestamp TEXT NOT NULL,         -- when the agent read the records
        received_at TEXT NOT NULL,
        lines INTEGER NOT NULL,
        raw_dmesg TEXT NOT NULL,         -- one readable line a record
        records TEXT NOT NULL,           -- a JSON array of the records verbatim
        state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed')),
        attempts INTEGER NOT NULL DEFAULT 0,
        next_attempt_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX deltas_waiting ON deltas (next_attempt_at, id) WHERE state = 'pending';
    CREATE INDEX deltas_running ON deltas (hostname) WHERE state = 'running';
    CREATE INDEX deltas_received ON deltas (received_at);
    CREATE INDEX deltas_host ON deltas (hostname, id);

    CREATE TABLE gaps (
        id INTEGER PRIMARY KEY,
        hostname TEXT NOT NULL REFERENCES hosts (hostname),
        boot_id TEXT NOT NULL,
        first_seq INTEGER NOT NULL,      -- [first_seq, next_seq) is missing
        next_seq INTEGER NOT NULL,
        reason TEXT NOT NULL,
        noticed_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX gaps_host ON gaps (hostname, boot_id, first_seq);
    CREATE INDEX gaps_noticed ON gaps (noticed_at);

    CREATE TABLE results (
        id INTEGER PRIMARY KEY,
        delta_id INTEGER NOT NULL UNIQUE REFERENCES deltas (id) ON DELETE CASCADE,
        timestamp TEXT NOT NULL,
        hostname TEXT NOT NULL,
        status TEXT NOT NULL
            CHECK (status IN ('ok', 'warning', 'critical', 'llm_unavailable', 'error')),
        issues TEXT NOT NULL,            -- a JSON array
        api_latency_ms INTEGER NOT NULL,
        provider TEXT,
        model TEXT,
        prompt_version INTEGER,
        note TEXT,                       -- why there is no analysis, or what was wrong with it
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX results_timestamp ON results (timestamp);
    CREATE INDEX results_status ON results (status, timestamp);
    CREATE INDEX results_host ON results (hostname, timestamp);

    CREATE VIEW findings AS
        SELECT results.id AS result_id, results.timestamp, results.hostname,
               issue.value ->> 'severity' AS severity, issue.value ->> 'category' AS category,
               issue.value ->> 'summary' AS summary, issue.value ->> 'evidence' AS evidence,
               issue.value ->> 'source' AS source, issue.value ->> 'verified' AS verified,
               results.provider, results.model, results.delta_id
        FROM results, json_each(results.issues) AS issue;
",
    "
    CREATE TABLE boots (
        boot_id TEXT PRIMARY KEY,
        hostname TEXT NOT NULL           -- who posted it last
    ) STRICT, WITHOUT ROWID;
    INSERT INTO boots (boot_id, hostname)
        SELECT boot_id, hostname FROM
            (SELECT boot_id, hostname, max(updated_at) FROM cursors GROUP BY boot_id);

    CREATE TABLE conflicts (
        kind TEXT NOT NULL CHECK (kind IN ('shared_boot', 'two_boots')),
        hostname TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        other TEXT NOT NULL,             -- the host, or the boot, that it was before
        first_seen TEXT NOT NULL,
        last_seen TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (kind, hostname, boot_id, other)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX conflicts_seen ON conflicts (last_seen);
",
    "
    -- With which key the latest post came; NULL until there is one.
    ALTER TABLE hosts ADD COLUMN key_kind TEXT
        CHECK (key_kind IN ('shared', 'shared_previous', 'host', 'host_previous'));
",
    "
    -- 1: the signature table finds something critical in it.
    ALTER TABLE deltas ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;
    -- Analyses that had an answer, and none that could be used.
    ALTER TABLE deltas ADD COLUMN unusable INTEGER NOT NULL DEFAULT 0;
    -- Analyses that ended with the process.
    ALTER TABLE deltas ADD COLUMN interrupted INTEGER NOT NULL DEFAULT 0;
    -- What the model itself said, whatever the signatures add; NULL where none was asked.
    ALTER TABLE results ADD COLUMN model_status TEXT
        CHECK (model_status IN ('ok', 'warning', 'critical'));

    DROP INDEX deltas_waiting;
    CREATE INDEX deltas_pending ON deltas (hostname, id) WHERE state = 'pending';
    CREATE INDEX deltas_urgent ON deltas (hostname, id) WHERE state = 'pending' AND urgent = 1;
    CREATE INDEX deltas_failed ON deltas (hostname, id) WHERE state = 'failed';

    -- A host whose deltas wait: they are analysed one at a time, the oldest first.
    CREATE TABLE lanes (
        hostname TEXT PRIMARY KEY,
        delta_id INTEGER NOT NULL,       -- the oldest of them, or the one under analysis
        urgent INTEGER NOT NULL,         -- 1: one of them is
        state TEXT NOT NULL CHECK (state IN ('ready', 'later', 'running')),
        due_at TEXT NOT NULL             -- of 'later'
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX lanes_ready ON lanes (urgent DESC, delta_id) WHERE state = 'ready';
    CREATE INDEX lanes_later ON lanes (due_at) WHERE state = 'later';

    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        delta_id INTEGER NOT NULL REFERENCES deltas (id) ON DELETE CASCADE,
        endpoint INTEGER NOT NULL,       -- its place in llm_endpoints, from 0
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        estimated INTEGER NOT NULL,      -- 1: the tokens are no figures of the endpoint's
        cost REAL,                       -- in the currency of `price`; NULL without a price
        latency_ms INTEGER NOT NULL,     -- to the last byte
        outcome TEXT NOT NULL,           -- 'answered', or why not
        prompt_version INTEGER NOT NULL,
        created_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX calls_created ON calls (created_at);
    CREATE INDEX calls_delta ON calls (delta_id);
",
    "
    -- 1: to be analysed again, after what is new.
    ALTER TABLE deltas ADD COLUMN put_back INTEGER NOT NULL DEFAULT 0;
    DROP INDEX deltas_pending;
    DROP INDEX deltas_urgent;
    CREATE INDEX deltas_pending ON deltas (hostname, put_back, id) WHERE state = 'pending';
    CREATE INDEX deltas_urgent ON deltas (hostname, id)
        WHERE state = 'pending' AND urgent = 1 AND put_back = 0;

    -- Made anew at each start.
    DROP TABLE lanes;
    CREATE TABLE lanes (
        hostname TEXT PRIMARY KEY,
        delta_id INTEGER NOT NULL,       -- whose turn it is, or the one under analysis
        put_back INTEGER NOT NULL,       -- that delta's
        urgent INTEGER NOT NULL,         -- 1: something new is
        state TEXT NOT NULL CHECK (state IN ('ready', 'later', 'running')),
        due_at TEXT NOT NULL             -- of 'later'
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX lanes_ready ON lanes (urgent DESC, put_back, delta_id) WHERE state = 'ready';
    CREATE INDEX lanes_later ON lanes (due_at) WHERE state = 'later';

    -- What the signature table alone says; NULL in rows of before.
    ALTER TABLE results ADD COLUMN rule_status TEXT
        CHECK (rule_status IN ('ok', 'warning', 'critical'));
    -- Issues whose evidence no record holds.
    ALTER TABLE results ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0;
    -- 1: the model said less than the signature table.
    ALTER TABLE results ADD COLUMN disagreement INTEGER GENERATED ALWAYS AS (
        CASE rule_status
            WHEN 'critical' THEN coalesce(model_status IN ('ok', 'warning'), 0)
            WHEN 'warning' THEN coalesce(model_status = 'ok', 0)
            ELSE 0
        END) VIRTUAL;
    UPDATE results SET unverified = (SELECT COUNT(*) FROM json_each(issues)
            WHERE value ->> 'verified' = 0)
        WHERE iif(json_valid(issues), issues, '') LIKE '%\"verified\":false%';
    -- Of before, the note alone knows.
    UPDATE results SET rule_status = iif(note LIKE '%, a signature critical%', 'critical',
            'warning')
        WHERE note LIKE '%a model says %, a signature %';

    CREATE INDEX results_trouble ON results (timestamp) WHERE status != 'ok';
    CREATE INDEX results_found ON results (timestamp) WHERE issues != '[]';
    CREATE INDEX results_found_host ON results (hostname, timestamp) WHERE issues != '[]';
    CREATE INDEX results_unverified ON results (timestamp) WHERE unverified > 0;
    CREATE INDEX results_disagreement ON results (timestamp) WHERE disagreement = 1;

    DROP VIEW findings;
    CREATE VIEW findings AS
        SELECT results.id AS result_id, results.timestamp, results.hostname,
               issue.value ->> 'severity' AS severity, issue.value ->> 'category' AS category,
               issue.value ->> 'signature' AS signature, issue.value ->> 'component' AS component,
               issue.value ->> 'summary' AS summary, issue.value ->> 'evidence' AS evidence,
               issue.value ->> 'source' AS source,
               CASE WHEN issue.value ->> 'verified' = 0 THEN 'not verified'
                    WHEN issue.value ->> 'user_text' = 1 THEN 'user text' END AS doubt,
               issue.value ->> 'verified' AS verified, issue.value ->> 'confirmed' AS confirmed,
               issue.value ->> 'user_text' AS user_text, issue.value ->> 'records' AS records,
               results.provider, results.model, results.delta_id
        FROM results, json_each(results.issues) AS issue WHERE results.issues != '[]';

    CREATE VIEW latest AS
        SELECT hosts.hostname, hosts.last_seen, results.timestamp, results.status,
               results.rule_status, results.model_status, results.provider, results.model,
               results.note, results.delta_id
        FROM hosts LEFT JOIN results ON results.id =
            (SELECT id FROM results AS newest WHERE newest.hostname = hosts.hostname
             ORDER BY newest.timestamp DESC, newest.id DESC LIMIT 1);

    CREATE VIEW recurring AS
        SELECT hostname, category, signature, component, MIN(severity) AS severity,
               MAX(summary) AS summary, MIN(timestamp) AS first_seen, MAX(timestamp) AS last_seen,
               COUNT(DISTINCT delta_id) AS times, MAX(delta_id) AS last_delta_id
        FROM findings WHERE doubt IS NULL
        GROUP BY hostname, category, signature, component, iif(signature IS NULL, summary, '')
        HAVING times > 1;

    CREATE VIEW backlog AS
        SELECT deltas.id AS delta_id, deltas.hostname, deltas.received_at, deltas.state,
               deltas.urgent, deltas.put_back, deltas.attempts, deltas.next_attempt_at,
               results.status, results.note
        FROM (SELECT id FROM deltas WHERE state = 'pending'
              UNION ALL SELECT id FROM deltas WHERE state = 'running') AS waiting
            CROSS JOIN deltas ON deltas.id = waiting.id
            LEFT JOIN results ON results.delta_id = deltas.id;
",
];

/// Refuses what is not ours or not whole, settles how the file is written, then brings its tables
/// up to date.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Unusable(
            "it is a database of another program; name another file with db_path".into(),
        ));
    }
    if version > MIGRATIONS.len() {
        return Err(StoreError::Unusable(format!(
            "its schema is version {version} and this program knows {}; it was written by a newer \
             tasseograph, run that one",
            MIGRATIONS.len()
        )));
    }
    check::check(connection, check::CHECK_LIMIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if crash::wrong("sync-off") { "OFF" } else { "FULL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    if (1..MIGRATIONS.len()).contains(&version) {
        log::info!(
            "the database's schema is version {version} and becomes {}: a minute or so for a \
             million deltas",
            MIGRATIONS.len()
        );
    }
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// For who reads and writes beside a collector, and brings nothing up to date in its place.
pub(super) fn must_be_current(connection: &Connection) -> Result<(), StoreError> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == MIGRATIONS.len() {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "its schema is version {version} and this program needs {}; start the collector of this \
         version on it first",
        MIGRATIONS.len()
    )))
}
