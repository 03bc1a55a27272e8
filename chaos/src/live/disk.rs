//! The disk, which all regions share here and nowhere else. What one run leaves to be written and thrown away would
//! hold up the commits of the next for a second.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// A commit of a quiet disk.
const QUICK: Duration = Duration::from_millis(20);
const EVERY: Duration = Duration::from_millis(10);
/// So many in a row.
const COMMITS: usize = 150;
const WITHIN: Duration = Duration::from_secs(30);

/// Until small writes reach the disk quickly, for a while. `folder` is on it. One that others keep busy is told of,
/// and not waited for any longer.
pub(super) fn wait_quiet(folder: &Path) -> anyhow::Result<()> {
    nix::unistd::sync();
    let path = folder.join("quiet");
    let quiet = || -> std::io::Result<bool> {
        let mut file = File::create(&path)?;
        let (began, mut quick) = (Instant::now(), 0);
        while quick < COMMITS && began.elapsed() < WITHIN {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&[0; 4096])?;
            let asked = Instant::now();
            file.sync_data()?;
            quick = if asked.elapsed() <= QUICK { quick + 1 } else { 0 };
            std::thread::sleep(EVERY);
        }
        std::fs::remove_file(&path)?;
        Ok(quick == COMMITS)
    };
    let is_quiet = quiet().with_context(|| path.display().to_string())?;
    if !is_quiet {
        eprintln!("  the disk does not come to rest: what is measured now is worse for it");
    }
    Ok(())
}
