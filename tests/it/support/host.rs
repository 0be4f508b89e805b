//! A host whose kernel log is a file, with its agent's configuration.

use std::fs;
use std::path::PathBuf;

use super::{Collector, Folder, Process, agent_config, kernel_records, lines, tasseograph};

/// An agent's folder with a log of records `[0, count)`; `append` makes it longer.
pub(crate) struct Host {
    pub(crate) folder: Folder,
    pub(crate) config: PathBuf,
    pub(crate) next: u64,
}

impl Host {
    pub(crate) fn new(count: u64, collector: &str, more: &str) -> Self {
        let folder = Folder::new();
        let log = folder.write("kmsg", &kernel_records(0, count));
        let more = format!("hostname: web-1\nkmsg_path: {}\n{more}", log.display());
        let config = agent_config(&folder, collector, &more);
        Self { folder, config, next: count }
    }

    pub(crate) fn start(&self) -> Process {
        Process::start(&mut tasseograph(&["agent", "-c", self.config.to_str().unwrap()]))
    }

    pub(crate) fn append(&mut self, count: u64) {
        use std::io::Write;
        let log = fs::OpenOptions::new().append(true).open(self.folder.path("kmsg"));
        let records = kernel_records(self.next, self.next + count);
        log.unwrap().write_all(records.as_bytes()).unwrap();
        self.next += count;
    }

    pub(crate) fn arrived_once_in_order(&self, collector: &Collector) {
        let cursor = self.next.to_string();
        collector.wait_for("SELECT cursor FROM hosts WHERE hostname = 'web-1'", &cursor);
        assert_eq!(collector.records("web-1"), lines(0, self.next));
        assert_eq!(collector.one("SELECT COUNT(*) FROM gaps"), "0");
    }
}

/// Polls often, and gives up soon.
pub(crate) const HASTY: &str = "poll_interval: 100ms\ndrain_interval: 50ms\npost_timeout: 2s\n";
