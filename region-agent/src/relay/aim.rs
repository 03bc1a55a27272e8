//! Whom the clients of an endpoint are relayed to: pure choices.

use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::name::RegionName;
use decision::plan::Epoch;

use crate::instances::{FRESH_BYTES, Standing};
use decision::database::InstanceRole;

/// What a connection depends on: it is cut when that holds no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bond {
    /// That it is this instance which may take writes, at this epoch.
    Writer { region: RegionName, epoch: Epoch },
    /// That the own region's instance serves, in whatever role.
    Local,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) bond: Bond,
}

/// What the newest goal, and what was found here, come to for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aim {
    /// Of new connections; none: they wait.
    pub(super) to: Option<Target>,
    holding: Vec<Bond>,
}

impl Aim {
    pub(super) fn holds(&self, bond: &Bond) -> bool {
        self.holding.contains(bond)
    }
}

/// For those who write.
///
/// An agent that no controller speaks to may go on relaying to a primary that has been succeeded.
/// That is safe only because its guard has ended it by then (S1): nobody there acknowledges anything.
pub(super) fn write(goal: &DatabaseGoal, own: &RegionName, standing: Option<&Standing>) -> Aim {
    let Some(region) = &goal.writer else { return Aim::default() };
    let bond = Bond::Writer { region: region.clone(), epoch: goal.epoch };
    let is_coming = match region == own {
        true => is_not_up(goal, own, standing),
        // Whoever came now would get an error, or a session that cannot write.
        false => !goal.writer_serves,
    };
    let to = goal.wished.instances.get(region).filter(|_| !is_coming);
    let to = to.map(|instance| Target { address: instance.address(), bond: bond.clone() });
    Aim { to, holding: vec![bond] }
}

/// Of the own region's instance, when it is the writer: whoever came now would get an error.
fn is_not_up(goal: &DatabaseGoal, own: &RegionName, standing: Option<&Standing>) -> bool {
    // It is about to end, for another: one who waits is served by that one.
    matches!(goal.role, DatabaseRole::Yield { .. })
        // Unknown, as before a controller was heard: trying is the way to find out.
        || standing.is_some_and(|standing| {
            standing.age < goal.wished.lease.ttl && !standing.is_primary(goal, own)
        })
}

/// For those who only read: the own region's instance if it is fresh, else the primary.
pub(super) fn read(goal: &DatabaseGoal, own: &RegionName, standing: Option<&Standing>) -> Aim {
    let writer = write(goal, own, standing);
    let is_fresh = standing
        .is_some_and(|standing| standing.is_primary(goal, own) || standing.is_fresh_replica(FRESH_BYTES));
    let local = goal.wished.instances.get(own).filter(|_| is_fresh);
    let local = local.map(|instance| Target { address: instance.address(), bond: Bond::Local });
    // Starting is also what it is called while it is too busy to be asked, so that says nothing of those
    // who are served; and where it truly starts anew, they have ended with it.
    let is_gone = standing.is_some_and(|standing| {
        let role = &standing.report.role;
        matches!(role, InstanceRole::Absent | InstanceRole::Stopped { .. } | InstanceRole::Broken)
    });
    let mut holding = writer.holding;
    holding.extend((!is_gone).then_some(Bond::Local));
    Aim { to: local.or(writer.to), holding }
}

/// S2: whether `new` may follow `before`. An epoch has one writer, and who was fenced stays so.
pub(super) fn may_follow(before: &DatabaseGoal, new: &DatabaseGoal) -> bool {
    let is_same_or_over = new.writer == before.writer || new.writer.is_none();
    new.epoch > before.epoch || new.epoch == before.epoch && is_same_or_over
}
