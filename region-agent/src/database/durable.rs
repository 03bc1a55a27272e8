//! Small files of which nothing may be half written.

use std::io;
use std::path::Path;

/// Whole or not at all, and on disk when it returns.
pub(super) async fn write(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    tokio::fs::write(&new, text).await?;
    tokio::fs::File::open(&new).await?.sync_all().await?;
    tokio::fs::rename(&new, file).await?;
    match file.parent() {
        Some(folder) => tokio::fs::File::open(folder).await?.sync_all().await,
        None => Ok(()),
    }
}
