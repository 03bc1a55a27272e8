//! What came of a drill: what was measured, from outside and from the journal, and what it is worth. Pure: whoever ran
//! it hands in what was seen.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DrillId, Ended, Wish};
use crate::command::Refusal;
use crate::time::{Human, Time, ms};

/// Moments and checks that are kept.
const MOST: usize = 200;
const LONGEST_TEXT: usize = 600;
/// A baseline with less shows nothing.
const LEAST_WRITES: u64 = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    pub drill: DrillId,
    pub wish: Wish,
    pub by: String,
    /// Of the program that ran it.
    pub version: String,
    /// What was drawn for it: the rows of its client bear it.
    pub seed: String,
    pub config_generation: u64,
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub begun_at: Time,
    pub ended: Ended,
    /// What would have ended it, or kept it from beginning.
    pub guards: Vec<String>,
    pub objective: Objective,
    pub measured: Measured,
    /// Oldest first.
    pub timeline: Vec<Moment>,
    pub checks: Vec<Check>,
    pub verdict: Verdict,
    /// Of the last report of the same scenario and service.
    #[serde(default)]
    pub before: Option<Before>,
    /// Nothing was caused: what would be decided.
    #[serde(default)]
    pub is_practice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Objective {
    #[serde(with = "ms", rename = "rto_ms")]
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub rto: Duration,
    /// Of acknowledged rows; none: of a service without a database.
    pub rpo_ms: Option<u64>,
}

/// As seen from where the drill was run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Measured {
    /// The longest time that any client had no success; none: no client could be watched.
    pub longest_gap_ms: Option<u64>,
    pub acknowledged: u64,
    /// Whose outcome nobody knows: neither lost nor kept.
    pub unknown: u64,
    /// Acknowledged, and not there afterwards.
    pub lost: u64,
    /// From the first to the last row that was lost.
    pub lost_span_ms: u64,
    /// Before the fault.
    pub baseline_writes: u64,
    pub baseline_failures: u64,
    /// Of a client that asks for a page, if there was one.
    #[serde(default)]
    pub requests: Option<Requests>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Requests {
    pub longest_gap_ms: Option<u64>,
    pub served: u64,
    pub failed: u64,
    /// Before the fault.
    pub baseline_served: u64,
    pub baseline_failed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moment {
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub at: Time,
    pub phase: Phase,
    pub text: String,
}

/// In the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Fault,
    FirstFailingVantage,
    Verdict,
    Decision,
    Fence,
    Promotion,
    Dns,
    ResolverSees,
    FirstClientSuccess,
    Healed,
    Rejoined,
    Failback,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    pub name: String,
    pub result: CheckResult,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckResult {
    Pass,
    Fail,
    Inconclusive,
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    InvariantViolated,
    ObjectiveMissed,
    Inconclusive,
    Aborted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Before {
    pub drill: DrillId,
    pub verdict: Verdict,
    pub longest_gap_ms: Option<u64>,
    pub lost: u64,
}

/// What the journal and the outside showed, beside what was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Two could take writes at once: how that is known.
    pub two_writers: Option<String>,
    /// Commits wait for others, so that none may be lost.
    pub is_synchronous: bool,
    /// What a move of this service may cost at most, in milliseconds; of an asynchronous database.
    pub loss_allowed_ms: u64,
    pub has_moved: bool,
    pub expected: Expected,
    pub is_served: bool,
    pub has_rejoined: bool,
    /// A person did not wait for what comes after the fault.
    pub is_left: bool,
    /// Where the fault was that DNS servers of others could not be told.
    pub told: Option<Told>,
    /// Ended by a guard, and not because all was seen.
    pub aborted: Option<String>,
}

/// How DNS servers of others heard that the service had moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// They were to be told, and could not.
    pub was_missed: bool,
    /// From when they could be again until all had heard; none: they never did.
    pub after: Option<Duration>,
}

/// What a service does that survives the fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    Moves,
    Stays,
    #[default]
    Either,
}

