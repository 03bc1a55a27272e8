//! A runtime whose sockets are all in one region.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::net::Net;

pub(super) struct Place(Option<Runtime>);

impl Place {
    /// Its workers are begun inside, and stay there.
    pub fn inside(net: &Net, region: &str) -> anyhow::Result<Place> {
        let runtime = net.enter(region, build)?.with_context(|| format!("a runtime in {region}"))?;
        Ok(Place(Some(runtime)))
    }

    /// For what needs no network: Unix sockets are of the machine.
    pub fn outside() -> anyhow::Result<Place> {
        Ok(Place(Some(build()?)))
    }

    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken at the end only").handle()
    }

    /// Runs on a worker, not on the calling thread, which is elsewhere.
    pub fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let task = self.handle().spawn(future);
        futures::executor::block_on(task).context("a task of the harness failed")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn build() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
