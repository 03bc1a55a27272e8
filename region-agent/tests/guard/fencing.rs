//! No commit is acknowledged after the deadline and its budget, whatever was killed or frozen.

use std::process::Stdio;

use nix::sys::signal::Signal;
use region_agent::guard::client::GuardError;
use region_agent::guard::now_ns;
use region_agent::guard::protocol::{By, Code, ExitStatus, Role, Why};

use crate::agent::{AHEAD_MS, Agent};
use crate::support::{
    BUDGET_NS, MS, Place, Writers, eventually, exited, gone, lease, lives, ms, next, parent_of, signal,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_deadline_passes_is_dead_with_every_process() {
    let place = Place::with_postgres();
    let (guard, mut events, _) = place.guard().await;
    guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    let writers = Writers::start(&place, 16);
    let processes = place.postgres_processes().len();
    assert!(processes > 16, "{processes}");

    let deadline = lease(2, 500);
    guard.lease(deadline).await.unwrap();
    let ended = gone(&mut events).await;
    let told = now_ns();
    assert_eq!(place.postgres_processes(), [0; 0]);
    let (last, commits) = writers.finish();
    let fenced = ended.fenced.unwrap();
    println!(
        "fence of {processes} processes after {commits} commits: signalled after {} µs, gone after {} µs, told after {:.1} ms, last acknowledgement {:+.1} ms",
        fenced.signalled_us,
        fenced.gone_us,
        ms(deadline.deadline_ns, told),
        ms(deadline.deadline_ns, last),
    );
    assert_eq!((ended.by, fenced.why, ended.status), (By::Fenced, Why::Deadline, ExitStatus::Signal(9)));
    assert!(told >= deadline.deadline_ns, "not before the deadline");
    assert!(last + 100 * MS >= deadline.deadline_ns, "it wrote until then");
    assert!(last <= deadline.deadline_ns + BUDGET_NS);
    assert!(fenced.gone_us * 1_000 <= BUDGET_NS);

    // The same guard starts it again, under a lease that is not older.
    let error = guard.start(place.start(Role::Primary(lease(1, 60_000)))).await.unwrap_err();
    assert!(matches!(&error, GuardError::Refused(refusal) if refusal.code == Code::StaleEpoch), "{error}");
    guard.start(place.start(Role::Primary(lease(2, 60_000)))).await.unwrap();
    place.wait_until_served();
    guard.kill(crate::support::SOON).await.unwrap().unwrap();
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_fenced_for() {
    without_agent(Signal::SIGKILL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_agent_is_fenced_for() {
    without_agent(Signal::SIGSTOP).await;
}

async fn without_agent(how: Signal) {
    let place = Place::with_postgres();
    let mut agent = Agent::start(&place);
    let writers = Writers::start(&place, 4);
    let stopped = now_ns();
    signal(agent.pid(), how);
    // The last renewal was on its way at the latest now.
    let latest = now_ns() + AHEAD_MS * MS;
    eventually("every process is gone", || place.postgres_processes().is_empty());
    let dead = now_ns();
    let (last, _) = writers.finish();
    println!(
        "agent got {how}: all dead {:.1} ms after that, last acknowledgement {:.1} ms after; at most {AHEAD_MS} ms were leased",
        ms(stopped, dead),
        ms(stopped, last)
    );
    assert!(last <= latest + BUDGET_NS && dead <= latest + BUDGET_NS);
    // On a machine that is so busy that the guard itself came late, the backstop has fenced.
    let was_late = || place.log().contains("did not run past its deadline");
    if was_late() {
        return;
    }
    if how == Signal::SIGSTOP {
        // It wakes, believes that it holds the lease, and is told otherwise.
        signal(agent.pid(), Signal::SIGCONT);
        let said =
            agent.said.find_map(|line| line.unwrap().strip_prefix("refused ").map(str::to_owned)).unwrap();
        assert!(said.contains("is being fenced") || said.contains("no postmaster runs"), "{said}");
    }
    let (guard, _events, mut status) = place.guard().await;
    // Processes leave their folder a moment before they are gone.
    while status.running.is_some() {
        match guard.status().await {
            Ok(now) => status = now,
            Err(error) => {
                assert!(was_late(), "{error}");
                return;
            }
        }
    }
    assert_eq!(status.last.unwrap().by, By::Fenced);
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postmaster_is_fenced() {
    let place = Place::with_postgres();
    let (guard, mut events, _) = place.guard().await;
    let pid = guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    let writers = Writers::start(&place, 4);
    signal(pid, Signal::SIGSTOP);
    let before = writers.count();
    eventually("backends go on without it", || writers.count() > before + 10);
    let deadline = lease(2, 100);
    guard.lease(deadline).await.unwrap();
    let fenced = gone(&mut events).await.fenced.unwrap();
    assert_eq!(place.postgres_processes(), [0; 0]);
    let (last, _) = writers.finish();
    println!("frozen postmaster: gone after {} µs", fenced.gone_us);
    assert!(last <= deadline.deadline_ns + BUDGET_NS);
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_answers_when_every_process_is_gone() {
    let place = Place::with_postgres();
    let (guard, mut events, _) = place.guard().await;
    assert_eq!(guard.kill(crate::support::SOON).await.unwrap(), None);
    guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    let writers = Writers::start(&place, 4);
    let asked = now_ns();
    let fenced = guard.kill(crate::support::SOON).await.unwrap().unwrap();
    println!("kill: answered after {:.1} ms, {fenced:?}", ms(asked, now_ns()));
    assert_eq!(place.postgres_processes(), [0; 0]);
    assert_eq!((fenced.why, gone(&mut events).await.by), (Why::Asked, By::Fenced));
    writers.finish();
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guard_leaves_nothing() {
    let place = Place::with_postgres();
    let (guard, _events, status) = place.guard().await;
    let postmaster = guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    let writers = Writers::start(&place, 4);
    // One that never waits for a client, and so does not see by itself that its postmaster died.
    let sql = "do $$ begin loop perform 1; end loop; end $$";
    let mut busy = place.psql().args(["-c", sql]).stdin(Stdio::null()).spawn().unwrap();
    let is_busy =
        || place.sql("select count(*) from pg_stat_activity where query like 'do %'").unwrap() == "1";
    eventually("a backend is busy", is_busy);
    assert!(status.backstop);
    let killed = now_ns();
    signal(status.pid, Signal::SIGKILL);
    eventually("the postmaster is gone", || !lives(postmaster));
    let postmaster_gone = now_ns();
    eventually("every process is gone", || place.postgres_processes().is_empty());
    let gone = now_ns();
    println!(
        "guard killed: postmaster gone after {:.1} ms, all processes after {:.1} ms",
        ms(killed, postmaster_gone),
        ms(killed, gone)
    );
    assert!(gone <= killed + BUDGET_NS);
    writers.finish();
    busy.wait().unwrap();
    // Another one takes its place.
    let (guard, _events, status) = place.guard().await;
    assert!(status.running.is_none() && status.last.is_none());
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_guard_is_fenced_for() {
    let place = Place::with_postgres();
    let (guard, mut events, status) = place.guard().await;
    guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    let writers = Writers::start(&place, 4);
    let deadline = lease(2, 300);
    guard.lease(deadline).await.unwrap();
    signal(status.pid, Signal::SIGSTOP);
    eventually("every process is gone", || place.postgres_processes().is_empty());
    let dead = now_ns();
    let (last, _) = writers.finish();
    println!("guard frozen: all gone {:.1} ms after the deadline", ms(deadline.deadline_ns, dead));
    assert!(last >= deadline.deadline_ns - 100 * MS, "not before the deadline");
    assert!(last <= deadline.deadline_ns + BUDGET_NS && dead <= deadline.deadline_ns + BUDGET_NS);
    assert!(events.recv().await.is_none(), "the connection is lost, with no proof told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_without_its_backstop_fences_all_the_same() {
    let place = Place::with_postgres();
    let (guard, mut events, status) = place.guard().await;
    let pid = guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    signal(parent_of(status.pid), Signal::SIGKILL);
    while guard.status().await.unwrap().backstop {
        tokio::task::yield_now().await;
    }
    assert!(lives(pid) && place.sql("select 1").is_some());
    guard.lease(lease(2, 50)).await.unwrap();
    let fenced = gone(&mut events).await.fenced.unwrap();
    assert!(fenced.gone_us * 1_000 <= BUDGET_NS);
    assert_eq!(place.postgres_processes(), [0; 0]);
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_guard_and_backstop_killed_the_postmaster_dies_all_the_same() {
    let place = Place::with_postgres();
    let (guard, _events, status) = place.guard().await;
    let pid = guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    let writers = Writers::start(&place, 4);
    // This one first, so that it cannot act.
    signal(parent_of(status.pid), Signal::SIGKILL);
    while guard.status().await.unwrap().backstop {
        tokio::task::yield_now().await;
    }
    let killed = now_ns();
    signal(status.pid, Signal::SIGKILL);
    eventually("the postmaster is gone", || !lives(pid));
    let postmaster_gone = now_ns();
    eventually("every process is gone", || place.postgres_processes().is_empty());
    println!(
        "both killed: postmaster gone after {:.1} ms, backends by themselves after {:.1} ms",
        ms(killed, postmaster_gone),
        ms(killed, now_ns())
    );
    assert!(postmaster_gone <= killed + BUDGET_NS);
    writers.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_postmaster_is_told_at_once_and_what_it_left_is_killed() {
    let place = Place::with_postgres();
    let (guard, mut events, _) = place.guard().await;
    let mut worst = 0;
    for _ in 0..5 {
        let pid = guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
        place.make_table();
        let sql = "do $$ begin loop perform 1; end loop; end $$";
        let mut busy = place.psql().args(["-c", sql]).stdin(Stdio::null()).spawn().unwrap();
        let is_busy =
            || place.sql("select count(*) from pg_stat_activity where query like 'do %'").unwrap() == "1";
        eventually("a backend is busy", is_busy);
        let killed = now_ns();
        signal(pid, Signal::SIGKILL);
        let ended = exited(&mut events).await;
        let told = now_ns() - killed;
        let gone = gone(&mut events).await;
        let all = now_ns() - killed;
        println!("postmaster killed: told after {} µs, all gone after {} µs", told / 1_000, all / 1_000);
        worst = worst.max(told);
        assert_eq!((ended.pid, ended.status, ended.by), (pid, ExitStatus::Signal(9), By::Itself));
        assert_eq!((gone.pid, gone.fenced), (pid, None));
        assert_eq!(place.postgres_processes(), [0; 0]);
        busy.wait().unwrap();
    }
    // A few hundred microseconds where the machine is not loaded.
    assert!(worst <= 50 * MS);
    guard.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_does_not_end_by_the_deadline_is_fenced() {
    let place = Place::with_postgres();
    let (guard, mut events, _) = place.guard().await;
    guard.start(place.start(Role::Primary(lease(1, 600_000)))).await.unwrap();
    place.make_table();
    // A smart shutdown waits for clients, and these do not go.
    let writers = Writers::start(&place, 2);
    guard.lease(lease(2, 500)).await.unwrap();
    guard.stop(region_agent::guard::protocol::StopMode::Smart).await.unwrap();
    match next(&mut events).await {
        region_agent::guard::protocol::Event::Exited(ended) => assert_eq!(ended.by, By::Fenced),
        other => panic!("{other:?}"),
    }
    assert_eq!(gone(&mut events).await.fenced.unwrap().why, Why::Deadline);
    writers.finish();
    guard.quit().await.unwrap();
}
