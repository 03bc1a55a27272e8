//! The agent's part in a drill: it causes the fault in its own region, or finds nothing of the region that has it, and
//! heals what it did when the drill is over, when nobody can tell that it goes on, or when it has lasted for long enough.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decision::drill::{BEGINS_AFTER, Fault, FaultGoal};
use decision::name::{RegionName, ServiceName};
use nix::sys::signal::{Signal, raise};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::drill::Witnesses;
use wire::host::Host;
use wire::tls::Credentials;

use crate::goals::Held;
use crate::probe::Prober;

/// What is done to the instances of databases here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Still {
    /// Rises when the postmaster is to be killed.
    pub kills: u64,
    /// Of this service; none: of all.
    pub only: Option<ServiceName>,
    /// Nobody cares for what runs, or does not.
    pub is_still: bool,
}

pub(crate) struct Drills {
    /// Not behind the gate.
    pub(crate) outside: Host,
    pub(crate) credentials: Credentials,
    pub(crate) controllers: Vec<String>,
    pub(crate) region: RegionName,
    pub(crate) prober: Arc<Prober>,
    pub(crate) outage: Arc<Outage>,
    pub(crate) still: watch::Sender<Still>,
}

/// Until `stop`, and heals then.
pub(crate) async fn run(drills: Drills, mut goals: watch::Receiver<Arc<Held>>, stop: CancellationToken) {
    let witnesses = Witnesses::new(&drills.outside, &drills.credentials, &drills.controllers);
    let take_part = async {
        let mut last = None;
        loop {
            let fault = fault(&goals.borrow_and_update()).filter(|fault| last != Some(fault.drill));
            if let Some(fault) = fault {
                last = Some(fault.drill);
                if fault.fault == Fault::ProviderOutage {
                    drills.loses_providers(&fault, &mut goals).await;
                } else if fault.region == drills.region {
                    tokio::time::sleep(BEGINS_AFTER).await;
                    drills.suffer(&fault, &witnesses).await;
                } else if fault.fault.cuts_off() {
                    tokio::time::sleep(BEGINS_AFTER).await;
                    drills.reaches_nothing_of(&fault, &mut goals).await;
                }
                // Another may have begun meanwhile.
                continue;
            }
            if goals.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = take_part => {}
    }
}

/// What lies on disk may be long over.
fn fault(held: &Held) -> Option<FaultGoal> {
    held.goal.fault.clone().filter(|_| held.is_live)
}

impl Drills {
    async fn suffer(&self, fault: &FaultGoal, witnesses: &Witnesses) {
        if matches!(fault.fault, Fault::PlannedMove | Fault::QuorumLoss | Fault::ProviderOutage) {
            return;
        }
        tracing::warn!(drill = %fault.drill, fault = %fault.fault, "a fault is caused on purpose");
        let kills = matches!(fault.fault, Fault::RegionLoss | Fault::DatabaseCrash);
        if kills {
            self.still.send_modify(|still| {
                still.kills += 1;
                still.only = (fault.fault == Fault::DatabaseCrash).then(|| fault.service.clone());
                still.is_still = fault.fault == Fault::RegionLoss;
            });
        }
        match fault.fault {
            Fault::DatabaseCrash | Fault::PlannedMove | Fault::QuorumLoss | Fault::ProviderOutage => {}
            Fault::AgentFreeze => freeze(fault.lasts),
            Fault::RegionLoss | Fault::Partition => {
                let _healed = Healed(self);
                self.outside.gate.close();
                let over = witnesses.wait_for_end(fault, Instant::now()).await;
                tracing::warn!(drill = %fault.drill, %over, "the region is no longer cut off");
            }
        }
    }

    async fn reaches_nothing_of(&self, fault: &FaultGoal, goals: &mut watch::Receiver<Arc<Held>>) {
        let _reached = Reached(&self.prober);
        self.prober.cut_off(Some(fault.region.clone()));
        over(fault, goals).await;
    }

    async fn loses_providers(&self, fault: &FaultGoal, goals: &mut watch::Receiver<Arc<Held>>) {
        tracing::warn!(drill = %fault.drill, service = %fault.service, "DNS servers of others are lost on purpose");
        let _found = Found(&self.outage);
        self.outage.set(Some(fault.service.clone()));
        over(fault, goals).await;
    }
}

/// As long as controllers say so, and no longer than it may last.
async fn over(fault: &FaultGoal, goals: &mut watch::Receiver<Arc<Held>>) {
    let over = goals.wait_for(|held| self::fault(held).is_none_or(|now| now.drill != fault.drill));
    let _ = tokio::time::timeout(fault.lasts, over).await;
}

/// Of which service DNS servers of others hear nothing.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<ServiceName>>);

impl Outage {
    fn set(&self, service: Option<ServiceName>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = service;
    }

    pub(crate) fn is_of(&self, service: &ServiceName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(service)
    }
}

/// Heals, also when what held it is dropped.
struct Healed<'a>(&'a Drills);

impl Drop for Healed<'_> {
    fn drop(&mut self) {
        self.0.outside.gate.open();
        self.0.still.send_modify(|still| still.is_still = false);
    }
}

struct Reached<'a>(&'a Prober);

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        self.0.cut_off(None);
    }
}

struct Found<'a>(&'a Outage);

impl Drop for Found<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// This whole process stands still. Another one, which is begun first, wakes it again.
fn freeze(lasts: Duration) {
    let wake = format!("sleep {}; kill -CONT {}", lasts.as_secs_f64(), std::process::id());
    let waker = std::process::Command::new("/bin/sh")
        .args(["-c", &wake])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match waker {
        Ok(mut waker) => {
            if let Err(error) = raise(Signal::SIGSTOP) {
                tracing::error!(%error, "it did not freeze");
            }
            tracing::warn!("thawed");
            let _ = waker.wait();
        }
        Err(error) => tracing::error!(%error, "it is not frozen: nobody would thaw it"),
    }
}
