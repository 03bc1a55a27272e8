//! Mode `sync`, where too few replicas follow: by agreement the primary goes on without them, and nobody else
//! is promoted until they have everything again (S3). In the same way a change of whom commits wait for is over.

use super::database::find;
use super::{Applied, Context};
use crate::command::Refusal;
use crate::config::Mode;
use crate::database::alone::{Leave, Word};
use crate::event::Event;
use crate::name::{RegionName, ServiceName};
use crate::plan::Epoch;
use crate::state::State;

pub(super) fn go(
    state: &mut State,
    context: &Context,
    service: &ServiceName,
    epoch: Epoch,
    number: u64,
) -> Applied {
    let region = check_word(state, service, epoch, Word::Asks { number })?;
    let mode = state.database(service).map(|(wished, _)| wished.mode);
    if !matches!(mode, Some(Mode::Sync { .. })) {
        return Err(Refusal::NotAllowed {
            detail: format!("{service} does not give way: its mode is not sync"),
        });
    }
    let since = state.now;
    let held = find(state, service)?;
    if held.leave() == Some(number) {
        return Ok(false);
    }
    // One who asks anew has been alone since it asked first.
    held.alone = Some(Leave { number, since: held.alone.map_or(since, |leave| leave.since) });
    state.record(context, Event::WentAlone { service: service.clone(), epoch, region });
    Ok(true)
}

pub(super) fn end(
    state: &mut State,
    context: &Context,
    service: &ServiceName,
    epoch: Epoch,
    number: u64,
) -> Applied {
    let held = find(state, service)?;
    let (was_alone, was_unsettled) = (held.leave() == Some(number), held.unsettled == Some(number));
    if !was_alone && !was_unsettled {
        return Ok(false);
    }
    let region = check_word(state, service, epoch, Word::Over { number })?;
    let held = find(state, service)?;
    if was_unsettled {
        (held.before, held.unsettled) = (None, None);
    }
    if was_alone {
        held.alone = None;
        state.record(context, Event::AloneEnded { service: service.clone(), epoch, region });
    }
    Ok(true)
}

/// Whoever holds the lease has itself said so.
fn check_word(
    state: &mut State,
    service: &ServiceName,
    epoch: Epoch,
    word: Word,
) -> Result<RegionName, Refusal> {
    let held = find(state, service)?;
    if epoch != held.epoch {
        return Err(Refusal::StaleEpoch { service: service.clone(), given: epoch, current: held.epoch });
    }
    let holder = held.holder().filter(|holder| held.is_primary(holder));
    let said =
        |holder: &&RegionName| held.instances.get(*holder).is_some_and(|told| told.alone == Some(word));
    holder.filter(said).cloned().ok_or_else(|| Refusal::NotAllowed {
        detail: format!("the primary of {service} at epoch {epoch} does not say so"),
    })
}
