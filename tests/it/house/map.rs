//! The map of the house: the table in the header of `src/lib.rs`, read.

use std::collections::BTreeSet;

use super::source::Source;

/// The table in the header of `src/lib.rs`, top to bottom.
pub(super) struct Map(pub(super) Vec<Row>);

pub(super) struct Row {
    pub(super) room: String,
    /// Above the first row that names a group: what *decide* stands for.
    pub(super) decides: bool,
    pub(super) uses: BTreeSet<String>,
}

impl Map {
    /// A row is ``| `room` | holds | may use |``; `| *group* | | |` starts a group. What a room may
    /// use is named in backticks; `*decide*` stands for all rooms that decide, `all but` for all
    /// rooms less these.
    pub(super) fn parse(lib: &str) -> Self {
        let quoted = |cell: &str| -> BTreeSet<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | "));
        let rows: Vec<Vec<&str>> =
            rows.map(|row| row.split('|').map(str::trim).collect()).collect();
        let rooms = || rows.iter().filter_map(|row| row[0].strip_prefix('`')?.strip_suffix('`'));
        let all: BTreeSet<String> = rooms().map(str::to_owned).collect();
        let deciders = rows.iter().take_while(|row| !row[0].starts_with('*'));
        let deciding: BTreeSet<String> = deciders.flat_map(|row| quoted(row[0])).collect();
        let row = |row: &Vec<&str>| {
            let room = row[0].strip_prefix('`')?.strip_suffix('`')?.to_owned();
            let mut uses = quoted(row[2]);
            if row[2].starts_with("all but") {
                uses = all.difference(&uses).cloned().collect();
            }
            if row[2].contains("*decide*") {
                uses.extend(deciding.iter().cloned());
            }
            uses.remove(&room);
            Some(Row { decides: deciding.contains(&room), room, uses })
        };
        Self(rows.iter().filter_map(row).collect())
    }

    pub(super) fn row(&self, room: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.room == room)
    }

    pub(super) fn decides(&self, source: &Source) -> bool {
        room_of(&source.path).and_then(|room| self.row(room)).is_some_and(|row| row.decides)
    }
}

/// `time` of `src/time/wall.rs`, `exit` of `src/exit.rs`; the files that join the rooms are in
/// none.
pub(super) fn room_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/")?.split('/').next()?;
    let room = name.strip_suffix(".rs").unwrap_or(name);
    (!matches!(room, "lib" | "main")).then_some(room)
}
