//! Small files beside a guard that an agent which restarts must find as they were.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::replace;

/// None: there is no such file. `unknown`: what nobody knows when it cannot be read, and what to do.
pub(super) async fn read<T: DeserializeOwned>(file: &Path, unknown: &str) -> Result<Option<T>, String> {
    let json = match tokio::fs::read(file).await {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|error| format!("{} cannot be read ({error}), so {unknown}", file.display()))
}

/// Whole or not at all, and on disk when it returns.
pub(super) async fn write<T: Serialize>(file: &Path, value: &T) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let json = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    let path = file.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        replace(dir, name, &[&json])
    });
    written.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
}
