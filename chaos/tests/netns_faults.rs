//! A whole cluster whose disks fail, hang and fill up, whose clocks jump, and whose connections are broken off: each
//! fault shows by evidence of its own that it was there.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use chaos::live::scenario::{Runner, Storm, Until, Wound};
use chaos::live::{Cluster, Kind, Mode, Options, Profile, Way, Who};

const EACH: [Wound; 8] = [
    Wound::PostgresDiskFails,
    Wound::DiskFull,
    Wound::ControllerDiskFails,
    Wound::AgentDiskFails,
    Wound::PostgresDiskSlow,
    Wound::Resets,
    Wound::Garbage,
    Wound::ProviderAway,
];

#[test]
fn netns_whatever_disks_clocks_and_connections_do_there_is_one_writer_and_all_is_read() {
    let options = Options::for_faults(Profile::Balanced, Mode::Sync);
    let cluster = Cluster::start(options).unwrap();
    let mut runner = Runner::new(&cluster);

    let jumped = runner.clocks_jump().unwrap();
    eprintln!("{jumped:?}");
    for (kind, told) in &jumped.told {
        let ahead_s = seconds(told) - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!(ahead_s > 300, "{kind:?} is not ahead: {told}");
    }
    let both = vec![Kind::Controller, Kind::Agent];
    assert_eq!(jumped.saw, [both.clone(), both.clone(), both], "somebody did not look at its clock");
    assert_eq!(
        (jumped.judged.eras, &jumped.plans[..]),
        (1, &[][..]),
        "something came of a clock: {jumped:?}"
    );
    assert!(jumped.judged.lost.is_empty(), "{jumped:?}");

    let (hung, to) = runner.disk_hangs().unwrap();
    eprintln!("{to} took over: {hung:?}");
    assert_eq!((hung.late_acks, &hung.lost), (0, &Default::default()));

    let storm = runner.storm(Until::Each, &EACH, 1).unwrap();
    eprintln!("{storm:?}");
    safe(&storm);
    for fault in &storm.wounds {
        assert!(fault.effect.is_had(), "{:?}: {:?}", fault.wound, fault.effect);
    }
    let answered =
        |way| storm.readers.iter().filter(|seen| seen.way == way).map(|seen| seen.answered).sum::<usize>();
    assert!([Way::Primary, Way::Nearest, Way::Kept].into_iter().all(|way| answered(way) > 0));
}

fn safe(storm: &Storm) {
    let judged = &storm.judged;
    assert_eq!(judged.late_acks, 0, "two writers");
    assert!(judged.overlap_ms.is_none_or(|ms| ms < 0.0), "two writers");
    for who in [Who::Client, Who::Inside] {
        assert_eq!(judged.lost.get(&who), None, "acknowledged rows are lost");
    }
    let readers: Vec<_> = storm.readers.iter().filter(|seen| seen.is_suspicious()).collect();
    assert!(readers.is_empty(), "{readers:?}");
    assert!(storm.unwell.is_empty(), "{:?}", storm.unwell);
}

/// Since 1970, of a date as HTTP has it.
fn seconds(date: &str) -> i64 {
    let output = Command::new("date").args(["-d", date, "+%s"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
