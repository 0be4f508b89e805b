//! The environment, read once; and secrets, which may come from it, from a file or from systemd.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files;

/// No key is longer; what is, is the wrong file.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

#[derive(Clone, Default)]
pub(crate) struct Environment(HashMap<String, String>);

impl Environment {
    /// Variables that are not UTF-8 are none of ours.
    pub(crate) fn read() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// With `path` as the secret's file where the environment has none of its own.
    pub(crate) fn or_file(&self, name: &str, path: &Path) -> Self {
        let mut environment = self.clone();
        if self.secret(name).is_ok_and(|secret| secret.is_none()) {
            let path = path.to_string_lossy().into_owned();
            environment.0.insert(format!("{name}_FILE"), path);
        }
        environment
    }

    /// `NAME`, else the file that `NAME_FILE` names, else systemd's credential `NAME`.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<String>, String> {
        if let Some(value) = self.get(name) {
            return Ok(Some(value));
        }
        if let Some(path) = self.get(&format!("{name}_FILE")) {
            return read_secret(Path::new(&path)).map(Some);
        }
        let Some(folder) = self.get("CREDENTIALS_DIRECTORY") else { return Ok(None) };
        let path = PathBuf::from(folder).join(name);
        if path.exists() { read_secret(&path).map(Some) } else { Ok(None) }
    }
}

fn read_secret(path: &Path) -> Result<String, String> {
    let bytes = files::read(path, SECRET_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| format!("{} is not text", files::quoted(path)))
}
