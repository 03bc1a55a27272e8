//! Dry runs of wishes that make no plan: the state's own rules on a copy of it.

use decision::command::{Command, Refusal, Stamped};
use decision::config::check::contradictions;
use wire::api::{Intent, IntentReply};

use crate::http::backend::{Backend, look};
use crate::http::problem::Problem;

/// What would come of it, by the state that this member holds.
pub(super) fn rehearse(backend: &dyn Backend, intent: Intent, by: String) -> Result<IntentReply, Problem> {
    let mut copy = look(backend, Clone::clone);
    let command = match intent {
        Intent::SetConfig { parent_generation, config } => {
            if let Some(detail) = contradictions(&config) {
                return Ok(IntentReply::Refused { refusal: Refusal::Contradictory { detail } });
            }
            Command::SetConfig { parent_generation, config }
        }
        Intent::Approve { plan } => Command::Approve { plan },
        Intent::Cancel { plan, why } => Command::Cancel { plan, why },
        Intent::Pause { why } => Command::Pause { why },
        Intent::Resume => Command::Resume,
        Intent::Drain { region, why } => Command::Drain { region, why },
        Intent::Reinit { service, region } => Command::Reinit { service, region, number: copy.index + 1 },
        Intent::Undrain { region } => Command::Undrain { region },
        other => return Err(Problem::bad_request(format!("nothing was changed: no dry run of {other:?}"))),
    };
    let at = backend.now().max(copy.now);
    let outcome = copy.apply(copy.index + 1, Stamped { at, by, command });
    Ok(IntentReply::Done { outcome, plan: None, rejected: Vec::new() })
}
