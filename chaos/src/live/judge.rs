//! What the records of one run say.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::clock::ms;
use super::record::{Attempt, Class, Era, Outcome, Who};

/// Of rows that were acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lost {
    pub count: usize,
    /// From the fault until the last of them was acknowledged.
    pub last_after_fault_ms: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// The longest time in which the client had no acknowledgement, from the fault on.
    pub gap_ms: f64,
    /// From the fault to the client's first acknowledgement by whoever took over.
    pub recovered_ms: Option<f64>,
    pub acked: BTreeMap<Who, usize>,
    /// Not on the primary in the end.
    pub lost: BTreeMap<Who, Lost>,
    /// The longest time in which an older era still acknowledged after a newer one had begun to. Below 0: that
    /// much lay between them.
    pub overlap_ms: Option<f64>,
    /// Acknowledged in an older era after the first acknowledgement in a newer.
    pub late_acks: usize,
    /// The last acknowledgement by the old primary, from the fault.
    pub old_primary_until_ms: Option<f64>,
    /// The client's.
    pub errors: BTreeMap<Class, usize>,
    pub eras: usize,
    /// When the first statement of each ran, from the fault.
    pub eras_began_ms: Vec<f64>,
}

/// `rows`: what the primary has in the end.
pub(super) fn judge(attempts: &[Attempt], fault_ns: u64, rows: &BTreeSet<i64>) -> Judgement {
    let mut judgement = Judgement { gap_ms: gap_ms(attempts, fault_ns), ..Judgement::default() };
    let old = era_at(attempts, fault_ns);
    let since_fault = |ns: u64| ms(ns) - ms(fault_ns);
    judgement.recovered_ms = attempts
        .iter()
        .filter(|attempt| attempt.who == Who::Client && attempt.ended_ns > fault_ns)
        .filter(|attempt| attempt.era().is_some_and(|era| Some(era) != old))
        .map(|attempt| since_fault(attempt.ended_ns))
        .min_by(f64::total_cmp);
    for attempt in attempts {
        match &attempt.outcome {
            Outcome::Acked { .. } => {
                *judgement.acked.entry(attempt.who).or_default() += 1;
                if !rows.contains(&attempt.id) {
                    let lost = judgement.lost.entry(attempt.who).or_default();
                    lost.count += 1;
                    let after = since_fault(attempt.ended_ns);
                    lost.last_after_fault_ms = Some(lost.last_after_fault_ms.map_or(after, |b| b.max(after)));
                }
            }
            Outcome::Failed(Class::ReadOnly, _) => {}
            Outcome::Failed(class, _) if attempt.who == Who::Client => {
                *judgement.errors.entry(*class).or_default() += 1;
            }
            Outcome::Failed(..) => {}
        }
    }
    judgement.old_primary_until_ms = attempts
        .iter()
        .filter(|attempt| old.is_some() && attempt.era() == old)
        .filter_map(|attempt| latest(attempt).map(since_fault))
        .max_by(f64::total_cmp);
    let eras = eras(attempts);
    judgement.eras = eras.len();
    judgement.eras_began_ms = eras.values().map(|span| since_fault(span.first)).collect();
    judgement.eras_began_ms.sort_by(f64::total_cmp);
    overlaps(&mut judgement, attempts, &eras);
    judgement
}

/// A stretch of time, in milliseconds since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    pub from_ms: f64,
    pub until_ms: f64,
}

/// Longer than this without an acknowledgement, and somebody may have noticed.
const NOTICED_MS: f64 = 200.0;

/// When one of these could not write.
pub(super) fn gaps(attempts: &[Attempt], who: Who, began_ns: u64) -> Vec<Gap> {
    let mut acked: Vec<u64> = attempts
        .iter()
        .filter(|attempt| attempt.who == who && attempt.is_acked() && attempt.ended_ns >= began_ns)
        .map(|attempt| attempt.ended_ns)
        .collect();
    acked.push(began_ns);
    acked.sort_unstable();
    let gap =
        |pair: &[u64]| Gap { from_ms: ms(pair[0]) - ms(began_ns), until_ms: ms(pair[1]) - ms(began_ns) };
    acked.windows(2).map(gap).filter(|gap| gap.until_ms - gap.from_ms > NOTICED_MS).collect()
}

/// From a moment, in milliseconds since the beginning, until the client's next acknowledgement.
pub(super) fn written_after_ms(attempts: &[Attempt], began_ns: u64, at_ms: f64) -> Option<f64> {
    attempts
        .iter()
        .filter(|attempt| attempt.who == Who::Client && attempt.is_acked())
        .map(|attempt| ms(attempt.ended_ns) - ms(began_ns) - at_ms)
        .filter(|after_ms| *after_ms >= 0.0)
        .min_by(f64::total_cmp)
}

/// Which server took writes from when until when, in the order in which they began to.
pub(super) fn eras_seen(attempts: &[Attempt], began_ns: u64) -> Vec<(String, Gap)> {
    let since = |ns: u64| ms(ns) - ms(began_ns);
    let of = |(era, span): (&Era, Span)| {
        (era.server.clone(), Gap { from_ms: since(span.first), until_ms: since(span.last) })
    };
    let mut seen: Vec<(String, Gap)> = eras(attempts).into_iter().map(of).collect();
    seen.sort_by(|one, other| one.1.from_ms.total_cmp(&other.1.from_ms));
    seen
}

fn gap_ms(attempts: &[Attempt], fault_ns: u64) -> f64 {
    let mut acks: Vec<u64> = attempts
        .iter()
        .filter(|attempt| attempt.who == Who::Client && attempt.is_acked())
        .map(|attempt| attempt.ended_ns)
        .collect();
    acks.sort_unstable();
    let gaps = acks.windows(2).filter(|pair| pair[1] > fault_ns).map(|pair| ms(pair[1] - pair[0]));
    gaps.max_by(f64::total_cmp).unwrap_or(f64::INFINITY)
}

