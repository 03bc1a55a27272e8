//! One controller, whole: as `control-plane` runs it, but for the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_plane::raft::{self, Commit, Dial, Member, MemoryDisk};
use decision::config::Timings;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wire::tls::Credentials;

use super::disk::{Attached, sync_takes};
use super::ground::{Ground, Running};
use super::machine::{PAGE_PORT, PORT, address, host, listen};
use crate::sim::ground::Machine;
use crate::sim::planted::Around;
use crate::sim::setup::REGIONS;

pub const CLUSTER: &str = "whole";

/// What of a controller outlives its process.
#[derive(Clone)]
pub struct Controller {
    pub ground: Ground,
    pub machine: Machine,
    pub credentials: Credentials,
    pub disk: MemoryDisk,
    pub timings: Timings,
    /// A snapshot is taken after so many entries.
    pub snapshot_after: u64,
}

pub fn member(machine: Machine) -> u64 {
    machine as u64 + 1
}

impl Controller {
    /// From its start to its end, which only a crash should bring.
    pub async fn runs(self) {
        let (ground, machine) = (self.ground.clone(), self.machine);
        let host = host(&ground, machine);
        let layout = ground.truth().layout;
        let mut raft = raft::Settings::new(member(machine), CLUSTER, "");
        raft.heartbeat = self.timings.raft_heartbeat;
        raft.election_timeout_min = self.timings.election_timeout_min;
        raft.election_timeout_max = self.timings.election_timeout_max;
        raft.snapshot_after_entries = self.snapshot_after;
        raft.keep_entries = raft.keep_entries.min(self.snapshot_after / 2);
        let members: BTreeMap<u64, Member> = layout
            .controllers()
            .map(|machine| {
                let (region, grpc) = (REGIONS[machine].to_owned(), address(layout, machine));
                (member(machine), Member { region, grpc, witness: false })
            })
            .collect();
        let settings = control_plane::Settings {
            raft,
            region: REGIONS[machine].to_owned(),
            grpc_listen: listen(PORT),
            http_listen: listen(PAGE_PORT),
            initial_members: members,
        };
        let disk = Attached { disk: self.disk, forgets: ground.has(Around::SaysBeforeSync) };
        let (disk, commit) = (Arc::new(disk), Commit::Slow(sync_takes(&ground, machine)));
        let noted = ground.clone();
        let start = |settings: raft::Settings, dial: Dial| async move {
            let store = raft::open_store(&settings, disk, commit)?;
            let node = raft::start_on(settings, store.clone(), dial).await?;
            noted.truth().running.insert(machine, Running { node: node.clone(), store });
            Ok(node)
        };
        let shutdown = CancellationToken::new();
        let public = Handle::current();
        let ended = control_plane::run_on(settings, host, self.credentials, &public, shutdown, start).await;
        ground.finds("alive", format!("controller {machine} ended by itself: {ended:?}"));
    }
}
