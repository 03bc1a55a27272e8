//! The wall clock as single processes see it: libfaketime answers for the kernel, and reads how far off it is to be
//! from a file. What only flows (`CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`) is left alone.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::Pid;

/// Where Debian and Ubuntu put it, below the folder of the machine's kind; the one for programs with threads.
const FOLDER: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(super) struct WallClock {
    library: PathBuf,
    /// Holds a file for every process that has such a clock.
    folder: PathBuf,
}

impl WallClock {
    /// None: the library is not installed.
    pub fn find(folder: PathBuf) -> anyhow::Result<Option<WallClock>> {
        let below = fs::read_dir(FOLDER).into_iter().flatten().flatten();
        let Some(library) = below.map(|entry| entry.path().join(LIBRARY)).find(|path| path.is_file()) else {
            return Ok(None);
        };
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Some(WallClock { library, folder }))
    }

    /// Of a process of this name, which begins with the right time.
    pub fn env(&self, name: &str) -> anyhow::Result<Vec<(&'static str, OsString)>> {
        self.set(name, 0)?;
        Ok(vec![
            ("LD_PRELOAD", self.library.clone().into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file(name).into_os_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ])
    }

    /// So many seconds off, from now on.
    pub fn set(&self, name: &str, offset_s: i64) -> anyhow::Result<()> {
        let (file, new) = (self.file(name), self.file(&format!("{name}.new")));
        fs::write(&new, format!("{offset_s:+}\n")).with_context(|| new.display().to_string())?;
        // At once: whoever reads half a line would be somewhere else.
        fs::rename(&new, &file).with_context(|| file.display().to_string())
    }

    /// The same, and whether the process looked at its clock after that; `provoke` makes it do so.
    pub fn set_and_see(&self, name: &str, offset_s: i64, mut provoke: impl FnMut()) -> anyhow::Result<bool> {
        self.set(name, offset_s)?;
        let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        watch.add_watch(&self.file(name), AddWatchFlags::IN_OPEN)?;
        let began = Instant::now();
        while began.elapsed() < SEEN_WITHIN {
            provoke();
            match watch.read_events() {
                Ok(events) if !events.is_empty() => return Ok(true),
                Ok(_) | Err(Errno::EAGAIN) => std::thread::sleep(LOOK_EVERY),
                Err(error) => return Err(error).context("watching a clock"),
            }
        }
        Ok(false)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What the library leaves in memory of a process that was killed.
pub(super) fn forget(pid: Pid) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // There is none of a process without such a clock.
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
