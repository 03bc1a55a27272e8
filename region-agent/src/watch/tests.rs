//! The watcher over an imagined network under virtual time.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use decision::config::Probe;
use decision::evidence::Condition::{self, Healthy, Unhealthy, Unknown};
use decision::goal::Goal;
use wire::host::{BoxIo, BoxListener, Network, SeededRandom};
use wire::target::Roots;

use super::*;

/// Connects, refuses or hangs, as told, and counts.
#[derive(Default)]
struct Imagined {
    refuses: Mutex<HashMap<String, ()>>,
    hangs: Mutex<HashMap<String, ()>>,
    attempts: AtomicU64,
    open: AtomicU64,
    most_open: AtomicU64,
    panics: AtomicBool,
}

#[async_trait]
impl Network for Imagined {
    async fn connect(&self, address: &str) -> io::Result<BoxIo> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.load(Ordering::Relaxed), "as the test wishes");
        if self.hangs.lock().unwrap().contains_key(address) {
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_open.fetch_max(open, Ordering::Relaxed);
            let _leave = Leave(&self.open);
            std::future::pending::<()>().await;
        }
        if self.refuses.lock().unwrap().contains_key(address) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Box::new(tokio::io::empty()))
    }

    async fn bind(&self, _: &str) -> io::Result<BoxListener> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Leave<'a>(&'a AtomicU64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn check(region: &str, n: usize, interval_ms: u64, timeout_ms: u64) -> Check {
    Check {
        id: CheckId::new(format!("{region}/endpoint/{n}")),
        region: region.into(),
        service: None,
        probe: Probe::Tcp { address: format!("{region}-{n}:1") },
        interval: Duration::from_millis(interval_ms),
        timeout: Duration::from_millis(timeout_ms),
        healthy_threshold: 2,
        unhealthy_threshold: 3,
    }
}

struct Bench {
    network: Arc<Imagined>,
    watcher: Watcher,
    held: watch::Sender<Arc<Held>>,
    _task: tokio::task::JoinHandle<()>,
}

fn start(checks: Vec<Check>, heartbeat_ms: u64) -> Bench {
    let network = Arc::new(Imagined::default());
    let host = Host { network: network.clone(), random: Arc::new(SeededRandom::new(3)), ..Host::system() };
    let watcher = Watcher {
        prober: Arc::new(Prober::new(host.clone(), Roots::Native)),
        host,
        book: Arc::default(),
        contact: Arc::default(),
        metrics: Arc::default(),
    };
    let goal =
        Goal { generation: 1, heartbeat: Duration::from_millis(heartbeat_ms), checks, ..Goal::default() };
    let held = watch::Sender::new(Arc::new(Held { goal, is_live: true }));
    let task = tokio::spawn(run(watcher.clone(), held.subscribe(), CancellationToken::new()));
    Bench { network, watcher, held, _task: task }
}

