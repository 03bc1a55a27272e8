//! S4: a lease passes to another only through a moment in which surely nobody held it, and never
//! without a higher epoch.

use super::Found;
use crate::database::{Owner, Proof, lease};
use crate::state::State;

pub(super) fn check(before: &State, after: &State, found: &mut Found) {
    for (service, held) in &after.databases {
        let Some(was) = before.databases.get(service) else { continue };
        let is_new = was.owner != held.owner || was.epoch != held.epoch;
        match (&was.owner, &held.owner) {
            (Owner::Held(from), Owner::Held(to)) => found.unless(from == to, "S4", || {
                format!("{service} passed from {from} to {to} without a fence between them")
            }),
            (Owner::Held(_), Owner::Vacant(vacancy)) => {
                let ttl = before.database(service).map(|(wished, _)| wished.lease.ttl).unwrap_or_default();
                let is_over = match &vacancy.proof {
                    Proof::Expired { heard, .. } => lease::expires(*heard, ttl) <= after.now,
                    Proof::Released { .. } => true,
                    Proof::NeverOwned => false,
                };
                found.unless(is_over, "S4", || format!("{service} is vacant without proof: {vacancy:?}"));
            }
            (Owner::Vacant(_), Owner::Held(_)) => found.unless(held.epoch > was.epoch, "S4", || {
                format!("{service} was granted at {}, which is not higher than {}", held.epoch, was.epoch)
            }),
            (Owner::Vacant(_), Owner::Vacant(_)) => {}
        }
        found.unless(!is_new || held.epoch >= was.epoch, "S4", || format!("the epoch of {service} fell"));
    }
}
