//! Whatever ends a network, nothing of it is left.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::io::{BufRead, BufReader};
use std::panic::catch_unwind;
use std::process::{Child, Command, Stdio};

use chaos::net::{Net, sweep};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{eventually, join, udp};

fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn exists(namespace: &str) -> bool {
    ip(&["netns", "list"]).split_whitespace().any(|word| word == namespace)
}

fn namespaces(net: &Net) -> Vec<String> {
    net.regions().iter().map(|region| net.namespace(region).unwrap().to_owned()).collect()
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

#[test]
fn netns_cleanup_leaves_nothing_when_dropped() {
    let before = ip(&["-br", "link"]);
    let net = join("drop", &["us-east-1", "eu-west-1", "client"]);
    let spaces = namespaces(&net);
    assert!(spaces.iter().all(|space| exists(space)));
    let mut inside = net.command("eu-west-1", "sleep").unwrap().arg("1000").spawn().unwrap();
    let _socket = udp(&net, "client");
    let switch = net.switch_pid();
    drop(net);
    assert!(!spaces.iter().any(|space| exists(space)));
    assert!(!inside.wait().unwrap().success(), "it is killed, not left");
    assert!(!std::fs::exists(format!("/proc/{switch}")).unwrap());
    assert_eq!(ip(&["-br", "link"]), before);
}

#[test]
fn netns_cleanup_leaves_nothing_after_a_panic() {
    let spaces = std::sync::Mutex::new(Vec::new());
    let panicked = catch_unwind(|| {
        let net = join("panic", &["a", "b"]);
        spaces.lock().unwrap().extend(namespaces(&net));
        net.enter("a", || panic!("as a test does that fails")).unwrap();
    });
    assert!(panicked.is_err());
    let spaces = spaces.into_inner().unwrap();
    assert_eq!(spaces.len(), 2);
    assert!(!spaces.iter().any(|space| exists(space)));
}

#[test]
fn netns_cleanup_leaves_nothing_when_the_switch_was_killed() {
    let net = join("noswitch", &["a", "b"]);
    let spaces = namespaces(&net);
    signal(net.switch_pid(), Signal::SIGKILL);
    eventually("orders fail", || net.heal().is_err() || net.cut("a", "b").is_err());
    drop(net);
    assert!(!spaces.iter().any(|space| exists(space)));
}

/// `chaos net` in a process of its own, its namespaces, and the process of the program it runs inside.
struct Owner {
    child: Child,
    spaces: Vec<String>,
    inside: u32,
}

fn owner() -> Owner {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["net", "--regions", "a,b", "--", "sh", "-c", "echo $$ >&2; exec sleep 1000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // "a: 10.82.71.1, ip netns exec NAME …" twice, then the process id; perhaps a warning before.
    let mut spaces = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("ip netns exec") {
            spaces.push(line.split(' ').nth_back(1).unwrap().to_owned());
        } else if let Ok(inside) = line.parse() {
            return Owner { child, spaces, inside };
        }
    }
    panic!("`chaos net` ended: {:?}", child.wait());
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// The switch is the child of its owner that is not the program.
fn switch_of(owner: &Owner) -> u32 {
    let pid = owner.child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let mut children = children.split_whitespace().map(|child| child.parse().unwrap());
    children.find(|child| *child != owner.inside).unwrap()
}

#[test]
fn netns_cleanup_by_the_switch_when_the_owner_is_killed() {
    let mut owner = owner();
    assert!(owner.spaces.iter().all(|space| exists(space)), "{:?}", owner.spaces);
    signal(owner.child.id(), Signal::SIGKILL);
    owner.child.wait().unwrap();
    eventually("namespaces are gone", || !owner.spaces.iter().any(|space| exists(space)));
    eventually("the program is gone", || !is_running(owner.inside));
}

#[test]
fn netns_sweep_removes_what_a_killed_owner_and_switch_left() {
    let mut owner = owner();
    let living = join("living", &["a", "b"]);
    let switch = switch_of(&owner);
    signal(switch, Signal::SIGKILL);
    signal(owner.child.id(), Signal::SIGKILL);
    owner.child.wait().unwrap();
    eventually("the switch is gone", || !is_running(switch));
    assert!(owner.spaces.iter().all(|space| exists(space)), "nobody was left to remove them");
    assert!(is_running(owner.inside));
    let removed = sweep().unwrap();
    assert!(owner.spaces.iter().all(|space| removed.contains(space)), "{removed:?}");
    assert!(!owner.spaces.iter().any(|space| exists(space)));
    eventually("the program is gone", || !is_running(owner.inside));
    assert!(namespaces(&living).iter().all(|space| exists(space)), "its owner is alive");
    living.heal().unwrap();
}