impl Report {
    /// For people.
    pub fn title(&self) -> String {
        let Wish { scenario, service, .. } = &self.wish;
        match self.is_practice {
            true => format!("practice of {scenario} for {service}"),
            false => format!("{}: {scenario} of {service}", self.drill),
        }
    }

    pub fn check_size(&self) -> Result<(), Refusal> {
        let too_long =
            |what: &str, actual: usize, limit: usize| Refusal::TooLong { what: what.into(), actual, limit };
        if self.timeline.len() > MOST {
            return Err(too_long("the timeline of the report", self.timeline.len(), MOST));
        }
        if self.checks.len() > MOST {
            return Err(too_long("the list of checks of the report", self.checks.len(), MOST));
        }
        let texts = self.timeline.iter().map(|moment| &moment.text);
        if self.guards.len() > MOST {
            return Err(too_long("the list of guards of the report", self.guards.len(), MOST));
        }
        let texts = texts.chain(self.guards.iter()).chain([&self.seed, &self.version]);
        let texts = texts.chain(self.checks.iter().flat_map(|check| [&check.name, &check.detail]));
        match texts.map(String::len).max().filter(|longest| *longest > LONGEST_TEXT) {
            Some(longest) => Err(too_long("a text of the report", longest, LONGEST_TEXT)),
            None => Ok(()),
        }
    }
}

/// What it is worth. A violated invariant outweighs all; a run that shows nothing is not passed.
pub fn judge(objective: &Objective, measured: &Measured, findings: &Findings) -> (Vec<Check>, Verdict) {
    let mut checks = vec![
        baseline(measured),
        one_writer(findings),
        nothing_lost(measured, findings),
        moved(findings),
        recovered(objective, measured, findings),
        rejoined(findings),
    ];
    checks.extend(findings.told.map(|told| heard(told, findings.is_left)));
    let result = |name: &str| checks.iter().find(|check| check.name == name).map(|check| check.result);
    let fails = |names: &[&str]| names.iter().any(|name| result(name) == Some(CheckResult::Fail));
    let verdict = if fails(&[ONE_WRITER, NOTHING_LOST]) {
        Verdict::InvariantViolated
    } else if findings.aborted.is_some() {
        Verdict::Aborted
    } else if checks.iter().any(|check| check.result == CheckResult::Inconclusive) {
        Verdict::Inconclusive
    } else if fails(&[MOVED, RECOVERED, REJOINED, TOLD]) {
        Verdict::ObjectiveMissed
    } else {
        Verdict::Passed
    };
    (checks, verdict)
}

const BASELINE: &str = "steady before the fault";
const ONE_WRITER: &str = "S1: never two writers";
const NOTHING_LOST: &str = "S3: no more lost than allowed";
const MOVED: &str = "the service moved, or stayed, as it should";
const RECOVERED: &str = "L1: served again within the objective";
const REJOINED: &str = "L2: the region is back by itself";
const TOLD: &str = "L3: DNS servers of others heard of it once they could";

pub(super) fn check(name: &str, result: CheckResult, detail: String) -> Check {
    Check { name: name.into(), result, detail }
}

pub(super) fn baseline(measured: &Measured) -> Check {
    let requests = measured.requests.clone().unwrap_or_default();
    let done = measured.baseline_writes + requests.baseline_served;
    let failed = measured.baseline_failures + requests.baseline_failed;
    let detail = format!("{done} successes and {failed} failures");
    let is_steady = done >= LEAST_WRITES && failed == 0;
    check(BASELINE, if is_steady { CheckResult::Pass } else { CheckResult::Inconclusive }, detail)
}

fn one_writer(findings: &Findings) -> Check {
    match &findings.two_writers {
        Some(why) => check(ONE_WRITER, CheckResult::Fail, why.clone()),
        None => {
            check(ONE_WRITER, CheckResult::Pass, "by the journal's leases and what the client wrote".into())
        }
    }
}

