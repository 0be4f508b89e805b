//! Who this host is: its name, its kernel, its boot.

use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use super::files;
use crate::kernel::BootId;

const HOSTS_PATH: &str = "/etc/hosts";
const HOSTS_BYTES_MAX: u64 = 1024 * 1024;
/// Addresses for documentation, which are nobody's: a UDP socket that is connected to one sends
/// nothing, and has the address that this host would send from.
const ROUTES: &[(&str, &str)] = &[("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's host name.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The kernel's host name, and what stands beside it in /etc/hosts.
pub(crate) fn names() -> Vec<String> {
    let own = name();
    let hosts = files::read(Path::new(HOSTS_PATH), HOSTS_BYTES_MAX).unwrap_or_default();
    let hosts = String::from_utf8_lossy(&hosts);
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or(""));
    let lines = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let beside = lines.filter(|names| names.contains(&own.as_str())).flatten();
    let names = beside.map(str::to_owned).filter(|name| !name.starts_with("localhost"));
    let mut names: Vec<_> = [own.clone()].into_iter().chain(names).collect();
    names.retain(|name| name != "localhost" && name != "(none)");
    names
}

/// The addresses that this host sends from.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let routed = |(from, to): &(&str, &str)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let addresses = ROUTES.iter().filter_map(routed);
    addresses.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

/// How this program was called.
pub(crate) fn called() -> String {
    let first = std::env::args_os().next().unwrap_or_default();
    first.into_string().unwrap_or_else(|_| "tasseograph".to_owned())
}

/// This program's file, where /proc tells.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
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
