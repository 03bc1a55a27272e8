//! Relays between clients and plain servers that answer in the place of databases.

mod choices;
mod relaying;

use std::collections::BTreeMap;
use std::time::Duration;

use decision::config::{Database, Engine, Instance, LeaseTimings, Login, MaxDataLoss, Mode};
use decision::goal::{DatabaseGoal, DatabaseRole};
use decision::name::RegionName;
use decision::plan::Epoch;

fn instance(host: &str, port: u16) -> Instance {
    Instance {
        data_dir: "/data".into(),
        host: host.into(),
        port,
        listen: vec!["*".into()],
        bin_dir: None,
        os_user: "postgres".into(),
        priority: 100,
        nofailover: false,
        write_endpoint: None,
        read_endpoint: None,
    }
}

/// Instances in `eu`, where these agents are, and in `us`.
pub(crate) fn goal(writer: Option<&str>, epoch: u64) -> DatabaseGoal {
    let instances: [(RegionName, Instance); 2] =
        [("eu".into(), instance("db.eu.test", 5432)), ("us".into(), instance("db.us.test", 5432))];
    let wished = Database {
        engine: Engine::Postgresql,
        mode: Mode::Async,
        max_data_loss: MaxDataLoss { bytes: 0, time: Duration::ZERO },
        lease: LeaseTimings {
            ttl: Duration::from_secs(3),
            renew_every: Duration::from_millis(300),
            fence_budget: Duration::from_millis(300),
        },
        failsafe: false,
        instances: instances.into(),
        superuser: "postgres".into(),
        replication: Login { user: "replication".into(), password: None },
        settings: BTreeMap::new(),
        hba: Vec::new(),
        users: Vec::new(),
    };
    let role = match writer {
        Some("eu") => DatabaseRole::Primary { ready: None, at_least: None },
        Some(of) => DatabaseRole::Replica { of: of.into(), heir: false },
        None => DatabaseRole::Rest { wrote_last: false },
    };
    let writer = writer.map(RegionName::from);
    DatabaseGoal {
        service: "app".into(),
        wished,
        vacant_for: Duration::ZERO,
        system: None,
        history: Vec::new(),
        history_is_whole: true,
        epoch: Epoch(epoch),
        role,
        writer,
        writer_serves: true,
        alone: None,
        unsettled: None,
        reinit: 0,
        peers: BTreeMap::new(),
    }
}
