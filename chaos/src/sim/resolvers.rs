//! Whoever goes by names: resolvers that ask the agents' servers, and lead clients by what they were told for its TTL.
//! S6 is judged by what they say: once another region was decided on, nobody is led for longer than a TTL, and
//! [`PUBLISHED_WITHIN`], to one that may not write any more. But for a server that can know nothing of the decision: it
//! goes on with what it has, because a zone that is served beats none while all controllers are away.

use std::time::Duration;

use decision::dns::{Group, RecordSet};
use decision::name::RegionName;

use super::chance::Chance;
use super::ground::{Ground, Machine};
use super::message::Message;
use super::queue::Moment;

/// From when a controller knows of it until each agent that has a session there serves it: an agent that was cut off
/// finds that out by four heartbeats, and packets are sent again for some seconds.
pub const PUBLISHED_WITHIN: Duration = Duration::from_secs(8);
/// Between two clients who ask.
pub const ASKED_EVERY: Duration = Duration::from_secs(1);
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Lead {
    pub to: RegionName,
    pub ttl: Duration,
    /// Whether whoever answered could know what is decided now: for the judge alone.
    pub is_informed: bool,
}

pub struct Resolver {
    pub machine: Machine,
    servers: Vec<Machine>,
    calls: u64,
    asked: Option<Moment>,
    cached: Option<(Lead, Moment)>,
}

impl Resolver {
    pub fn new(machine: Machine, servers: Vec<Machine>) -> Resolver {
        Resolver { machine, servers, calls: 0, asked: None, cached: None }
    }

    /// Its machine has crashed.
    pub fn forgets(&mut self) {
        (self.asked, self.cached) = (None, None);
    }

    /// Where it leads whoever asks now. None: it has to ask somebody itself.
    pub fn leads(&mut self, ground: &mut Ground) -> Option<&Lead> {
        let now = ground.now();
        self.cached.take_if(|(_, until)| *until <= now);
        let waits = self.asked.is_some_and(|asked| now.since(asked) < ANSWERED_WITHIN);
        if self.cached.is_none() && !waits {
            self.calls += 1;
            self.asked = Some(now);
            let server = *ground.chance.pick(&self.servers);
            ground.send(self.machine, server, Message::Resolve { call: self.calls });
        }
        self.cached.as_ref().map(|(lead, _)| lead)
    }

    pub fn is_answered(&mut self, call: u64, lead: Lead, now: Moment) {
        let asked = self.asked.take_if(|_| call == self.calls);
        // One that waited for a machine that stood still comes too late.
        if asked.is_some_and(|asked| now.since(asked) < ANSWERED_WITHIN) {
            let until = now + lead.ttl;
            self.cached = Some((lead, until));
        }
    }
}

/// Of the groups that are served, one.
pub fn drawn<'a>(set: &'a RecordSet, chance: &Chance) -> Option<&'a Group> {
    if let [sole] = set.groups.as_slice() {
        return Some(sole);
    }
    let all: u64 = set.groups.iter().map(|group| u64::from(group.weight)).sum();
    let mut left = chance.below(all.max(1));
    set.groups.iter().find(|group| {
        let is_drawn = left < u64::from(group.weight);
        left = left.saturating_sub(u64::from(group.weight));
        is_drawn
    })
}

/// When names ceased to lead to each region, as it was decided.
#[derive(Default)]
pub struct Led {
    generation: u64,
    /// By place; none: they lead there.
    ceased: Vec<Option<Moment>>,
}

impl Led {
    pub fn note(&mut self, now: Moment, generation: u64, set: Option<&RecordSet>, regions: &[RegionName]) {
        if std::mem::replace(&mut self.generation, generation) == generation {
            return;
        }
        self.ceased.resize(regions.len(), Some(Moment(0)));
        for (region, ceased) in regions.iter().zip(&mut self.ceased) {
            let leads = set.is_some_and(|set| set.groups.iter().any(|group| group.region == *region));
            *ceased = if leads { None } else { Some(ceased.unwrap_or(now)) };
        }
    }

    /// For how long they have not led there.
    pub fn not_for(&self, now: Moment, place: usize) -> Duration {
        self.ceased.get(place).copied().flatten().map_or(Duration::ZERO, |ceased| now.since(ceased))
    }
}

#[cfg(test)]
mod tests {
    use decision::dns::RecordType;

    use super::*;

    fn set(groups: &[(&str, u8)]) -> RecordSet {
        let group = |(region, weight): &(&str, u8)| Group {
            region: (*region).into(),
            weight: *weight,
            values: Vec::new(),
        };
        let groups = groups.iter().map(group).collect();
        RecordSet { name: "app.example.test".into(), rtype: RecordType::A, ttl_s: 5, groups }
    }

    #[test]
    fn a_group_is_drawn_by_its_weight_and_a_sole_one_always() {
        let chance = Chance::new(1);
        assert_eq!(drawn(&set(&[("us", 0)]), &chance).unwrap().region, "us".into());
        let shared = set(&[("us", 25), ("eu", 75), ("ap", 0)]);
        let to = |region: &str| {
            let drawn = (0..1_000).filter(|_| drawn(&shared, &chance).unwrap().region == region.into());
            drawn.count()
        };
        assert!(
            (200..300).contains(&to("us")) && (700..800).contains(&to("eu")),
            "{} {}",
            to("us"),
            to("eu")
        );
        assert_eq!(to("ap"), 0);
    }

    #[test]
    fn names_lead_elsewhere_since_the_decision_and_not_since_the_last() {
        let regions = ["us".into(), "eu".into(), "ap".into()];
        let mut led = Led::default();
        let at = |seconds| Moment(0) + Duration::from_secs(seconds);
        led.note(at(10), 3, Some(&set(&[("us", 100)])), &regions);
        led.note(at(20), 5, Some(&set(&[("eu", 100)])), &regions);
        led.note(at(50), 7, Some(&set(&[("ap", 100)])), &regions);
        led.note(at(60), 7, Some(&set(&[("us", 100)])), &regions);
        let not_for = |place| led.not_for(at(70), place).as_secs();
        assert_eq!((not_for(0), not_for(1), not_for(2)), (50, 20, 0));
    }
}
