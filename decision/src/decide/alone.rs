//! Whether a synchronous primary may go on without its replicas, or has them again.

use crate::command::Command;
use crate::config::Mode;
use crate::database::Ownership;
use crate::database::alone::Word;
use crate::name::ServiceName;
use crate::state::State;

pub(super) fn agreed(state: &State) -> Vec<Command> {
    state.databases.iter().filter_map(|(service, held)| of_database(state, service, held)).collect()
}

fn of_database(state: &State, service: &ServiceName, held: &Ownership) -> Option<Command> {
    let (wished, _) = state.database(service)?;
    let holder = held.holder().filter(|holder| held.is_primary(holder) && state.has_live_agent(holder))?;
    let (service, epoch) = (service.clone(), held.epoch);
    match held.instances.get(holder)?.alone? {
        Word::Over { number } => {
            let is_news = [held.leave(), held.unsettled].contains(&Some(number));
            is_news.then_some(Command::EndAlone { service, epoch, number })
        }
        Word::Asks { number } => {
            // What is paused changes nothing by itself; and one that is to end need not begin that.
            let may = matches!(wished.mode, Mode::Sync { .. })
                && state.paused.is_none()
                && state.fencing(&service, holder).is_none();
            (may && held.leave() != Some(number)).then_some(Command::GoAlone { service, epoch, number })
        }
    }
}
