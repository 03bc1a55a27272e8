//! How much passes. Figures are printed; only that all arrives is asserted, since machines differ.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use chaos::net::Net;
use support::{cpu, join, tcp};

/// Sends as fast as it goes, or as `per_second` allows.
fn pass(net: &Net, bytes: usize, per_second: Option<f64>) -> String {
    const CHUNK: usize = 64 << 10;
    let (mut near, mut far) = tcp(net, "a", "b");
    let cpu_before = cpu(net.switch_pid());
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            let chunk = vec![7; CHUNK];
            for sent in (0..bytes).step_by(CHUNK) {
                near.write_all(&chunk).unwrap();
                let due =
                    per_second.map(|rate| begun + Duration::from_secs_f64((sent + CHUNK) as f64 / rate));
                thread::sleep(
                    due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now())),
                );
            }
        });
        let mut buffer = vec![0; CHUNK];
        let mut left = bytes.next_multiple_of(CHUNK);
        while left > 0 {
            let length = far.read(&mut buffer).unwrap();
            assert!(length > 0, "{left} bytes have not come");
            left -= length;
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let share = (cpu(net.switch_pid()) - cpu_before).as_secs_f64() / took;
    let lost = net.count("a", "b").unwrap().overflowed;
    format!("{:.0} MB/s, {:.0} % of a processor, {lost} overflowed", bytes as f64 / took / 1e6, share * 100.0)
}

#[test]
fn netns_throughput_without_and_with_delay() {
    let net = join("through", &["a", "b"]);
    println!("without delay: {}", pass(&net, 512 << 20, None));
    println!("without delay, at 50 MB/s: {}", pass(&net, 256 << 20, Some(50e6)));
    net.change(|_, _, link| link.delay = Duration::from_millis(20)).unwrap();
    println!("at 40 ms there and back: {}", pass(&net, 128 << 20, None));
    let count = net.count("a", "b").unwrap();
    assert!(count.delivered.bytes > (512 + 256 + 128) << 20);
}