impl Bench {
    /// Lets time pass while a controller is in reach.
    async fn pass(&self, ms: u64) {
        for _ in 0..ms.div_ceil(50) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.watcher.contact.note();
        }
    }

    fn told(&self) -> Vec<(String, Condition)> {
        let findings = self.watcher.book.take(usize::MAX, Instant::now());
        findings.into_iter().map(|finding| (finding.check.0, finding.condition)).collect()
    }

    fn attempts(&self) -> u64 {
        self.network.attempts.swap(0, Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_found_soon_and_its_change_after_the_threshold() {
    let bench = start(vec![check("eu", 1, 10_000, 5_000)], 500);
    bench.pass(2_500).await;
    assert_eq!(bench.told(), [("eu/endpoint/1".into(), Healthy)], "long before two intervals of ten seconds");
    bench.network.refuses.lock().unwrap().insert("eu-1:1".into(), ());
    bench.pass(19_000).await;
    assert_eq!(bench.told(), []);
    bench.pass(31_000).await;
    let findings = bench.watcher.book.take(9, Instant::now());
    assert_eq!((findings[0].condition, &*findings[0].reason), (Unhealthy, "connection refused"));
    assert!(findings[0].age > Duration::from_secs(19), "from the first of the three: {:?}", findings[0].age);
}

#[tokio::test(start_paused = true)]
async fn each_check_is_probed_at_its_interval() {
    let checks = (0..1_000).map(|n| check("eu", n, 10_000, 1_000)).collect();
    let bench = start(checks, 500);
    bench.pass(30_000).await;
    bench.attempts();
    bench.pass(100_000).await;
    let attempts = bench.attempts();
    assert!((9_900..=10_100).contains(&attempts), "{attempts} in ten intervals of 1,000 checks");
    // Spread evenly: no second has much more than its share.
    for _ in 0..20 {
        bench.pass(1_000).await;
        let attempts = bench.attempts();
        assert!((50..=160).contains(&attempts), "{attempts} in one second");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_is_known_as_soon_as_its_timeouts_allow() {
    let bench = start(vec![check("eu", 1, 100, 200)], 70);
    bench.pass(3_000).await;
    assert_eq!(bench.told().len(), 1);
    bench.network.hangs.lock().unwrap().insert("eu-1:1".into(), ());
    // The third begins after at most 3 × 105 ms and ends 200 ms later; a little for steps of the test.
    bench.pass(600).await;
    assert_eq!(bench.told(), [("eu/endpoint/1".into(), Unhealthy)]);
    assert!(bench.network.most_open.load(Ordering::Relaxed) <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_hangs_holds_up_no_other() {
    let mut checks: Vec<Check> = (0..2_000).map(|n| check("us", n, 10_000, 5_000)).collect();
    checks.extend((0..10).map(|n| check("eu", n, 1_000, 500)));
    let bench = start(checks, 500);
    bench.network.hangs.lock().unwrap().extend((0..2_000).map(|n| (format!("us-{n}:1"), ())));
    bench.pass(40_000).await;
    let most = bench.network.most_open.load(Ordering::Relaxed);
    assert!(most <= 1_250, "{most} at once");
    let told = bench.told();
    let of = |region: &str, condition| {
        told.iter().filter(|(check, found)| check.starts_with(region) && *found == condition).count()
    };
    assert_eq!((of("eu", Healthy), of("us", Unhealthy)), (10, 2_000));
}

#[tokio::test(start_paused = true)]
async fn cut_off_from_all_controllers_it_takes_everything_back_and_looks_afresh() {
    let bench = start(vec![check("eu", 1, 100, 200), check("us", 1, 100, 200)], 70);
    bench.pass(3_000).await;
    assert_eq!(bench.told().len(), 2);
    // Its own network is gone: it sees others fail, and reaches nobody.
    bench.network.hangs.lock().unwrap().extend([("eu-1:1".into(), ()), ("us-1:1".into(), ())]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut told = bench.told();
    told.sort();
    assert_eq!(told, [("eu/endpoint/1".into(), Unknown), ("us/endpoint/1".into(), Unknown)]);
    // The network is back.
    bench.network.hangs.lock().unwrap().clear();
    bench.pass(3_000).await;
    let mut told = bench.told();
    told.sort();
    assert_eq!(told, [("eu/endpoint/1".into(), Healthy), ("us/endpoint/1".into(), Healthy)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_goal_keeps_what_is_known_of_checks_that_are_the_same() {
    let bench = start(vec![check("eu", 1, 1_000, 500), check("eu", 2, 1_000, 500)], 500);
    bench.pass(5_000).await;
    assert_eq!(bench.told().len(), 2);
    let checks = vec![check("eu", 2, 1_000, 500), check("eu", 3, 1_000, 500)];
    let goal = Goal { generation: 2, checks, ..bench.held.borrow().goal.clone() };
    bench.held.send_replace(Arc::new(Held { goal, is_live: true }));
    bench.pass(5_000).await;
    assert_eq!(bench.told(), [("eu/endpoint/3".into(), Healthy)]);
    bench.watcher.book.refresh();
    assert_eq!(bench.told().len(), 2, "the dropped one is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_our_own_says_nothing_of_the_target_and_takes_no_place() {
    let bench = start(vec![check("eu", 1, 100, 200)], 70);
    bench.pass(3_000).await;
    assert_eq!(bench.told().len(), 1);
    bench.network.panics.store(true, Ordering::Relaxed);
    bench.pass(10_000).await;
    assert_eq!(bench.told(), []);
    bench.network.panics.store(false, Ordering::Relaxed);
    bench.network.refuses.lock().unwrap().insert("eu-1:1".into(), ());
    bench.pass(1_000).await;
    assert_eq!(bench.told(), [("eu/endpoint/1".into(), Unhealthy)]);
}

#[tokio::test(start_paused = true)]
async fn late_timeouts_are_the_vantages_own_fault() {
    let network = Arc::new(Imagined::default());
    network.hangs.lock().unwrap().insert("eu-1:1".into(), ());
    let host = Host { network, ..Host::system() };
    let prober = Arc::new(Prober::new(host, Roots::Native));
    let check = Arc::new(check("eu", 1, 100, 200));
    let timeout = Duration::from_millis(200);
    let looking = probing::look(prober.clone(), check.clone(), 0, 1, Instant::now(), timeout);
    assert!(matches!(looking.await.verdict, Verdict::Failed(reason) if reason == "no answer within 200ms"));
    // As if the process had been stopped after the probe began.
    let began = Instant::now() - Duration::from_secs(10);
    let looked = probing::look(prober, check, 0, 2, began, timeout).await;
    assert!(matches!(looked.verdict, Verdict::Late(late) if late >= Duration::from_secs(10)));
}
