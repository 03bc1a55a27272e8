//! The drills that there are, and those that a user writes.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use decision::drill::Fault;
use decision::drill::report::Expected;
use serde::Deserialize;

/// One kind of drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub name: Cow<'static, str>,
    pub fault: Fault,
    /// How the service survives it.
    pub expected: Expected,
    pub lasts: Duration,
    /// Instead of that of the service's tier.
    pub rto: Option<Duration>,
    pub about: Cow<'static, str>,
}

const fn known(
    name: &'static str,
    fault: Fault,
    expected: Expected,
    lasts_s: u64,
    about: &'static str,
) -> Scenario {
    Scenario {
        name: Cow::Borrowed(name),
        fault,
        expected,
        lasts: Duration::from_secs(lasts_s),
        rto: None,
        about: Cow::Borrowed(about),
    }
}

pub const SCENARIOS: [Scenario; 7] = [
    known(
        "region-loss",
        Fault::RegionLoss,
        Expected::Moves,
        120,
        "its agents and controllers are cut off, its database is killed, nobody reaches its services",
    ),
    known(
        "partition",
        Fault::Partition,
        Expected::Moves,
        120,
        "its agents and controllers are cut off; the database goes on until its lease is over",
    ),
    known("database-crash", Fault::DatabaseCrash, Expected::Either, 60, "kill -9 of the postmaster"),
    known(
        "agent-freeze",
        Fault::AgentFreeze,
        Expected::Moves,
        30,
        "its agents stand still (SIGSTOP); the guard ends the database with its lease",
    ),
    known(
        "switchover",
        Fault::PlannedMove,
        Expected::Moves,
        120,
        "nothing: the service is moved away as planned, and back",
    ),
    known(
        "controller-quorum-loss",
        Fault::QuorumLoss,
        Expected::Stays,
        20,
        "nothing, but the controllers of all regions are cut off: nobody can decide anything",
    ),
    known(
        "dns-provider-outage",
        Fault::ProviderOutage,
        Expected::Moves,
        20,
        "nothing: the service is moved away as planned, and back, while DNS servers of others cannot be told",
    ),
];

/// A file of a user's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    /// One of the built-in scenarios: what is done.
    like: String,
    expected: Option<Expected>,
    longest_s: Option<u64>,
    rto_ms: Option<u64>,
    about: Option<String>,
}

impl Scenario {
    /// By its name, or from a file of the user's own.
    pub fn find(text: &str) -> Result<Scenario, String> {
        let path = Path::new(text);
        if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
            let yaml = std::fs::read_to_string(path).map_err(|error| format!("{text}: {error}"))?;
            return Scenario::read(&yaml).map_err(|why| format!("{text}: {why}"));
        }
        Scenario::named(text)
    }

    fn named(name: &str) -> Result<Scenario, String> {
        SCENARIOS.into_iter().find(|scenario| scenario.name == name).ok_or_else(|| {
            let known: Vec<Cow<str>> = SCENARIOS.into_iter().map(|scenario| scenario.name).collect();
            format!(
                "there is no scenario {name:?}; there are {}, and files of your own (.yml)",
                known.join(", ")
            )
        })
    }

    fn read(yaml: &str) -> Result<Scenario, String> {
        let written: Written = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let like = Scenario::named(&written.like)?;
        Ok(Scenario {
            name: written.name.into(),
            fault: like.fault,
            expected: written.expected.unwrap_or(like.expected),
            lasts: written.longest_s.map_or(like.lasts, Duration::from_secs),
            rto: written.rto_ms.map(Duration::from_millis),
            about: written.about.map_or(like.about, Cow::Owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_writes_one_like_another() {
        let written = "name: quarterly\nlike: region-loss\nlongest_s: 90\nrto_ms: 5000\n";
        let scenario = Scenario::read(written).unwrap();
        assert_eq!(
            (&*scenario.name, scenario.fault, scenario.expected),
            ("quarterly", Fault::RegionLoss, Expected::Moves)
        );
        assert_eq!((scenario.lasts, scenario.rto), (Duration::from_secs(90), Some(Duration::from_secs(5))));
        assert!(Scenario::read("name: x\nlike: flood\n").unwrap_err().contains("there are region-loss"));
        assert!(Scenario::read("name: x\nlike: partition\nfault: y\n").unwrap_err().contains("fault"));
        assert!(Scenario::find("nowhere.yml").unwrap_err().starts_with("nowhere.yml: "));
    }
}
