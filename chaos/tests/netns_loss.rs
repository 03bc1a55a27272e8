//! Loss is as frequent as asked, and the same for a seed.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use chaos::net::{Count, Link, Net};
use support::{at, made, udp, until};

const DATAGRAMS: u32 = 20_000;
/// What a socket's buffer holds for certain.
const BURST: u32 = 100;

/// The numbers of those that arrived.
fn send_many(seed: u64) -> (Vec<u32>, Count) {
    let net = made(Net::seeded("loss", &["a", "b"], seed));
    net.set("a", "b", Link { loss: 0.01, ..Link::default() }).unwrap();
    let (from, to) = (udp(&net, "a"), udp(&net, "b"));
    let mut arrived = Vec::new();
    for first in (0..DATAGRAMS).step_by(BURST as usize) {
        for number in first..first + BURST {
            from.send_to(&number.to_be_bytes(), at(&net, "b")).unwrap();
        }
        let all = u64::from(first + BURST);
        let count = until(&net, "a", "b", |count| count.lost + count.delivered.frames == all);
        while (arrived.len() as u64) < count.delivered.frames {
            let mut number = [0; 4];
            to.recv(&mut number).unwrap();
            arrived.push(u32::from_be_bytes(number));
        }
    }
    let count = net.count("a", "b").unwrap();
    assert_eq!(net.count("b", "a").unwrap(), Count::default(), "nothing was sent back");
    (arrived, count)
}

#[test]
fn netns_loss_of_one_in_a_hundred_is_that_and_the_same_again() {
    let (arrived, count) = send_many(7);
    println!("of {DATAGRAMS} datagrams {} were lost", count.lost);
    assert_eq!(count.offered.frames, u64::from(DATAGRAMS));
    assert_eq!(count.overflowed + count.refused + count.cut + count.in_flight, 0);
    assert_eq!(arrived.len() as u64 + count.lost, u64::from(DATAGRAMS));
    // Four standard deviations: √(20,000 × 0.01 × 0.99) = 14.
    assert!((144..=256).contains(&count.lost), "{}", count.lost);
    let (again, _) = send_many(7);
    assert!(arrived == again, "the same seed loses the same");
    let (other, _) = send_many(8);
    assert!(arrived != other, "another seed loses others");
}
