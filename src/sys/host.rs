//! Who this host is: its name, its kernel, its boot.

use std::path::Path;

use super::files;
use crate::kernel::BootId;

const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's host name.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The kernel's release: `6.1.0-18-amd64`.
pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

pub(crate) fn boot_id() -> Result<BootId, String> {
    let bytes = files::read(Path::new(BOOT_ID_PATH), 64)?;
    let text = String::from_utf8_lossy(&bytes);
    BootId::parse(&text).ok_or_else(|| format!("\"{BOOT_ID_PATH}\" holds no boot id"))
}