fn nothing_lost(measured: &Measured, findings: &Findings) -> Check {
    let Measured { acknowledged, unknown, lost, lost_span_ms, .. } = measured;
    let detail = format!(
        "{lost} lost of {acknowledged} acknowledged, over {lost_span_ms} ms; {unknown} of which nobody knows"
    );
    let result = match lost {
        0 => CheckResult::Pass,
        _ if findings.is_synchronous || *lost_span_ms > findings.loss_allowed_ms => CheckResult::Fail,
        _ => CheckResult::Pass,
    };
    check(NOTHING_LOST, result, detail)
}

fn moved(findings: &Findings) -> Check {
    let detail = if findings.has_moved { "it moved" } else { "it stayed" };
    let is_as_expected = match findings.expected {
        Expected::Moves => findings.has_moved,
        Expected::Stays => !findings.has_moved,
        Expected::Either => true,
    };
    check(MOVED, if is_as_expected { CheckResult::Pass } else { CheckResult::Fail }, detail.into())
}

fn recovered(objective: &Objective, measured: &Measured, findings: &Findings) -> Check {
    let limit = Human(objective.rto);
    let Some(gap_ms) = measured.longest_gap_ms else {
        return check(RECOVERED, CheckResult::Inconclusive, "no client could be watched".into());
    };
    let gap = Duration::from_millis(gap_ms);
    if !findings.is_served {
        let detail = format!("not served when it was over, {} after the last success", Human(gap));
        return check(RECOVERED, CheckResult::Fail, detail);
    }
    let result = if gap <= objective.rto { CheckResult::Pass } else { CheckResult::Fail };
    check(RECOVERED, result, format!("at most {} without a success; the objective is {limit}", Human(gap)))
}

fn rejoined(findings: &Findings) -> Check {
    match findings.has_rejoined {
        true => check(REJOINED, CheckResult::Pass, "it is healthy, and its instance follows".into()),
        false if findings.is_left => {
            check(REJOINED, CheckResult::Inconclusive, "nobody waited for it".into())
        }
        false => check(REJOINED, CheckResult::Fail, "it was not when the drill ended".into()),
    }
}

fn heard(told: Told, is_left: bool) -> Check {
    match told {
        Told { was_missed: false, .. } => check(
            TOLD,
            CheckResult::Inconclusive,
            "nobody had to tell them anything while they were away".into(),
        ),
        Told { after: Some(after), .. } => check(TOLD, CheckResult::Pass, format!("after {}", Human(after))),
        Told { after: None, .. } if is_left => {
            check(TOLD, CheckResult::Inconclusive, "nobody waited for it".into())
        }
        Told { after: None, .. } => {
            check(TOLD, CheckResult::Fail, "they name the old place: `failover journal` says why".into())
        }
    }
}

