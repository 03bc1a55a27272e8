//! Renewals of leases. They do not pass through the log: they live in the leader's memory, and are
//! answered only once it has proved that it led when it took them in. S1: see `docs/FENCING.md`.

use std::time::Duration;

use decision::database::lease::refusal;
use decision::name::AgentId;
use tokio::time::Instant;
use wire::lease::{Renewal, Renewed};

use crate::controller::{Attempt, Controller};

impl Controller {
    /// Takes a renewal in as the leader.
    ///
    /// # Errors
    /// When this member does not lead, or could not prove it in time: the renewal may count for the
    /// leader, but not for the agent, which is safe.
    pub async fn renew(
        &self,
        agent: &AgentId,
        renewal: &Renewal,
        within: Duration,
    ) -> Result<Renewed, Attempt> {
        if self.heard.now().is_none() {
            return Err(Attempt::NotLeader);
        }
        // Before it is noted: what is refused must not put off the end of the lease.
        if let Some(why) = self.may_not_renew(agent, renewal) {
            return Ok(Renewed::Refused { why });
        }
        let Some(term) = self.heard.renew(&renewal.service, renewal.epoch, renewal.told()) else {
            return match self.heard.now() {
                Some(_) => Ok(Renewed::Refused { why: "the lease is being ended".into() }),
                None => Err(Attempt::NotLeader),
            };
        };
        let round = || async { self.node.still_leads(within).await };
        let asked = Instant::now();
        // What another term proves is not of what this one has noted.
        if self.rounds.join(round).await != Some(term) {
            return Err(Attempt::NotLeader);
        }
        tracing::debug!(service = %renewal.service, ms = asked.elapsed().as_millis() as u64, "renewed");
        // Once more: from when a fence has begun here, nothing is renewed.
        Ok(match self.may_not_renew(agent, renewal) {
            Some(why) => Renewed::Refused { why },
            None => Renewed::Granted,
        })
    }

    fn may_not_renew(&self, agent: &AgentId, renewal: &Renewal) -> Option<String> {
        refusal(&self.state(), agent, &renewal.service, renewal.epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use decision::command::Command;
    use decision::config::Mode;
    use decision::database::{InstanceReport, InstanceRole};
    use decision::name::AgentId;
    use decision::plan::Epoch;
    use decision::testing::{three_regions, with_database};
    use wire::identity::Identity;
    use wire::lease::{Renewal, Renewed};
    use wire::proto::regent::v1 as pb;
    use wire::proto::regent::v1::agents_client::AgentsClient;

    use crate::controller::Controller;
    use crate::testing::{Group, SOON};

    fn renewal(epoch: u64) -> Renewal {
        Renewal { service: "app".into(), epoch: Epoch(epoch), position: None, age: Duration::ZERO }
    }

    /// The database of `app` is held by `us`. Nothing is decided but by the test.
    async fn with_holder(leader: &Controller) -> u64 {
        leader.heard.begin(leader.node.status().term, leader.host.clock.now(), leader.state().now);
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let set = Command::SetConfig { parent_generation: 0, config: Box::new(config) };
        leader.propose(set, "test", SOON).await.unwrap();
        let report = InstanceReport {
            role: InstanceRole::Absent,
            position: None,
            upstream: None,
            silent: Duration::ZERO,
            promised: Duration::ZERO,
            marked: None,
            settled: Some(Epoch(1)),
            heir: None,
            ready: None,
            system: None,
            branch: None,
            guard: None,
            alone: None,
            problem: None,
            sequence: Default::default(),
        };
        for region in ["us", "eu", "ap"] {
            let agent = AgentId::new(region, 1);
            let info = Default::default();
            leader.propose(Command::OpenSession { agent: agent.clone(), info }, "test", SOON).await.unwrap();
            let report = Command::ReportInstance { agent, service: "app".into(), report: report.clone() };
            leader.propose(report, "test", SOON).await.unwrap();
        }
        let (view, now) = leader.heard.view().unwrap();
        let commands = decision::decide::decide(&leader.state(), &view, now).commands;
        leader.propose(Command::Batch { commands }, "test", SOON).await.unwrap();
        let state = leader.state();
        let held = &state.databases[&"app".into()];
        assert_eq!(held.holder(), Some(&"us".into()), "{held:?}");
        held.epoch.0
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_is_renewed_for_its_holder_through_any_member_and_for_nobody_else() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        let epoch = with_holder(&leader).await;
        let follower = group.until("a follower", |controller| !controller.node.is_leader()).await;
        let ask = async |region: &str, epoch: u64| {
            let agent = Identity::Agent(AgentId::new(region, 1));
            let mut client = AgentsClient::new(group.channel(&agent, follower.node.id()));
            let request: pb::RenewRequest = renewal(epoch).into();
            Renewed::from(client.renew(request).await.unwrap().into_inner())
        };
        assert_eq!(ask("us", epoch).await, Renewed::Granted);
        for (region, epoch) in [("eu", epoch), ("us", epoch - 1), ("us", epoch + 1)] {
            let refused = ask(region, epoch).await;
            assert!(matches!(refused, Renewed::Refused { .. }), "{region} {epoch}: {refused:?}");
        }
        // What was refused is not noted: it would put off the end of the lease.
        let (view, _) = leader.heard.view().unwrap();
        assert_eq!(view.renewals[&"app".into()].epoch, Epoch(epoch));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_being_ended_is_not_renewed_and_what_was_renewed_is_not_ended() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        let epoch = with_holder(&leader).await;
        let us = AgentId::new("us", 1);
        let heard = leader.heard.now().unwrap();
        let end = Command::ExpireLease {
            service: "app".into(),
            epoch: Epoch(epoch),
            heard,
            position: None,
            told_at: None,
        };
        // Renewed after the rules had looked.
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(leader.renew(&us, &renewal(epoch), SOON).await.unwrap(), Renewed::Granted);
        assert!(!leader.heard.seal(&[end]));
        let heard = leader.heard.now().unwrap();
        let end = Command::ExpireLease {
            service: "app".into(),
            epoch: Epoch(epoch),
            heard,
            position: None,
            told_at: None,
        };
        assert!(leader.heard.seal(&[end]));
        let refused = leader.renew(&us, &renewal(epoch), SOON).await.unwrap();
        assert!(
            matches!(&refused, Renewed::Refused { why } if why == "the lease is being ended"),
            "{refused:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_without_a_majority_renews_nothing() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        let epoch = with_holder(&leader).await;
        for controller in group.controllers.values().filter(|other| other.node.id() != leader.node.id()) {
            controller.node.shutdown(Duration::ZERO).await;
        }
        let us = AgentId::new("us", 1);
        let renewed = leader.renew(&us, &renewal(epoch), Duration::from_millis(500)).await;
        assert!(renewed.is_err(), "{renewed:?}");
    }
}
