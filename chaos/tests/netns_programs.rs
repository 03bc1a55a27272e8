//! Programs inside a region are as those outside, but for where their packets go.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{DEADLINE, at, eventually, join};

#[test]
fn netns_program_has_the_process_id_it_was_started_with() {
    let net = join("pid", &["a", "b"]);
    let shell =
        net.command("a", "sh").unwrap().args(["-c", "echo $$"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = shell.id();
    let output = shell.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{pid}\n"));

    let mut sleep = net.command("a", "sleep").unwrap().arg("1000").spawn().unwrap();
    let name = format!("/proc/{}/comm", sleep.id());
    eventually("ip has become sleep", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
    kill(Pid::from_raw(sleep.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(sleep.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn netns_regions_have_loopbacks_of_their_own() {
    let net = join("loopback", &["a", "b"]);
    let local = SocketAddr::from(([127, 0, 0, 1], support::PORT));
    let bind = |region| net.enter(region, || TcpListener::bind(local)).unwrap().unwrap();
    // The same port in both, and what connects in `a` comes out in `a`.
    let (a, b) = (bind("a"), bind("b"));
    let _near = net.enter("a", || TcpStream::connect_timeout(&local, DEADLINE)).unwrap().unwrap();
    a.accept().unwrap();
    b.set_nonblocking(true).unwrap();
    assert!(b.accept().is_err());
}

#[test]
fn netns_threads_begun_inside_stay_inside() {
    let net = join("threads", &["a", "b"]);
    let there = at(&net, "b");
    let serve = move || thread::spawn(move || TcpListener::bind(there).unwrap().accept().unwrap().1);
    let server = net.enter("b", serve).unwrap();
    let connect = || TcpStream::connect_timeout(&there, DEADLINE).is_ok();
    // It may not listen yet.
    eventually("b answers", || net.enter("a", connect).unwrap());
    assert_eq!(server.join().unwrap().ip(), net.address("a").unwrap());
}
