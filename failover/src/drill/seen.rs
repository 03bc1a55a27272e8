//! A service in what the controllers say.

use decision::config::{Config, Mode};
use decision::database::InstanceRole;
use decision::drill::Wish;
use decision::drill::report::Objective;
use decision::verdict;
use wire::api::Status;

use super::run::Settings;

/// What a drill is about, for looks at the cluster.
pub(super) struct Seen<'a> {
    pub(super) config: &'a Config,
    pub(super) wish: &'a Wish,
}

impl Seen<'_> {
    pub(super) fn mode(&self) -> Option<Mode> {
        let service = self.config.services.get(&self.wish.service)?;
        service.database.as_ref().map(|database| database.mode)
    }

    pub(super) fn loss_allowed_ms(&self) -> u64 {
        let service = self.config.services.get(&self.wish.service);
        let database = service.and_then(|service| service.database.as_ref());
        database.map_or(0, |database| database.max_data_loss.time.as_millis() as u64)
    }

    pub(super) fn is_served(&self, status: &Status) -> bool {
        status.services.iter().find(|service| service.name == self.wish.service).is_some_and(|service| {
            service.verdict == verdict::Verdict::Healthy
                && service.database.as_ref().is_none_or(|database| database.writer.is_some())
        })
    }

    pub(super) fn has_moved(&self, status: &Status) -> bool {
        let service = status.services.iter().find(|service| service.name == self.wish.service);
        service.is_some_and(|service| service.primary != self.wish.region)
    }

    pub(super) fn has_rejoined(&self, status: &Status) -> bool {
        let region = status.regions.iter().find(|region| region.name == self.wish.region);
        let is_well = region.is_some_and(|region| {
            region.verdict == verdict::Verdict::Healthy && region.agents.iter().all(|agent| agent.live)
        });
        let databases = status.services.iter().filter_map(|service| service.database.as_ref());
        let mut instances = databases.flat_map(|database| &database.instances);
        let follows = |role: &InstanceRole| {
            matches!(role, InstanceRole::Primary { .. } | InstanceRole::Replica { streaming: true })
        };
        is_well
            && status.open_plans.is_empty()
            && (!self.wish.fault.moves_as_planned() || !self.has_moved(status))
            && instances.all(|instance| {
                instance.region != self.wish.region || instance.role.as_ref().is_some_and(follows)
            })
    }

    pub(super) fn objective(&self, settings: &Settings) -> Objective {
        let tier = self.config.services.get(&self.wish.service).map(|service| &service.tier);
        Objective {
            rto: settings.rto.or(settings.scenario.rto).or(tier.map(|tier| tier.rto)).unwrap_or_default(),
            rpo_ms: tier.filter(|_| self.mode().is_some()).map(|tier| tier.rpo.as_millis() as u64),
        }
    }
}
