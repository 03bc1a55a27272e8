//! Wall clocks jump, and nothing else is wrong: nothing may come of it.

use std::time::Duration;

use anyhow::Context;
use decision::plan::Plan;
use serde::Serialize;

use super::wound::{AHEAD_S, BEHIND_S};
use super::{Runner, steady};
use crate::live::clock::now_ns;
use crate::live::faults::Kind;
use crate::live::judge::{Judgement, judge};
use crate::live::options::REGIONS;

#[derive(Clone, Debug, Serialize)]
pub struct ClocksJumped {
    /// What time it was for who was ahead, by its own word.
    pub told: Vec<(Kind, String)>,
    /// Those who looked at their clocks after each jump.
    pub saw: Vec<Vec<Kind>>,
    /// That were opened meanwhile.
    pub plans: Vec<String>,
    pub judged: Judgement,
}

impl Runner<'_> {
    /// Those of the primary's region go ahead, then behind, then right; each time its controller comes to lead.
    pub fn clocks_jump(&mut self) -> anyhow::Result<ClocksJumped> {
        let cluster = self.cluster;
        let primary = cluster.wait_healthy()?;
        let other =
            REGIONS.into_iter().find(|region| *region != primary).context("there are three regions")?;
        std::thread::sleep(super::REST);
        let journal = cluster.journal_end()?;
        let load = cluster.load(primary, self.through, self.next_id)?;
        steady(&load, None)?;
        let began_ns = now_ns();
        let (mut saw, mut told) = (Vec::new(), Vec::new());
        for offset_s in [AHEAD_S, BEHIND_S, 0] {
            let set = cluster.set_clocks(primary, offset_s)?;
            saw.push(
                set.context("clocks cannot be set: install faketime, and start the cluster for faults")?,
            );
            if offset_s == AHEAD_S {
                for kind in [Kind::Controller, Kind::Agent] {
                    told.push((kind, cluster.clock_of(primary, kind)?));
                }
            }
            // A leader asks once what time it is.
            cluster.lead_from(other)?;
            cluster.lead_from(primary)?;
            std::thread::sleep(cluster.options.lease_ttl() + Duration::from_secs(1));
        }
        let (attempts, next_id) = load.finish();
        let to = cluster.wait_healthy()?;
        let judged = judge(&attempts, began_ns, &cluster.rows(to, self.next_id)?);
        self.next_id = next_id;
        let plans = cluster.plans_since(journal)?;
        let plans = plans.into_iter().map(|(Plan { kind, to, .. }, _)| format!("{kind} to {to}")).collect();
        Ok(ClocksJumped { told, saw, plans, judged })
    }
}
