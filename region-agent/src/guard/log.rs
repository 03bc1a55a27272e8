//! The guard's log: plain lines, rare, in a file that does not grow without bound.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use decision::time::{Time, rfc3339};

/// A full file becomes `FILE.1`, in place of the one before.
const MOST_OCTETS: u64 = 1024 * 1024;

/// Opened for each line: two processes write, and each may be the one that moves a full file aside.
#[derive(Clone, Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Which of the two processes writes.
    who: &'static str,
}

impl Log {
    /// # Errors
    /// When nothing can be written there.
    pub(super) fn open(path: &Path, who: &'static str) -> io::Result<Log> {
        append(path)?;
        Ok(Log { path: path.to_owned(), who })
    }

    /// A line that cannot be written is dropped: the disk must not keep the guard from its deed.
    pub(super) fn line(&self, text: impl Display) {
        let at = rfc3339(Time(wall_ms()));
        let text = text.to_string().replace(['\n', '\r'], " ");
        let line = format!("{at} {}[{}] {text}\n", self.who, std::process::id());
        let _ = self.write(line.as_bytes());
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut file = append(&self.path)?;
        if file.metadata()?.len() >= MOST_OCTETS {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            fs::rename(&self.path, aside)?;
            file = append(&self.path)?;
        }
        file.write_all(line)
    }
}

pub(super) fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// For people only: Unix milliseconds.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line_and_the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::open(&path, "guard").unwrap();
        log.line("two\nlines");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("] two lines\n") && text.contains("Z guard["), "{text}");
        let long = "x".repeat(300_000);
        (0..10).for_each(|_| log.line(&long));
        let sizes = ["log", "log.1"].map(|name| fs::metadata(dir.path().join(name)).unwrap().len());
        assert!(sizes.iter().all(|size| *size < MOST_OCTETS + 400_000), "{sizes:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
