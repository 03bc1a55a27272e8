//! Each kind against real little servers on loopback, well-behaved and not.

mod commands;
mod dns;
mod grpc;
mod http;
mod https;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};

use super::*;

const SOON: Duration = Duration::from_secs(20);
/// Long enough for what should come at once, on a busy machine; what hangs is waited for this long.
const SHORT: Duration = Duration::from_millis(400);

fn prober() -> Prober {
    Prober::new(Host::system(), Roots::Native)
}

fn check(probe: Probe) -> Check {
    Check {
        id: "eu/web/1".into(),
        region: "eu".into(),
        service: None,
        probe,
        interval: Duration::from_secs(1),
        timeout: SOON,
        healthy_threshold: 1,
        unhealthy_threshold: 1,
    }
}

/// A server that hands every connection to `each`, with its number; ends when dropped.
struct Little {
    address: String,
    accepted: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Little {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        mut each: impl FnMut(usize, TcpStream) -> F + Send + 'static,
    ) -> Little {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(each(counted.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Little { address, accepted, task }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Little {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn closed_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn tcp_is_healthy_when_it_opens() {
    let little = Little::start(|_, stream| async { drop(stream) }).await;
    let open = check(Probe::Tcp { address: little.address.clone() });
    assert_eq!(prober().probe(&open, SOON).await, Ok(()));
    let closed = check(Probe::Tcp { address: closed_address().await });
    assert_eq!(prober().probe(&closed, SOON).await, Err("connection refused".into()));
}

#[test]
fn reasons_are_one_short_line() {
    assert_eq!(cut("a\r\n\x1b[31mb"), "a   [31mb");
    assert_eq!(cut(&"é".repeat(500)).chars().count(), REASON_MAX_CHARS);
}
