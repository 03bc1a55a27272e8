//! A whole cluster with its database loses a region, a server, an agent's life, and moves as planned. Only
//! safety is asserted, and that it comes back at all: how fast is for `cargo xtask bench failover`.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::time::Duration;

use chaos::live::scenario::{Fault, Run, Runner};
use chaos::live::{Cluster, Mode, Options, Profile, Who};

/// Of rows that were on their way to the replicas; a harness that starves may see some more.
const UNDER_WAY: Duration = Duration::from_millis(200);

#[test]
fn netns_one_writer_whatever_is_lost() {
    let options = Options::new(Profile::Balanced, Mode::Async);
    let ttl_ms = options.lease_ttl().as_secs_f64() * 1e3;
    let cluster = Cluster::start(options).unwrap();
    let mut runner = Runner::new(&cluster);
    for fault in [Fault::KillPostgres, Fault::Switchover, Fault::FreezeAgent, Fault::CutOff] {
        let run = runner.run(fault, None).unwrap_or_else(|error| panic!("{fault:?}: {error:#}"));
        eprintln!("{run:?}");
        one_writer(&run);
        assert!(run.judged.recovered_ms.is_some(), "never came back: {run:?}");
        let lost_until_ms = |who| run.judged.lost.get(&who).and_then(|lost| lost.last_after_fault_ms);
        match fault {
            Fault::Switchover => assert!(run.judged.lost.is_empty(), "a planned move lost rows: {run:?}"),
            // Those who stand beside the old primary are acknowledged until its lease is over, and no longer.
            _ => {
                for who in [Who::Inside, Who::Observer] {
                    assert!(lost_until_ms(who).is_none_or(|until| until <= ttl_ms), "{who:?}: {run:?}");
                }
                let client_ms = match fault {
                    // It reached the old primary all the time.
                    Fault::FreezeAgent => ttl_ms,
                    _ => UNDER_WAY.as_secs_f64() * 1e3,
                };
                assert!(lost_until_ms(Who::Client).is_none_or(|until| until <= client_ms), "{run:?}");
            }
        }
    }
}

/// S1
fn one_writer(run: &Run) {
    let judged = &run.judged;
    assert_eq!(judged.late_acks, 0, "two writers: {run:?}");
    assert!(judged.overlap_ms.is_none_or(|ms| ms < 0.0), "two writers: {run:?}");
}
