//! A link takes as long as it is told to.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::time::{Duration, Instant};

use chaos::net::{Link, Net};
use support::{at, cpu, join, udp, until};

const MS: Duration = Duration::from_millis(1);

/// Round trips as `ping` saw them, sorted, in milliseconds.
fn pings(net: &Net, from: &str, to: &str, times: u32) -> Vec<f64> {
    let mut ping = net.command(from, "ping").unwrap();
    ping.args(["-n", "-i", "0.01", "-c", &times.to_string()]).arg(net.address(to).unwrap().to_string());
    let output = ping.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{said}");
    let number = |rest: &str| rest.split(' ').next().unwrap().parse().unwrap();
    let mut took: Vec<f64> = text.split("time=").skip(1).map(number).collect();
    took.sort_by(f64::total_cmp);
    took
}

#[test]
fn netns_delay_of_20_ms_each_way_is_40_ms_there_and_back() {
    let net = join("delay", &["a", "b"]);
    net.change(|_, _, link| link.delay = 20 * MS).unwrap();
    let (begun, cpu_before) = (Instant::now(), cpu(net.switch_pid()));
    let took = pings(&net, "a", "b", 500);
    let share = (cpu(net.switch_pid()) - cpu_before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let median = took[took.len() / 2];
    println!(
        "round trip at 20 ms each way: median {median} ms, least {} ms, 99 % within {} ms; \
         the switch takes {:.1} % of a processor at one ping each 10 ms",
        took[0],
        took[took.len() * 99 / 100],
        share * 100.0
    );
    assert_eq!(took.len(), 500);
    assert!((38.5..=41.5).contains(&median), "{median} ms");
    assert!(took[0] >= 40.0, "no frame may come early: {} ms", took[0]);
}

#[test]
fn netns_delay_of_each_way_is_its_own_and_changes_at_once() {
    let net = join("ways", &["a", "b", "c"]);
    net.set("a", "b", Link::delayed(30 * MS)).unwrap();
    assert!(pings(&net, "a", "b", 1)[0] >= 30.0);
    assert!(pings(&net, "a", "b", 20)[10] < 45.0);
    let other = pings(&net, "a", "c", 20)[10];
    assert!(other < 10.0, "nothing delays this pair: {other} ms");
    net.set("a", "b", Link::default()).unwrap();
    let healed = pings(&net, "a", "b", 20)[10];
    assert!(healed < 10.0, "nothing delays it any more: {healed} ms");
}

/// Sends numbered datagrams; the order in which they arrive.
fn burst(net: &Net, datagrams: u32) -> Vec<u32> {
    let (from, to) = (udp(net, "a"), udp(net, "b"));
    for number in 0..datagrams {
        from.send_to(&number.to_be_bytes(), at(net, "b")).unwrap();
    }
    let mut buffer = [0; 4];
    let receive = |_| {
        to.recv(&mut buffer).unwrap();
        u32::from_be_bytes(buffer)
    };
    (0..datagrams).map(receive).collect()
}

#[test]
fn netns_jitter_stays_within_its_bounds() {
    let net = join("jitter", &["a", "b"]);
    let link = Link { delay: 5 * MS, jitter: 10 * MS, ..Link::default() };
    net.set("a", "b", link).unwrap();
    let (from, to) = (udp(&net, "a"), udp(&net, "b"));
    // One at a time, so that none waits for another.
    let mut took: Vec<Duration> = (0..200)
        .map(|_| {
            let sent = Instant::now();
            from.send_to(b"datagram", at(&net, "b")).unwrap();
            to.recv(&mut [0; 8]).unwrap();
            sent.elapsed()
        })
        .collect();
    took.sort();
    println!("5 ms and up to 10 ms more: from {:?}, median {:?}, to {:?}", took[0], took[100], took[199]);
    assert!(took[0] >= 5 * MS);
    // How much comes to it is the machine's: a busy one wakes whoever waits some milliseconds late, for seconds on end.
    assert!(took[50] < 10 * MS && took[189] > 13 * MS, "spread evenly");
    assert!(took[100] < 16 * MS);
}

#[test]
fn netns_jitter_keeps_the_order_and_reorder_does_not() {
    let net = join("order", &["a", "b"]);
    let link = Link { delay: 5 * MS, jitter: 10 * MS, ..Link::default() };
    net.set("a", "b", link).unwrap();
    let in_order: Vec<u32> = (0..200).collect();
    assert_eq!(burst(&net, 200), in_order);
    net.set("a", "b", Link { reorder: 0.2, ..link }).unwrap();
    let mut arrived = burst(&net, 200);
    assert_ne!(arrived, in_order);
    arrived.sort_unstable();
    assert_eq!(arrived, in_order, "none is lost, none comes twice");
}

#[test]
fn netns_duplicate_comes_twice() {
    let net = join("twice", &["a", "b"]);
    net.set("a", "b", Link { duplicate: 1.0, ..Link::default() }).unwrap();
    let (from, to) = (udp(&net, "a"), udp(&net, "b"));
    from.send_to(b"one", at(&net, "b")).unwrap();
    let mut buffer = [0; 3];
    for _ in 0..2 {
        to.recv(&mut buffer).unwrap();
        assert_eq!(&buffer, b"one");
    }
    let count = until(&net, "a", "b", |count| count.delivered.frames == 2);
    assert_eq!((count.offered.frames, count.duplicated), (1, 1));
}
