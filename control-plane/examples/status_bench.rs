//! Serves the public status of a fixed state, to be measured beside nginx serving the same bytes:
//! `cargo run --release -p control-plane --example status_bench -- 127.0.0.1:8080 [AGE_MS]`, then
//! `wrk -t2 -c64 -d10s --latency http://127.0.0.1:8080/api/v2/summary.json`.

#[path = "../tests/http/fixture.rs"]
mod fixture;

use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;
use wire::host::Host;
use wire::serve::{ServeLimits, serve_plain};

/// As a controller's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// As many threads as a controller has for its status page.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let backend = fixture::Fixed::new(fixture::state());
    if let Some(age_ms) = arguments.next() {
        backend.age_ms.store(age_ms.parse()?, Ordering::Relaxed);
    }
    let listener = Host::system().network.bind(&address).await?;
    println!("http://{}/", listener.local_addr()?);
    let router = control_plane::http::public(backend);
    serve_plain(listener, router, ServeLimits::public(), CancellationToken::new()).await;
    Ok(())
}
