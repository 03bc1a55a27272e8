//! Which point a process of the cluster is to be ended at, and which were passed: files, as `wire::failpoint` reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::cluster::Cluster;

const PASSED: &str = "passed";

impl Cluster {
    fn failpoint(&self, name: &str) -> PathBuf {
        self.layout.failpoints().join(name)
    }

    /// Whoever comes there first is killed, once.
    pub(super) fn set_failpoint(&self, point: &str) -> anyhow::Result<()> {
        let path = self.failpoint(point);
        fs::write(&path, "").with_context(|| path.display().to_string())
    }

    /// Whether somebody came there.
    pub(super) fn was_reached(&self, point: &str) -> bool {
        !self.failpoint(point).exists()
    }

    pub(super) fn has_passed(&self, point: &str) -> bool {
        self.failpoint(PASSED).join(point).exists()
    }

    /// Nobody is killed there any more.
    pub(super) fn clear_failpoint(&self, point: &str) {
        // It is as good if somebody came there just now.
        let _ = fs::remove_file(self.failpoint(point));
    }

    /// Those that anybody passed since this was asked last.
    pub(super) fn take_passed(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut passed = BTreeSet::new();
        for entry in fs::read_dir(self.failpoint(PASSED))? {
            let entry = entry?;
            fs::remove_file(entry.path())?;
            passed.insert(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(passed)
    }

    pub(super) fn prepare_failpoints(layout: &super::layout::Layout) -> anyhow::Result<()> {
        let folder = layout.failpoints().join(PASSED);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())
    }
}
