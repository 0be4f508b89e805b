//! A small file system of its own, to be filled up. Needs root, to mount it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Folder, skip};

pub(crate) struct Disk {
    mounted: PathBuf,
    _folder: Folder,
}

impl Disk {
    /// `None`, with a word about it, where nothing can be mounted.
    pub(crate) fn of_kib(size: u32) -> Option<Self> {
        let folder = Folder::new();
        let mounted = folder.path("disk");
        fs::create_dir(&mounted).unwrap();
        let options = format!("size={size}k");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tasseograph-test"]).arg(&mounted);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skip("no tmpfs can be mounted; run as root");
            return None;
        }
        Some(Self { mounted, _folder: folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mounted.join(name)
    }

    /// Takes every byte that is left.
    pub(crate) fn fill(&self) {
        let mut chunk = 64 * 1024;
        let mut file = fs::File::create(self.path("ballast")).unwrap();
        while chunk > 0 {
            if std::io::Write::write_all(&mut file, &vec![0; chunk]).is_err() {
                chunk /= 2;
            }
        }
    }

    pub(crate) fn remount_read_only(&self) {
        let remounted =
            Command::new("mount").args(["-o", "remount,ro"]).arg(&self.mounted).status();
        assert!(remounted.unwrap().success());
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmount = |path: &Path| Command::new("umount").arg("-l").arg(path).status();
        drop(unmount(&self.mounted));
    }
}
