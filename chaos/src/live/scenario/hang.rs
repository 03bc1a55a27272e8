//! A disk that hangs under the primary: what is killed there does not vanish before it lets go, and nobody waits for that.

use anyhow::{Context, ensure};

use super::wound::{Wound, heal, inflict};
use super::{Runner, steady, steady_since};
use crate::live::clock::now_ns;
use crate::live::judge::{Judgement, judge};

impl Runner<'_> {
    /// Gives what came of it, and who took over while it still hung.
    pub fn disk_hangs(&mut self) -> anyhow::Result<(Judgement, &'static str)> {
        let cluster = self.cluster;
        let primary = cluster.wait_healthy()?;
        let load = cluster.load(primary, self.through, self.next_id)?;
        steady(&load, None)?;
        let began_ns = now_ns();
        let open = inflict(cluster, Wound::PostgresDiskHangs, primary)?;
        ensure!(!open.is_void(), "there is no disk to hang");
        let written = steady_since(&load, now_ns());
        let to = cluster.primary();
        let effect = heal(cluster, open)?;
        ensure!(effect.is_had(), "the disk did not hang: {}", effect.what());
        written.context("nobody took over while the disk hung")?;
        let to = to?;
        cluster.wait_healthy()?;
        let (attempts, next_id) = load.finish();
        let rows = self.rows_in_the_end()?;
        self.next_id = next_id;
        let judged = judge(&attempts, began_ns, &rows);
        ensure!(to != primary, "{primary} takes writes, and its disk hangs");
        Ok((judged, to))
    }
}