/// Who took writes when the fault came.
pub(super) fn era_at(attempts: &[Attempt], fault_ns: u64) -> Option<&Era> {
    let before = attempts.iter().filter(|attempt| attempt.ended_ns <= fault_ns && attempt.is_acked());
    before.max_by_key(|attempt| attempt.ended_ns)?.era()
}

/// When an acknowledged row was committed at the latest, by those who stand beside the server; what comes from
/// afar may have been late, so that of it only the moment counts when its statement ran.
fn latest(attempt: &Attempt) -> Option<u64> {
    let Outcome::Acked { ran_ns, .. } = attempt.outcome else { return None };
    Some(match attempt.who {
        Who::Client => ran_ns,
        Who::Inside | Who::Observer => attempt.ended_ns,
    })
}

/// The first and the last moment of an era: when its first statement ran, and when its last row was committed.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    last: u64,
}

fn eras(attempts: &[Attempt]) -> BTreeMap<&Era, Span> {
    let mut eras: BTreeMap<&Era, Span> = BTreeMap::new();
    for attempt in attempts {
        let Outcome::Acked { era, ran_ns, .. } = &attempt.outcome else { continue };
        let last = latest(attempt).unwrap_or(*ran_ns);
        let span = eras.entry(era).or_insert(Span { first: *ran_ns, last });
        span.first = span.first.min(*ran_ns);
        span.last = span.last.max(last);
    }
    eras
}

fn overlaps(judgement: &mut Judgement, attempts: &[Attempt], eras: &BTreeMap<&Era, Span>) {
    let mut in_order: Vec<(&Era, Span)> = eras.iter().map(|(era, span)| (*era, *span)).collect();
    in_order.sort_by_key(|(_, span)| span.first);
    for (n, (_, newer)) in in_order.iter().enumerate() {
        for (older_era, older) in &in_order[..n] {
            let overlap = ms(older.last) - ms(newer.first);
            judgement.overlap_ms = Some(judgement.overlap_ms.map_or(overlap, |most| most.max(overlap)));
            if overlap <= 0.0 {
                continue;
            }
            let is_late = |attempt: &&Attempt| {
                attempt.era() == Some(older_era) && latest(attempt).is_some_and(|at| at > newer.first)
            };
            judgement.late_acks += attempts.iter().filter(is_late).count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn era(server: &str) -> Era {
        Era { server: server.into(), timeline: "00000001".into(), started_us: 0 }
    }

    fn acked(id: i64, who: Who, server: &str, at_ms: u64) -> Attempt {
        let outcome = Outcome::Acked { era: era(server), epoch: 1, ran_ns: at_ms * MS };
        Attempt { id, who, to: "us-east-1", sent_ns: at_ms * MS, ended_ns: (at_ms + 1) * MS, outcome }
    }

    fn rows(ids: impl IntoIterator<Item = i64>) -> BTreeSet<i64> {
        ids.into_iter().collect()
    }

    #[test]
    fn the_gap_is_the_longest_after_the_fault() {
        let attempts: Vec<_> =
            [0, 500, 510, 900, 910].map(|at| acked(at as i64, Who::Client, "a", at)).into();
        let judged = judge(&attempts, 505 * MS, &rows([0, 500, 510, 900, 910]));
        assert_eq!((judged.gap_ms, judged.eras, judged.recovered_ms), (390.0, 1, None));
        assert!(judged.lost.is_empty());
    }

    #[test]
    fn gaps_are_told_of_each_who_tries_from_the_beginning_on() {
        let at = |who, times: &[u64]| -> Vec<Attempt> {
            times.iter().map(|at| acked(*at as i64, who, "a", *at)).collect()
        };
        let attempts = [at(Who::Client, &[10, 100, 900, 950]), at(Who::Inside, &[700])].concat();
        let gap = |from_ms, until_ms| Gap { from_ms, until_ms };
        assert_eq!(gaps(&attempts, Who::Client, 50 * MS), [gap(51.0, 851.0)]);
        assert_eq!(gaps(&attempts, Who::Inside, 50 * MS), [gap(0.0, 651.0)]);
        assert_eq!(eras_seen(&attempts, 0), [("a".to_owned(), gap(10.0, 950.0))]);
        let after = |at_ms| written_after_ms(&attempts, 50 * MS, at_ms);
        assert_eq!((after(60.0), after(900.0), after(901.1)), (Some(791.0), Some(1.0), None));
    }

    #[test]
    fn what_an_old_era_acknowledges_after_a_new_one_is_two_writers() {
        let mut attempts = vec![acked(1, Who::Observer, "a", 10), acked(2, Who::Observer, "b", 100)];
        let judged = judge(&attempts, 50 * MS, &rows([1, 2]));
        assert_eq!((judged.overlap_ms, judged.late_acks), (Some(-89.0), 0));
        attempts.push(acked(3, Who::Observer, "a", 120));
        let judged = judge(&attempts, 50 * MS, &rows([1, 2]));
        assert_eq!((judged.overlap_ms, judged.late_acks), (Some(21.0), 1));
        assert_eq!(judged.lost[&Who::Observer], Lost { count: 1, last_after_fault_ms: Some(71.0) });
        assert_eq!(judged.old_primary_until_ms, Some(71.0));
    }

    #[test]
    fn a_clients_time_of_hearing_is_no_time_of_commit() {
        let mut late = acked(1, Who::Client, "a", 10);
        late.ended_ns = 200 * MS;
        let judged = judge(&[late, acked(2, Who::Client, "b", 100)], 50 * MS, &rows([1, 2]));
        assert_eq!(judged.late_acks, 0);
    }
}
