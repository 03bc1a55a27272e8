//! Points at which a test ends a process, exactly there: before and after each deed of a plan, whoever does it. Only in
//! debug builds, and only in a process that was armed; in all others there is nothing of it.

use std::ffi::OsString;

/// Names the folder, to programs.
pub const FOLDER: &str = "REGENT_FAILPOINTS";
/// Whether processes that were built with this one have any.
pub const ARE_BUILT: bool = cfg!(debug_assertions);

/// What the leader has written into the log.
pub const ENTRIES: &[&str] = &[
    "plan-opened",
    "fence-begun",
    "lease-ended",
    "fence-done",
    "promote-begun",
    "promote-done",
    "shift-dns-begun",
    "shift-dns-done",
    "verify-dns-begun",
    "verify-dns-done",
    "verify-write-begun",
    "verify-write-done",
    "verify-service-begun",
    "verify-service-done",
    "plan-ended",
];

/// What an agent does to its database, or as a step, and what it tells of that.
pub const DEEDS: &[&str] = &[
    "create",
    "start-primary",
    "start-replica",
    "promote",
    // Within `promote`: the guard counts already, the files do not say so yet.
    "take-writes",
    "follow",
    "shut-down",
    "stop",
    "kill",
    "rewind",
    // Within `rewind`: what it had is saved, the folder is a replica's afterwards only.
    "pg-rewind",
    "clone",
    // Within `clone`: the old folder is aside, the copy not in its place.
    "swap-folders",
    "release",
    "tell-release",
    "tell-primary",
    "shift-dns",
    "verify-dns",
    "verify-write",
    "verify-service",
    "tell-step",
];

/// What a guard does.
pub const GUARDED: &[&str] = &["guard-start", "guard-lease", "guard-stop", "guard-kill"];

/// Two for each deed.
pub fn all() -> impl Iterator<Item = String> {
    let deeds = [ENTRIES, DEEDS, GUARDED].into_iter().flatten();
    deeds.flat_map(|deed| ["before", "after"].map(|moment| format!("{moment}-{deed}")))
}

/// A file in this folder with a point's name ends whoever comes there first, once. Those that were passed are noted in
/// its folder `passed`, if there is one.
pub fn arm(folder: Option<OsString>) {
    if let (true, Some(folder)) = (ARE_BUILT, folder) {
        // Twice in one process only in tests of it.
        let _ = armed::FOLDER.set(folder.into());
    }
}

/// False in programs for others than tests: what only finds out a point's name can be left out.
pub fn is_armed() -> bool {
    ARE_BUILT && armed::FOLDER.get().is_some()
}

pub fn before(deed: &str) {
    if ARE_BUILT {
        armed::reached("before", deed);
    }
}

pub fn after(deed: &str) {
    if ARE_BUILT {
        armed::reached("after", deed);
    }
}

mod armed {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::OnceLock;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpid;

    use super::{DEEDS, ENTRIES, GUARDED};

    pub static FOLDER: OnceLock<PathBuf> = OnceLock::new();

    pub fn reached(moment: &str, deed: &str) {
        let is_listed = [ENTRIES, DEEDS, GUARDED].iter().any(|deeds| deeds.contains(&deed));
        assert!(is_listed, "no test knows of the failpoint {deed}");
        let Some(folder) = FOLDER.get() else { return };
        let point = format!("{moment}-{deed}");
        let passed = folder.join("passed");
        if passed.is_dir() {
            let _ = fs::write(passed.join(&point), "");
        }
        // Of several who come, only one can remove it.
        if fs::remove_file(folder.join(&point)).is_ok() {
            // As from outside: nothing is flushed, nobody is told.
            let _ = kill(getpid(), Signal::SIGKILL);
            unreachable!("killed");
        }
    }
}

// Without them there is nothing to test.
#[cfg(all(test, debug_assertions))]
mod tests {
    use std::process::Command;

    use super::*;

    /// This test once more, as a process that may be killed.
    const AGAIN: &str = "failpoint::tests::whoever_comes_there_first_is_killed_once";

    #[test]
    fn whoever_comes_there_first_is_killed_once() {
        use std::os::unix::process::ExitStatusExt;
        if let Some(folder) = std::env::var_os(FOLDER) {
            arm(Some(folder));
            before("promote");
            after("promote");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let run = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", AGAIN]).env(FOLDER, folder.path());
            command.output().unwrap().status
        };
        assert!(run().success(), "there is no file");
        std::fs::create_dir(folder.path().join("passed")).unwrap();
        std::fs::write(folder.path().join("after-promote"), "").unwrap();
        assert_eq!(run().signal(), Some(9));
        assert!(run().success(), "once");
        for passed in ["before-promote", "after-promote"] {
            assert!(folder.path().join("passed").join(passed).exists(), "{passed}");
        }
    }

    #[test]
    #[should_panic(expected = "no test knows of the failpoint")]
    fn a_point_that_is_not_listed_is_found_out() {
        before("something-new");
    }

    #[test]
    fn no_two_points_have_one_name() {
        let mut names: Vec<String> = all().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
