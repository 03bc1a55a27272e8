//! The controllers lose their majority, and the primary is well.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::{Runner, steady};
use crate::live::clock::now_ns;
use crate::live::faults::Kind;
use crate::live::judge::{Judgement, judge};
use crate::live::options::REGIONS;

#[derive(Clone, Debug, Serialize)]
pub struct WithoutQuorum {
    pub failsafe: bool,
    pub primary: &'static str,
    /// `old_primary_until_ms` says how long it took writes, `eras` whether anybody else did.
    pub judged: Judgement,
    pub lasted_ms: f64,
}

impl Runner<'_> {
    /// Two of three controllers are frozen, for so long; the primary's region keeps its own.
    pub fn without_quorum(&mut self, lasts: Duration) -> anyhow::Result<WithoutQuorum> {
        let cluster = self.cluster;
        let primary = cluster.wait_healthy().context("before the fault")?;
        std::thread::sleep(super::REST);
        let load = cluster.load(primary, self.through, self.next_id)?;
        steady(&load, None)?;
        let others = || REGIONS.into_iter().filter(|region| *region != primary);
        let fault_ns = now_ns();
        others().try_for_each(|region| cluster.freeze(region, Kind::Controller))?;
        std::thread::sleep(lasts);
        let (attempts, next_id) = load.finish();
        others().try_for_each(|region| cluster.thaw(region, Kind::Controller))?;
        self.next_id = next_id;
        let to = cluster.wait_healthy().context("after the fault")?;
        let rows = cluster.rows(to, 0)?;
        let judged = judge(&attempts, fault_ns, &rows);
        let lasted_ms = lasts.as_secs_f64() * 1e3;
        Ok(WithoutQuorum { failsafe: cluster.options.failsafe, primary, judged, lasted_ms })
    }
}
