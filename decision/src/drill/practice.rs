//! A drill that causes nothing: what the rules would decide now, and what clients see meanwhile.

use std::time::Duration;

use super::report::{Check, CheckResult, Expected, Measured, Objective, Verdict, baseline, check};
use crate::database::Loss;
use crate::name::RegionName;
use crate::time::Human;

/// What the leader says that it would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Where the service would go; else why it would not.
    pub moves_to: Result<RegionName, String>,
    pub expected: Expected,
    /// From the fault until it is decided, and from then until nobody can write in the old place: at most.
    pub decided_within: Duration,
    pub fenced_within: Duration,
    /// Of a database whose loss is bounded.
    pub loss: Option<Loss>,
}

const WOULD_MOVE: &str = "the service would move, or stay, as it should";
const WOULD_LOSE: &str = "S3: what could be lost now";
const WOULD_RECOVER: &str = "L1: another region could begin within the objective";

/// What it is worth: nothing was tried, so that nothing is violated.
pub fn judge(objective: &Objective, measured: &Measured, foreseen: &Foreseen) -> (Vec<Check>, Verdict) {
    let checks = vec![baseline(measured), moves(foreseen), loses(foreseen), recovers(objective, foreseen)];
    let has = |result| checks.iter().any(|check| check.result == result);
    let verdict = if has(CheckResult::Fail) {
        Verdict::ObjectiveMissed
    } else if has(CheckResult::Inconclusive) {
        Verdict::Inconclusive
    } else {
        Verdict::Passed
    };
    (checks, verdict)
}

fn of(is_good: bool) -> CheckResult {
    if is_good { CheckResult::Pass } else { CheckResult::Fail }
}

fn moves(foreseen: &Foreseen) -> Check {
    let is_as_expected = match foreseen.expected {
        Expected::Moves => foreseen.moves_to.is_ok(),
        Expected::Stays => foreseen.moves_to.is_err(),
        Expected::Either => true,
    };
    let detail = match &foreseen.moves_to {
        Ok(region) => format!("it would move to {region}"),
        Err(why) => format!("it would stay: {why}"),
    };
    check(WOULD_MOVE, of(is_as_expected), detail)
}

/// Nobody would be promoted past what may be lost, so that it is told and not judged.
fn loses(foreseen: &Foreseen) -> Check {
    let detail = foreseen.loss.map_or_else(|| "nothing".to_owned(), |loss| loss.to_string());
    check(WOULD_LOSE, CheckResult::Pass, detail)
}

fn recovers(objective: &Objective, foreseen: &Foreseen) -> Check {
    let (decided, fenced) = (foreseen.decided_within, foreseen.fenced_within);
    let detail = format!(
        "decided within {}, fenced within {} more; the objective is {}. Promotion and DNS come on top, a real drill measures them",
        Human(decided),
        Human(fenced),
        Human(objective.rto)
    );
    check(WOULD_RECOVER, of(decided + fenced < objective.rto), detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::secs;

    #[test]
    fn what_a_practice_is_worth() {
        let objective = Objective { rto: secs(30), rpo_ms: None };
        let steady = Measured { baseline_writes: 100, ..Measured::default() };
        let foreseen = Foreseen {
            moves_to: Ok("eu".into()),
            expected: Expected::Moves,
            decided_within: secs(4),
            fenced_within: secs(5),
            loss: None,
        };
        let verdict = |measured: &Measured, foreseen: &Foreseen| judge(&objective, measured, foreseen).1;
        assert_eq!(verdict(&steady, &foreseen), Verdict::Passed);
        assert_eq!(verdict(&Measured::default(), &foreseen), Verdict::Inconclusive);
        let stays = Foreseen { moves_to: Err("nobody could take over".into()), ..foreseen.clone() };
        assert_eq!(verdict(&steady, &stays), Verdict::ObjectiveMissed);
        assert_eq!(verdict(&steady, &Foreseen { expected: Expected::Stays, ..stays }), Verdict::Passed);
        let slow = Foreseen { fenced_within: secs(26), ..foreseen };
        assert_eq!(verdict(&steady, &slow), Verdict::ObjectiveMissed);
    }
}
