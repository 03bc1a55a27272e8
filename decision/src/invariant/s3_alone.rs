//! S3, the part that is in the state: what one primary acknowledged without the others is nobody else's to pass
//! over without a person's word, and is over only when that primary says so.

use super::Found;
use crate::database::alone::Word;
use crate::state::State;

pub(super) fn check(before: &State, after: &State, found: &mut Found) {
    for (service, held) in &after.databases {
        let Some(was) = before.databases.get(service) else { continue };
        if let (Some(only), None, Some(holder)) = (was.only_in(), was.holder(), held.holder()) {
            let plan = after.open_plan(service).map(|record| &record.plan);
            let accepted = plan.is_some_and(|plan| plan.epoch == held.epoch && plan.accepts_loss);
            found.unless(only == holder || accepted, "S3", || {
                format!("{service} was granted to {holder}, and {only} alone may have what was acknowledged")
            });
        }
        let is_synchronous = after.database(service).is_some_and(|(wished, _)| wished.mode.acks() > 0);
        if let (Some(leave), None, true, true) =
            (was.alone, held.alone, was.epoch == held.epoch, is_synchronous)
        {
            let word = held.holder().and_then(|holder| held.instances.get(holder)?.alone);
            found.unless(word == Some(Word::Over { number: leave.number }), "S3", || {
                format!("{service} is not alone any more, and its primary says {word:?}")
            });
        }
    }
}
