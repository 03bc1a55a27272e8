//! What a wound did, by evidence of its own: one that did nothing proves nothing.

use serde::Serialize;

use crate::live::cluster::Cluster;
use crate::live::options::{CLIENT, REGIONS};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "effect", content = "what")]
pub enum Effect {
    Had(String),
    /// There was nothing that it could strike.
    Nothing(String),
    /// This machine cannot do it: why, and what helps.
    NotPossible(String),
}

impl Effect {
    pub fn is_had(&self) -> bool {
        matches!(self, Effect::Had(_))
    }

    pub fn what(&self) -> &str {
        match self {
            Effect::Had(what) | Effect::Nothing(what) | Effect::NotPossible(what) => what,
        }
    }

    pub(super) fn of(count: u64, what: &str) -> Effect {
        match count {
            0 => Effect::Nothing(format!("no {what}")),
            _ => Effect::Had(format!("{count} {what}")),
        }
    }

    pub(super) fn done(done: anyhow::Result<()>, what: &str) -> Effect {
        match done {
            Ok(()) => Effect::Had(what.to_owned()),
            Err(error) => Effect::Nothing(format!("{error:#}")),
        }
    }
}

/// What became of the frames from and to one region.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    pub passed: u64,
    pub lost: u64,
    pub cut: u64,
    pub spoiled: u64,
}

impl Frames {
    pub fn so_far(cluster: &Cluster, region: &str) -> anyhow::Result<Frames> {
        let mut frames = Frames::default();
        for other in REGIONS.into_iter().chain([CLIENT]).filter(|other| *other != region) {
            for (from, to) in [(region, other), (other, region)] {
                let count = cluster.net.count(from, to)?;
                frames.passed += count.delivered.frames;
                frames.lost += count.lost;
                frames.cut += count.cut;
                frames.spoiled += count.spoiled;
            }
        }
        Ok(frames)
    }

    pub fn since(self, before: Frames) -> Frames {
        Frames {
            passed: self.passed - before.passed,
            lost: self.lost - before.lost,
            cut: self.cut - before.cut,
            spoiled: self.spoiled - before.spoiled,
        }
    }
}
