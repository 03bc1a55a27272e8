//! Those who use the service while a drill goes on: what they see is what it is worth.

use std::sync::Arc;

use decision::config::Config;
use decision::drill::report::{Measured, Moment, Phase};
use decision::name::RegionName;
use decision::time::Time;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::host::Clock;

use super::run::Settings;
use super::visitor::Visitor;
use super::writer::Writer;

/// Each of them, if the user named what it needs.
pub(super) struct Clients {
    writer: Option<Arc<Writer>>,
    visitor: Option<Arc<Visitor>>,
}

impl Clients {
    /// Each has had a success. `servers`: where names are looked up, if the user named no resolver; `seed`: rows of other
    /// drills are not ours.
    pub(super) async fn new(
        settings: &Settings,
        servers: &[String],
        seed: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Clients, String> {
        let mut clients = Clients { writer: None, visitor: None };
        if let Some(dsn) = &settings.dsn {
            let writer = Writer::new(dsn, seed.to_owned(), Arc::clone(clock))?;
            writer.prepare().await.map_err(|why| format!("the client cannot write: {why}"))?;
            clients.writer = Some(writer);
        }
        if let Some(url) = &settings.url {
            let resolvers = if settings.resolvers.is_empty() { servers } else { &settings.resolvers };
            let visitor = Visitor::new(url, resolvers, Arc::clone(clock)).await?;
            visitor.try_once().await.map_err(|why| format!("the client is not served: {why}"))?;
            clients.visitor = Some(visitor);
        }
        Ok(clients)
    }

    /// Until `stop`.
    pub(super) fn begin(&self, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let writing = self.writer.as_ref().map(|writer| tokio::spawn(writer.clone().write(stop.clone())));
        let visiting = self.visitor.as_ref().map(|visitor| tokio::spawn(visitor.clone().visit(stop.clone())));
        writing.into_iter().chain(visiting).collect()
    }

    /// For those whom the fault would leave connected to a region that it takes from all others.
    pub(super) async fn cut_off(&self, config: &Config, region: &RegionName) {
        if let Some(visitor) = &self.visitor {
            visitor.cut_off(config, region).await;
        }
    }

    pub(super) fn heal(&self) {
        self.visitor.iter().for_each(|visitor| visitor.heal());
    }

    /// When whoever waits longest had its last success; `None` from whoever had none yet. Empty: there is nobody.
    pub(super) fn last_successes(&self) -> impl Iterator<Item = Option<Time>> {
        let writer = self.writer.as_ref().map(|writer| writer.last_success());
        writer.into_iter().chain(self.visitor.as_ref().map(|visitor| visitor.last_success()))
    }

    /// Once all have stopped.
    pub(super) async fn measure(&self, fault_at: Time) -> Result<Measured, String> {
        let mut measured = match &self.writer {
            Some(writer) => writer.measure(fault_at).await?,
            None => Measured::default(),
        };
        measured.requests = self.visitor.as_ref().map(|visitor| visitor.measure(fault_at));
        let of_requests = measured.requests.as_ref().and_then(|requests| requests.longest_gap_ms);
        measured.longest_gap_ms = measured.longest_gap_ms.max(of_requests);
        Ok(measured)
    }

    pub(super) fn moments(&self, fault_at: Time) -> Vec<Moment> {
        let row = self.writer.as_ref().and_then(|writer| writer.first_success_after_gap(fault_at));
        let page = self.visitor.as_ref().and_then(|visitor| visitor.first_success_after_gap(fault_at));
        let firsts = [(row, "row was acknowledged"), (page, "request was answered")];
        let moment = |(at, what): (Option<Time>, &str)| {
            let text = format!("a client's {what} after the longest time without");
            Some(Moment { at: at?, phase: Phase::FirstClientSuccess, text })
        };
        firsts.into_iter().filter_map(moment).collect()
    }

    pub(super) fn two_writers(&self) -> Option<String> {
        self.writer.as_ref().and_then(|writer| writer.two_writers())
    }
}
