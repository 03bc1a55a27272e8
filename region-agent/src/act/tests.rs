use decision::config::{Check, Probe};
use decision::plan::Epoch;

use super::*;

fn assignment(plan: u64, step: u16, attempt: u32) -> Assignment {
    Assignment {
        plan: PlanId(plan),
        step: StepId(step),
        attempt,
        service: "web".into(),
        epoch: Epoch(1),
        timeout: Duration::from_secs(5),
        action: Action::VerifyService { checks: Vec::new() },
        checks: Vec::new(),
    }
}

fn report(task: &Task) -> StepReport {
    StepReport {
        plan: task.assignment.plan,
        step: task.assignment.step,
        attempt: task.assignment.attempt,
        epoch: task.assignment.epoch,
        result: StepResult::Done { note: String::new() },
    }
}

#[test]
fn an_attempt_is_begun_once_and_told_again_while_it_is_asked_for() {
    let (mut work, outbox) = (Work::default(), Outbox::default());
    let goal = [assignment(1, 1, 1)];
    work.adopt(&goal, 10, &outbox);
    let task = work.begin().expect("is waiting");
    assert_eq!(task.generation, 10);
    work.adopt(&goal, 11, &outbox);
    assert!(work.begin().is_none(), "it is running");
    work.end(&report(&task));
    work.adopt(&goal, 12, &outbox);
    assert!(work.begin().is_none(), "it is done");
    assert!(outbox.has_some(), "and told again");
    work.adopt(&[], 13, &outbox);
    assert!(work.done.is_empty(), "nobody asks any more");
}

#[test]
fn what_was_not_begun_is_dropped_with_its_assignment() {
    let (mut work, outbox) = (Work::default(), Outbox::default());
    let many: Vec<Assignment> = (0..MOST_AT_ONCE as u64 + 2).map(|plan| assignment(plan, 1, 1)).collect();
    work.adopt(&many, 10, &outbox);
    let begun = std::iter::from_fn(|| work.begin()).count();
    assert_eq!(begun, MOST_AT_ONCE);
    work.adopt(&many[1..=MOST_AT_ONCE], 11, &outbox);
    assert_eq!(work.waiting.len(), 1, "the last one is no longer named");
    assert_eq!(work.running.len(), MOST_AT_ONCE, "what was begun goes on");
}

#[test]
fn the_next_attempt_waits_for_the_one_before() {
    let (mut work, outbox) = (Work::default(), Outbox::default());
    work.adopt(&[assignment(1, 1, 1)], 10, &outbox);
    let first = work.begin().expect("is waiting");
    work.adopt(&[assignment(1, 1, 2), assignment(1, 2, 1)], 11, &outbox);
    let other = work.begin().expect("another step");
    assert_eq!(other.attempt(), (PlanId(1), StepId(2), 1));
    assert!(work.begin().is_none());
    work.end(&report(&first));
    assert_eq!(work.begin().map(|task| task.attempt()), Some((PlanId(1), StepId(1), 2)));
}

fn actor() -> Actor {
    let host = Host::system();
    Actor {
        host: host.clone(),
        cluster: "c".into(),
        region: "us".into(),
        prober: Arc::new(Prober::new(host, wire::target::Roots::Native)),
        outbox: Arc::default(),
        metrics: Arc::default(),
        outage: Arc::default(),
    }
}

fn tcp_check(address: &str) -> Check {
    Check {
        id: "eu/web/tcp/1".into(),
        region: "eu".into(),
        service: Some("web".into()),
        probe: Probe::Tcp { address: address.into() },
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(200),
        healthy_threshold: 1,
        unhealthy_threshold: 1,
    }
}

#[tokio::test]
async fn a_service_is_verified_once_all_its_checks_have_passed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut task = Task { assignment: assignment(1, 1, 1), generation: 1 };
    task.assignment.checks = vec![tcp_check(&address.to_string())];
    task.assignment.timeout = Duration::from_secs(20);
    let acting = tokio::spawn(carry_out(actor(), task, None));
    // Refused at first; it comes up while the step is under way.
    tokio::time::sleep(Duration::from_millis(120)).await;
    let _listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let report = acting.await.unwrap();
    assert_eq!(report.result, StepResult::Done { note: "1 checks passed".into() });
}

#[tokio::test]
async fn a_service_that_stays_down_is_a_failed_step_that_says_which_check() {
    let mut task = Task { assignment: assignment(1, 1, 1), generation: 1 };
    // Port 1 is closed.
    task.assignment.checks = vec![tcp_check("127.0.0.1:1")];
    task.assignment.timeout = Duration::from_millis(300);
    let report = carry_out(actor(), task, None).await;
    let why = "1 of 1 checks fail: eu/web/tcp/1: connection refused".to_owned();
    assert_eq!(report.result, StepResult::Failed { why });
}

#[tokio::test]
async fn steps_on_disk_are_not_begun() {
    let goals = crate::goals::Goals::new(Some(decision::goal::Goal {
        generation: 5,
        assignments: vec![assignment(1, 1, 1)],
        ..Default::default()
    }));
    let (actor, stop) = (actor(), CancellationToken::new());
    let outbox = Arc::clone(&actor.outbox);
    let acting = tokio::spawn(run(actor, goals.watch(), stop.clone()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!outbox.has_some());
    stop.cancel();
    acting.await.unwrap();
}
