//! Groups of tests, each called after what it needs. A test belongs to the group its name, or
//! its module's, begins with; all others are `unit`.

use std::process::ExitCode;

use anyhow::bail;

use crate::install::install;
use crate::{cargo, live, run, sim};

struct Group {
    name: &'static str,
    /// Tests with this in their path.
    filter: &'static str,
    /// Debian's packages.
    packages: &'static [&'static str],
}

const NETNS: &[&str] =
    &["iproute2", "iputils-ping", "postgresql", "strace", "faketime", "e2fsprogs", "bind9"];

const GROUPS: [Group; 4] = [
    Group {
        name: "dns",
        filter: "dns_",
        packages: &[
            "bind9",
            "bind9-dnsutils",
            "knot",
            "knot-dnsutils",
            "nsd",
            "unbound",
            "pdns-server",
            "pdns-backend-sqlite3",
            "pdns-tools",
            "sqlite3",
        ],
    },
    Group {
        name: "postgres",
        filter: "postgres_",
        packages: &["postgresql", "procps", "chromium", "bind9", "bind9-dnsutils"],
    },
    Group { name: "cluster", filter: "cluster_", packages: &["bind9-dnsutils", "curl", "strace"] },
    Group { name: "netns", filter: "netns_", packages: NETNS },
];
/// What is no test of cargo's.
const OTHERS: [&str; 3] = ["unit", "live", "sim"];

pub fn test(names: &[String]) -> anyhow::Result<ExitCode> {
    let known: Vec<&str> = GROUPS.iter().map(|group| group.name).chain(OTHERS).collect();
    for name in names {
        if !known.contains(&name.as_str()) {
            bail!("there is no group {name:?}; there are {}", known.join(", "));
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|other| other == name);
    let groups: Vec<&Group> = GROUPS.iter().filter(|group| wanted(group.name)).collect();
    let mut packages: Vec<&str> = groups.iter().flat_map(|group| group.packages.iter().copied()).collect();
    if wanted("live") {
        packages.extend(NETNS);
    }
    install(&packages)?;
    // Tests of whole processes need the programs.
    run(cargo(&["build", "--workspace", "--bins"]))?;
    if wanted("unit") {
        let mut command = cargo(&["test", "--workspace", "--"]);
        for group in &GROUPS {
            command.args(["--skip", group.filter]);
        }
        eprintln!("group unit");
        run(command)?;
    }
    for group in groups {
        eprintln!("group {}", group.name);
        // Whole servers and clusters: one at a time, or they starve each other on a small machine.
        run(cargo(&["test", "--workspace", "--tests", "--", "--test-threads=1", group.filter]))?;
    }
    if wanted("live") {
        eprintln!("group live");
        live::test()?;
    }
    if wanted("sim") {
        eprintln!("group sim");
        sim::test()?;
    }
    Ok(ExitCode::SUCCESS)
}