impl Verdict {
    /// Of the command that ran it.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Passed => 0,
            Verdict::InvariantViolated => 1,
            Verdict::ObjectiveMissed => 2,
            Verdict::Inconclusive => 3,
            Verdict::Aborted => 4,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Passed => "passed",
            Verdict::InvariantViolated => "INVARIANT VIOLATED",
            Verdict::ObjectiveMissed => "objective missed",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Aborted => "aborted",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Fault => "fault",
            Phase::FirstFailingVantage => "first failing vantage",
            Phase::Verdict => "verdict",
            Phase::Decision => "decision",
            Phase::Fence => "fence",
            Phase::Promotion => "promotion",
            Phase::Dns => "DNS",
            Phase::ResolverSees => "a resolver sees it",
            Phase::FirstClientSuccess => "first client success",
            Phase::Healed => "healed",
            Phase::Rejoined => "rejoined",
            Phase::Failback => "failback",
        })
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CheckResult::Pass => "PASS",
            CheckResult::Fail => "FAIL",
            CheckResult::Inconclusive => "INCONCLUSIVE",
            CheckResult::Aborted => "ABORTED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTIVE: Objective = Objective { rto: Duration::from_secs(30), rpo_ms: Some(5_000) };

    fn good() -> (Measured, Findings) {
        let measured = Measured {
            longest_gap_ms: Some(4_200),
            acknowledged: 5_000,
            baseline_writes: 500,
            ..Measured::default()
        };
        let findings = Findings {
            loss_allowed_ms: 5_000,
            has_moved: true,
            expected: Expected::Moves,
            is_served: true,
            has_rejoined: true,
            ..Findings::default()
        };
        (measured, findings)
    }

    fn verdict(change: impl Fn(&mut Measured, &mut Findings)) -> Verdict {
        let (mut measured, mut findings) = good();
        change(&mut measured, &mut findings);
        judge(&OBJECTIVE, &measured, &findings).1
    }

    #[test]
    fn what_a_drill_is_worth() {
        assert_eq!(verdict(|_, _| ()), Verdict::Passed);
        assert_eq!(verdict(|measured, _| measured.longest_gap_ms = Some(30_001)), Verdict::ObjectiveMissed);
        assert_eq!(verdict(|_, findings| findings.has_moved = false), Verdict::ObjectiveMissed);
        assert_eq!(verdict(|_, findings| findings.expected = Expected::Stays), Verdict::ObjectiveMissed);
        assert_eq!(verdict(|_, findings| findings.expected = Expected::Either), Verdict::Passed);
        assert_eq!(verdict(|_, findings| findings.has_rejoined = false), Verdict::ObjectiveMissed);
        let left = |_: &mut Measured, findings: &mut Findings| {
            (findings.has_rejoined, findings.is_left) = (false, true);
        };
        assert_eq!(verdict(left), Verdict::Inconclusive);
        assert_eq!(verdict(|_, findings| findings.is_served = false), Verdict::ObjectiveMissed);
        assert_eq!(verdict(|measured, _| measured.longest_gap_ms = None), Verdict::Inconclusive);
        assert_eq!(verdict(|measured, _| measured.baseline_writes = 9), Verdict::Inconclusive);
        assert_eq!(verdict(|measured, _| measured.baseline_failures = 1), Verdict::Inconclusive);
        let of_requests = |baseline_served, baseline_failed| {
            Some(Requests { baseline_served, baseline_failed, ..Requests::default() })
        };
        assert_eq!(verdict(|measured, _| measured.requests = of_requests(50, 1)), Verdict::Inconclusive);
        let page_only = |measured: &mut Measured, _: &mut Findings| {
            measured.baseline_writes = 0;
            measured.requests = of_requests(50, 0);
        };
        assert_eq!(verdict(page_only), Verdict::Passed, "a service without a database");
        let told =
            |was_missed, after| verdict(|_, findings| findings.told = Some(Told { was_missed, after }));
        assert_eq!(told(true, Some(Duration::from_secs(2))), Verdict::Passed);
        assert_eq!(told(true, None), Verdict::ObjectiveMissed);
        let told_to_nobody = |findings: &mut Findings| {
            findings.is_left = true;
            findings.told = Some(Told { was_missed: true, after: None });
        };
        assert_eq!(verdict(|_, findings| told_to_nobody(findings)), Verdict::Inconclusive);
        assert_eq!(told(false, Some(Duration::ZERO)), Verdict::Inconclusive);
        assert_eq!(verdict(|_, findings| findings.aborted = Some("asked".into())), Verdict::Aborted);
    }

    #[test]
    fn a_violated_invariant_outweighs_everything() {
        let violated = |change: fn(&mut Measured, &mut Findings)| {
            verdict(|measured, findings| {
                change(measured, findings);
                measured.baseline_writes = 0;
                findings.aborted = Some("asked".into());
            })
        };
        assert_eq!(
            violated(|_, findings| findings.two_writers = Some("us and eu".into())),
            Verdict::InvariantViolated
        );
        let lost = |measured: &mut Measured, span| (measured.lost, measured.lost_span_ms) = (3, span);
        assert_eq!(
            violated(|measured, _| (measured.lost, measured.lost_span_ms) = (3, 5_001)),
            Verdict::InvariantViolated
        );
        assert_eq!(verdict(|measured, _| lost(measured, 5_000)), Verdict::Passed, "as much as is allowed");
        let synchronous = |measured: &mut Measured, findings: &mut Findings| {
            lost(measured, 0);
            findings.is_synchronous = true;
        };
        assert_eq!(verdict(synchronous), Verdict::InvariantViolated);
    }
}
