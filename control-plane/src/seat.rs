//! Moves leadership to where it is best; the rule is [`decision::seat`].

use std::sync::Arc;
use std::time::Duration;

use decision::seat::{Seat, better_seat, stays_for};

use crate::controller::Controller;
use crate::raft::MemberStatus;

const LOOK_EVERY: Duration = Duration::from_secs(2);
const PATIENCE_MAX: Duration = Duration::from_secs(1_800);
const HAND_OVER_WITHIN: Duration = Duration::from_secs(3);
/// A round trip is the quickest of so many: others met a busy machine.
const ASKED: usize = 3;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Looks again and again; ends only when dropped.
pub async fn keep(controller: Arc<Controller>) {
    let (mut led, mut term, mut patience) = (Duration::ZERO, 0, Duration::ZERO);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let status = controller.node.status();
        led = match status.is_leader && status.term == term {
            true => led + LOOK_EVERY,
            false => Duration::ZERO,
        };
        term = status.term;
        if led < stays_for(&controller.state()).max(patience) {
            continue;
        }
        patience = match hand_over(&controller).await {
            Some(true) | None => Duration::ZERO,
            // Each failure may have cost an election.
            Some(false) => (led * 2).min(PATIENCE_MAX),
        };
    }
}

/// None: it sits well, or this is not the moment. Else whether another leads now.
async fn hand_over(controller: &Controller) -> Option<bool> {
    let own = controller.region.as_str().into();
    let best = |seats: &[Seat]| {
        let (view, now) = controller.heard.view()?;
        better_seat(&controller.state(), &view, now, &own, seats).cloned()
    };
    // Whoever answers is asked only when there is a reason to go.
    best(&seats(controller, false).await)?;
    let seat = best(&seats(controller, true).await)?;
    tracing::info!(
        to = seat.member, region = %seat.region, round_trip_ms = seat.round_trip.as_millis(),
        "a primary is in this region: handing leadership to where none would be lost with it"
    );
    let taken = controller.node.hand_over(Some(seat.member), HAND_OVER_WITHIN).await;
    if taken.is_none() {
        tracing::warn!(to = seat.member, "leadership was not taken over");
    }
    Some(taken.is_some())
}

/// The other voters that have the whole log; only those that answer, and how quickly, if `asked`.
async fn seats(controller: &Controller, asked: bool) -> Vec<Seat> {
    let status = controller.node.status();
    let can_lead = |member: &MemberStatus| {
        member.voter && member.matched.is_some_and(|matched| matched >= status.applied)
    };
    let voters = status.members.iter().filter(|(id, member)| **id != status.id && can_lead(member));
    let mut seats = Vec::new();
    for (member, known) in voters {
        let round_trip = match asked {
            true => controller.node.round_trip(*member, &known.member, ASKED, ANSWER_WITHIN).await,
            false => Some(Duration::ZERO),
        };
        let region = known.member.region.as_str().into();
        seats.extend(round_trip.map(|round_trip| Seat { member: *member, region, round_trip }));
    }
    seats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Group, SOON};

    #[tokio::test(flavor = "multi_thread")]
    async fn voters_that_do_not_answer_are_no_seats() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        let begun = tokio::time::Instant::now();
        while seats(&leader, true).await.len() < 2 {
            assert!(begun.elapsed() < SOON, "both have the log soon");
            tokio::task::yield_now().await;
        }
        let other = group.until("a follower", |controller| !controller.node.is_leader()).await;
        other.node.shutdown(Duration::ZERO).await;
        let seats = seats(&leader, true).await;
        assert_eq!(seats.len(), 1);
        assert_ne!(seats[0].member, other.node.id());
    }
}
