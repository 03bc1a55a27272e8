//! What is measured, and in which clusters.

use std::time::Duration;

use chaos::live::scenario::Fault;
use chaos::live::{Mode, Options, Profile};

use super::seconds;

/// What is done in clusters of one kind.
pub struct Case {
    pub profile: Profile,
    pub mode: Mode,
    pub setting: Setting,
    pub what: &'static [What],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Plain,
    Failsafe,
    /// 1 % loss, 40 ms ± 10 ms.
    BadNetwork,
}

pub enum What {
    Fault(Fault),
    /// The leader dies too: each time so much later.
    KillLeader {
        fault: Fault,
        every: Duration,
    },
    WithoutQuorum {
        lasts: Duration,
    },
    Long {
        lasts: Duration,
        busy_threads: usize,
    },
    Random {
        wounds: usize,
    },
}

pub const CASES: [Case; 7] = [
    Case {
        profile: Profile::Balanced,
        mode: Mode::Async,
        setting: Setting::Plain,
        what: &[
            What::Fault(Fault::KillPostgres),
            What::Fault(Fault::Switchover),
            What::Fault(Fault::KillPostgresAndAgent),
            What::Fault(Fault::FreezeAgent),
            What::Fault(Fault::CutOff),
            What::WithoutQuorum { lasts: seconds(120) },
            What::KillLeader { fault: Fault::KillPostgres, every: Duration::from_millis(50) },
            What::KillLeader { fault: Fault::Switchover, every: Duration::from_millis(50) },
        ],
    },
    Case {
        profile: Profile::Balanced,
        mode: Mode::Sync,
        setting: Setting::Plain,
        what: &[What::Random { wounds: 100 }],
    },
    Case {
        profile: Profile::Balanced,
        mode: Mode::Async,
        setting: Setting::Failsafe,
        what: &[What::WithoutQuorum { lasts: seconds(120) }],
    },
    Case {
        profile: Profile::Fast,
        mode: Mode::Async,
        setting: Setting::Plain,
        what: &[
            What::Fault(Fault::CutOff),
            What::Fault(Fault::KillPostgres),
            What::Fault(Fault::Switchover),
            What::Fault(Fault::FreezeAgent),
            What::KillLeader { fault: Fault::KillPostgres, every: Duration::from_millis(25) },
            What::KillLeader { fault: Fault::Switchover, every: Duration::from_millis(25) },
        ],
    },
    Case {
        profile: Profile::Fast,
        mode: Mode::Sync,
        setting: Setting::Plain,
        what: &[What::Fault(Fault::CutOff), What::Random { wounds: 100 }],
    },
    Case {
        profile: Profile::Fast,
        mode: Mode::Async,
        setting: Setting::BadNetwork,
        what: &[What::Long { lasts: seconds(3_600), busy_threads: 2 }],
    },
    Case {
        profile: Profile::Balanced,
        mode: Mode::Async,
        setting: Setting::BadNetwork,
        what: &[What::Long { lasts: seconds(600), busy_threads: 2 }],
    },
];

impl Case {
    pub fn options(&self) -> Options {
        let plain = Options::new(self.profile, self.mode);
        match self.setting {
            Setting::Plain => plain,
            Setting::Failsafe => Options { failsafe: true, ..plain },
            // Evenly from 15 to 25 ms each way.
            Setting::BadNetwork => Options {
                one_way: Duration::from_millis(15),
                jitter: Duration::from_millis(10),
                loss: 0.01,
                ..plain
            },
        }
    }

    pub fn name(&self, what: &What) -> String {
        let setting = match self.setting {
            Setting::Plain => "",
            Setting::Failsafe => "failsafe-",
            Setting::BadNetwork => "lossy-",
        };
        format!("{}-{}-{setting}{}", self.profile, self.mode, what.name())
    }
}

impl What {
    /// Part of the benchmark. The others look for mistakes, and take long.
    pub fn is_timed(&self) -> bool {
        matches!(self, What::Fault(_))
    }

    pub fn times(&self, repetitions: usize) -> usize {
        match self {
            What::Fault(_) | What::KillLeader { .. } => repetitions,
            What::WithoutQuorum { .. } | What::Long { .. } | What::Random { .. } => 1,
        }
    }

    fn name(&self) -> String {
        let of_fault = |fault: &Fault| match fault {
            Fault::KillPostgres => "kill-postgres",
            Fault::KillPostgresAndAgent => "kill-postgres-and-agent",
            Fault::CutOff => "cut-off",
            Fault::FreezeAgent => "freeze-agent",
            Fault::Switchover => "switchover",
        };
        match self {
            What::Fault(fault) => of_fault(fault).to_owned(),
            What::KillLeader { fault, .. } => format!("{}-kill-leader", of_fault(fault)),
            What::WithoutQuorum { .. } => "without-quorum".to_owned(),
            What::Long { .. } => "long".to_owned(),
            What::Random { .. } => "random".to_owned(),
        }
    }
}
