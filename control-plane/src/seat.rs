//! Moves leadership to where it is best; the rule is [`decision::seat`].

use std::sync::Arc;
use std::time::Duration;

use decision::seat::{Seat, better_seat};

use crate::controller::Controller;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// So long it has led before it moves: what caused the election, or the last move, is over by then.
const LED_AT_LEAST: Duration = Duration::from_secs(10);
const HAND_OVER_WITHIN: Duration = Duration::from_secs(3);
/// A round trip is the quickest of so many: others met a busy machine.
const ASKED: usize = 3;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Looks again and again; ends only when dropped.
pub async fn keep(controller: Arc<Controller>) {
    let (mut led, mut term) = (Duration::ZERO, 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let status = controller.node.status();
        led = match status.is_leader && status.term == term {
            true => led + LOOK_EVERY,
            false => Duration::ZERO,
        };
        term = status.term;
        if led < LED_AT_LEAST {
            continue;
        }
        let (state, own) = (controller.state(), controller.region.as_str().into());
        // Cheap first: whoever answers is asked only when there is a reason to go.
        let anybody = seats(&controller, false).await;
        if better_seat(&state, &own, &anybody).is_none() {
            continue;
        }
        let reachable = seats(&controller, true).await;
        let Some(seat) = better_seat(&state, &own, &reachable) else { continue };
        tracing::info!(
            to = seat.member, region = %seat.region, round_trip_ms = seat.round_trip.as_millis(),
            "a primary is in this region: handing leadership to where none would be lost with it"
        );
        if controller.node.hand_over(Some(seat.member), HAND_OVER_WITHIN).await.is_none() {
            tracing::warn!(to = seat.member, "leadership was not taken over");
            led = Duration::ZERO;
        }
    }
}

/// The other voters; only those that answer, and how quickly, if `asked`.
async fn seats(controller: &Controller, asked: bool) -> Vec<Seat> {
    let status = controller.node.status();
    let voters = status.members.iter().filter(|(id, member)| member.voter && **id != status.id);
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
    use crate::testing::Group;

    #[tokio::test(flavor = "multi_thread")]
    async fn voters_that_do_not_answer_are_no_seats() {
        let group = Group::formed(3).await;
        let leader = group.leader().await;
        assert_eq!(seats(&leader, true).await.len(), 2);
        let other = group.until("a follower", |controller| !controller.node.is_leader()).await;
        other.node.shutdown(Duration::ZERO).await;
        let seats = seats(&leader, true).await;
        assert_eq!(seats.len(), 1);
        assert_ne!(seats[0].member, other.node.id());
    }
}
