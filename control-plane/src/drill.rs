//! A controller that a drill cuts off: it is reached by nobody and reaches nobody, until the drill is over.

use std::sync::Arc;

use decision::drill::{BEGINS_AFTER, Drill, FaultGoal};
use decision::state::State;
use tokio::time::Instant;
use wire::drill::Witnesses;
use wire::host::Host;
use wire::tls::Credentials;

use crate::controller::Controller;

/// Ends only when dropped. `outside`: not behind the gate.
pub async fn keep(controller: Arc<Controller>, outside: Host, credentials: Credentials) {
    let mut applied = controller.node.view().applied();
    let mut last = None;
    loop {
        applied.borrow_and_update();
        let fault = fault(&controller.state(), &controller.region).filter(|fault| last != Some(fault.drill));
        if let Some(fault) = fault {
            last = Some(fault.drill);
            hold(&controller, &outside, &credentials, &fault).await;
        }
        if applied.changed().await.is_err() {
            return;
        }
    }
}

fn fault(state: &State, region: &str) -> Option<FaultGoal> {
    let running = state.drills.values().find(|drill| Drill::is_running(drill))?;
    running.cuts_off_controllers(region).then(|| running.fault_goal())
}

async fn hold(controller: &Controller, outside: &Host, credentials: &Credentials, fault: &FaultGoal) {
    let own = controller.node.id();
    let members = controller.node.status().members;
    let others: Vec<String> =
        members.into_iter().filter(|(id, _)| *id != own).map(|(_, other)| other.member.grpc).collect();
    let witnesses = Witnesses::new(outside, credentials, &others);
    tokio::time::sleep(BEGINS_AFTER).await;
    let gate = Opened(controller);
    tracing::warn!(drill = %fault.drill, fault = %fault.fault, "cut off on purpose");
    gate.0.host.gate.close();
    let over = witnesses.wait_for_end(fault, Instant::now()).await;
    tracing::warn!(drill = %fault.drill, %over, "no longer cut off");
}

/// Opens the gate, also when what held it closed is dropped.
struct Opened<'a>(&'a Controller);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.host.gate.open();
    }
}
