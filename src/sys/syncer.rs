//! fsync in a thread of its own: a disk that is busy must not keep its caller from reading.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::files;

pub(crate) struct Syncer {
    files: SyncSender<(File, PathBuf)>,
    done: Receiver<io::Result<()>>,
    pending: usize,
}

/// More than this wait for a disk that does not come back: then the caller waits too.
const PENDING_MAX: usize = 8;
/// It calls two functions of the system's.
const STACK_BYTES: usize = 64 * 1024;

impl Syncer {
    pub(crate) fn start() -> Result<Self, String> {
        let (files, to_sync) = sync_channel::<(File, PathBuf)>(PENDING_MAX);
        let (tell, done) = sync_channel(PENDING_MAX + 1);
        let work = move || {
            while let Ok((file, folder)) = to_sync.recv() {
                let synced = file.sync_data().and_then(|()| files::sync_folder(&folder));
                if tell.send(synced).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("sync".to_owned()).stack_size(STACK_BYTES);
        let started = thread.spawn(work);
        started.map_err(|error| format!("no thread to sync from: {}", files::cause(&error)))?;
        Ok(Self { files, done, pending: 0 })
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.pending > 0
    }

    /// Has what was written to the file, and its name in the folder, put on the disk.
    pub(crate) fn sync(&mut self, file: File, folder: &Path) -> io::Result<()> {
        if self.pending == PENDING_MAX {
            self.wait()?;
        }
        self.pending += 1;
        self.files.send((file, folder.to_owned())).expect(THREAD_LIVES);
        Ok(())
    }

    /// What has come of it so far.
    pub(crate) fn outcome(&mut self) -> io::Result<()> {
        while let Ok(synced) = self.done.try_recv() {
            self.pending -= 1;
            synced?;
        }
        Ok(())
    }

    /// Until all of it is done.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        while self.pending > 0 {
            let synced = self.done.recv().expect(THREAD_LIVES);
            self.pending -= 1;
            synced?;
        }
        Ok(())
    }
}

const THREAD_LIVES: &str = "the thread that syncs lives as long as its owner";
