//! The guard against broken clients, and other guards.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::Signal;
use region_agent::guard::client::{Guard, GuardError};
use region_agent::guard::now_ns;
use region_agent::guard::protocol::{By, Code, ExitStatus, Lease, Role, WatchdogState};

use crate::support::{
    BUDGET_NS, GUARD, MS, Place, SOON, eventually, exited, gone, lease, lives, ms, signal, working_in,
};

const FOREVER: &str = "while :; do sleep 1000; done";
/// Children that leave the group and the session, and theirs.
const SCATTERED: &str =
    "setsid sh -c 'sleep 1000 & setsid sleep 1000' & (setsid sleep 1000 &) ; while :; do sleep 0.01; done";

async fn connect(place: &Place) -> UnixStream {
    UnixStream::connect(place.settings().guard.socket).unwrap()
}

/// Raw lines, whatever the library would not send.
#[tokio::test]
async fn garbage_is_refused_and_the_connection_kept() {
    let place = Place::new();
    drop(place.guard().await);
    let mut raw = connect(&place).await;
    let mut answers = BufReader::new(raw.try_clone().unwrap()).lines();
    for (garbage, code) in [
        ("", "not_understood"),
        ("\u{0}\u{1}garbage", "not_understood"),
        (r#"{"v":9,"id":1,"do":"status"}"#, "other_version"),
        (r#"{"v":1,"id":1,"do":"disarm"}"#, "not_understood"),
        (r#"{"v":1,"id":1,"do":"lease","epoch":1,"deadline_ns":1}"#, "not_running"),
    ] {
        raw.write_all(format!("{garbage}\n").as_bytes()).unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{garbage}: {answer}");
    }
    raw.write_all(b"{\"v\":1,\"id\":5,\"do\":\"quit\"}\n").unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), r#"{"v":1,"answer":{"id":5,"answer":"quitting"}}"#);
}

#[tokio::test]
async fn broken_clients_do_not_keep_it_from_fencing_on_time() {
    let place = Place::new();
    let (guard, _events, _) = place.guard().await;
    guard.start(place.start_shell(FOREVER, Role::Primary(lease(1, 600_000)))).await.unwrap();

    // A line without end.
    let mut endless = connect(&place).await;
    let chunk = vec![b'x'; 16 * 1024];
    eventually("it is let go", || endless.write_all(&chunk).is_err());
    let mut rest = Vec::new();
    let _ = endless.read_to_end(&mut rest);

    // Requests without end, and answers that are never read.
    let (guard, _events, _) = place.guard().await;
    let deadline = lease(1, 601_000);
    guard.lease(deadline).await.unwrap();
    let mut deaf = connect(&place).await;
    let request = b"{\"v\":1,\"id\":1,\"do\":\"status\"}\n".repeat(1_000);
    eventually("it is let go", || deaf.write_all(&request).is_err());

    // Ones that flood it right over the deadline.
    let (guard, _events, status) = place.guard().await;
    let deadline = lease(2, 300);
    guard.lease(deadline).await.unwrap();
    let socket = place.settings().guard.socket;
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let floods: Vec<_> = (0..2)
        .map(|_| {
            let (socket, is_over, request) = (socket.clone(), is_over.clone(), request.clone());
            std::thread::spawn(move || {
                while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                    let Ok(mut flood) = UnixStream::connect(&socket) else { continue };
                    let _ = flood.write_all(&request);
                    let _ = flood.write_all(&[0xff; 100]);
                }
            })
        })
        .collect();
    let pid = status.running.unwrap().pid;
    eventually("it is fenced", || !lives(pid));
    let dead = now_ns();
    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    println!("flooded: dead {:.1} ms after the deadline", ms(deadline.deadline_ns, dead));
    assert!((deadline.deadline_ns..deadline.deadline_ns + BUDGET_NS).contains(&dead));
    let (guard, _events, status) = place.guard().await;
    assert_eq!(status.last.unwrap().by, By::Fenced);
    guard.quit().await.unwrap();
}

#[tokio::test]
async fn descendants_in_sessions_of_their_own_are_killed_too() {
    let place = Place::new();
    let (guard, mut events, status) = place.guard().await;
    guard.start(place.start_shell(SCATTERED, Role::Primary(lease(1, 600_000)))).await.unwrap();
    // The shell, a `setsid` that became a shell, three sleeps that stay, and one that comes and goes.
    let cwd = place.dir.join("pg");
    eventually("all were forked", || working_in(&cwd).len() >= 5);
    let fenced = guard.kill(SOON).await.unwrap().unwrap();
    assert!(fenced.killed >= 5, "{fenced:?}");
    gone(&mut events).await;
    let own = status.pid.to_string();
    let output = Command::new("ps").args(["--ppid", &own, "-o", "pid="]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    guard.quit().await.unwrap();
}

#[tokio::test]
async fn the_end_of_what_it_holds_is_told_at_once() {
    let place = Place::new();
    let (guard, mut events, _) = place.guard().await;
    let mut took = Vec::new();
    for _ in 0..20 {
        let pid = guard.start(place.start_shell(FOREVER, Role::Replica)).await.unwrap();
        eventually("it became the shell", || working_in(&place.dir.join("pg")).len() == 2);
        let killed = now_ns();
        signal(pid, Signal::SIGKILL);
        let ended = exited(&mut events).await;
        took.push((now_ns() - killed) / 1_000);
        assert_eq!((ended.pid, ended.by), (pid, By::Itself));
        assert_eq!(gone(&mut events).await.status, ExitStatus::Signal(9));
    }
    took.sort_unstable();
    println!(
        "a small process killed: told after {} µs, at worst {} µs",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    // The rest is the wait for a processor, where others want it too.
    assert!(took[0] < 5_000 && took[took.len() / 2] < 50_000, "{took:?}");
    guard.quit().await.unwrap();
}

#[tokio::test]
async fn the_newest_client_takes_over() {
    let place = Place::new();
    let (older, mut events, _) = place.guard().await;
    let (newer, _events, _) = place.guard().await;
    assert!(events.recv().await.is_none());
    assert!(matches!(older.status().await, Err(GuardError::Lost)));
    newer.status().await.unwrap();
    newer.quit().await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_given_up_does_no_harm() {
    let place = Place::new();
    let (guard, _events, _) = place.guard().await;
    for _ in 0..100 {
        let asked = tokio::time::timeout(std::time::Duration::ZERO, guard.status());
        let _ = asked.await;
    }
    guard.status().await.unwrap();
    guard.quit().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_is_told() {
    let place = Place::new();
    let (guard, mut events, _) = place.guard().await;
    let mut start = place.start_program(&["/nonexistent/postgres"], Role::Replica);
    guard.start(start.clone()).await.unwrap();
    assert_eq!(exited(&mut events).await.status, ExitStatus::Code(1));
    gone(&mut events).await;
    let log = std::fs::read_to_string(place.dir.join("pg/log")).unwrap();
    assert!(log.contains("cannot run /nonexistent/postgres"), "{log}");
    start.os_user = Some("nobody-of-that-name".to_owned());
    guard.start(start.clone()).await.unwrap();
    gone(&mut events).await;
    assert!(place.log().contains("there is no user"), "{}", place.log());
    start.argv.clear();
    let error = guard.start(start).await.unwrap_err();
    assert!(matches!(&error, GuardError::Refused(refusal) if refusal.code == Code::Failed), "{error}");
    guard.quit().await.unwrap();
}

#[tokio::test]
async fn a_primary_needs_a_deadline_ahead() {
    let place = Place::new();
    let (guard, _events, status) = place.guard().await;
    let past = Lease { epoch: 1, deadline_ns: now_ns() - MS };
    let error = guard.start(place.start_shell(FOREVER, Role::Primary(past))).await.unwrap_err();
    assert!(matches!(&error, GuardError::Refused(refusal) if refusal.code == Code::Past), "{error}");
    assert!(status.running.is_none() && guard.status().await.unwrap().running.is_none());
    guard.quit().await.unwrap();
}

#[tokio::test]
async fn a_second_guard_is_refused_and_a_stale_socket_replaced() {
    let place = Place::new();
    let (guard, _events, status) = place.guard().await;
    let socket = place.settings().guard.socket;
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let run = || {
        let mut command = Command::new(GUARD);
        command.arg("run").arg("--socket").arg(&socket).arg("--log").arg(place.dir.join("guard.log"));
        command
    };
    let second = run().output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("runs already"));
    guard.status().await.unwrap();

    signal(status.pid, Signal::SIGKILL);
    let (guard, _events, status) = place.guard().await;
    assert!(status.backstop);
    guard.quit().await.unwrap();

    eventually("it ended", || !socket.exists());
    std::fs::set_permissions(socket.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut settings = place.settings();
    settings.timeout = std::time::Duration::from_millis(300);
    let error = Guard::connect_or_spawn(&settings).await.unwrap_err();
    assert!(error.to_string().contains("only its owner"), "{error}");
}

#[tokio::test]
async fn the_watchdog_is_open_while_armed() {
    let place = Place::new();
    let device = place.dir.join("watchdog");
    std::fs::write(&device, "").unwrap();
    let mut settings = place.settings();
    settings.guard.watchdog = Some(device.clone());
    let (guard, mut events, status) = Guard::connect_or_spawn(&settings).await.unwrap();
    assert_eq!(status.watchdog, WatchdogState::Closed);
    guard.start(place.start_shell(FOREVER, Role::Primary(lease(1, 600_000)))).await.unwrap();
    assert_eq!(guard.status().await.unwrap().watchdog, WatchdogState::Open);
    eventually("it is petted", || std::fs::read(&device).unwrap() == b"\0");
    guard.kill(SOON).await.unwrap();
    gone(&mut events).await;
    eventually("it is let go", || std::fs::read(&device).unwrap().ends_with(b"V"));
    guard.quit().await.unwrap();
}
