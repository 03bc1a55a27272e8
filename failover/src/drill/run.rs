//! One drill from its baseline to its report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use decision::config::{Config, DnsProvider};
use decision::drill::report::{Before, Expected, Findings, Measured, Moment, Phase, Report, judge};
use decision::drill::{BEGINS_AFTER, Drill, DrillId, Fault, RENEWED_EVERY, Wish, timeline};
use decision::journal::Entry;
use decision::name::{RegionName, ServiceName};
use decision::time::Time;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::api::{Intent, ServiceStatus, Status};
use wire::host::Host;

use super::clients::Clients;
use super::looks::{self, ANSWER_WITHIN, Journal, config, drill_now, last_report, of, status};
use super::resolvers;
use super::scenario::Scenario;
use super::seen::Seen;
use crate::cli::Client;
use crate::cli::exit::{Exit, Failure};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So long all must be well before a drill counts as survived.
const STEADY: Duration = Duration::from_secs(3);
/// For the region to come back, once it is healed.
const REJOINS_WITHIN: Duration = Duration::from_secs(120);

pub struct Settings {
    pub scenario: Scenario,
    pub service: ServiceName,
    /// None: where it is.
    pub region: Option<RegionName>,
    pub lasts: Option<Duration>,
    /// None: that of its tier.
    pub rto: Option<Duration>,
    /// Of libpq; none: nobody writes.
    pub dsn: Option<String>,
    /// Of a page of the service; none: nobody asks for one.
    pub url: Option<String>,
    pub baseline: Duration,
    /// A client without a success for so long ends the drill.
    pub abort_after: Duration,
    /// Whose views are watched, beside those that serve its names.
    pub resolvers: Vec<String>,
}

/// What came of it, with the journal of the time.
pub struct Ran {
    pub report: Report,
    pub journal: Vec<Entry>,
}

/// Runs it. `asked`: a person wants what goes on now ended: before the fault all of it, then the fault, then the
/// waiting for what comes after.
///
/// # Errors
/// The harness failed, or it was not to begin: the fault was not caused, or is over.
pub async fn run(
    client: &Client,
    host: &Host,
    settings: &Settings,
    mut asked: watch::Receiver<()>,
) -> Result<Ran, Failure> {
    let config = config(client).await?;
    let status = status(client).await?;
    let service = of(&status, &settings.service)?;
    let wish = wish(settings, service);
    let seen = Seen { config: &config, wish: &wish };
    let seed = format!("{:016x}", host.random.next_u64());
    let servers = servers(settings, &config, &status);
    let clients = Clients::new(settings, &servers, &seed, &host.clock).await.map_err(Failure::error)?;
    let watched = CancellationToken::new();
    let _stops = watched.clone().drop_guard();
    let views = resolvers::watch(servers, service.names.clone(), Arc::clone(&host.clock), watched.clone());
    let views = tokio::spawn(views);
    let tasks = clients.begin(&watched);
    eprintln!("watching for {} before the fault", decision::time::Human(settings.baseline));
    if unless_asked(&mut asked, tokio::time::sleep(settings.baseline)).await.is_none() {
        return Err(Failure::new(Exit::Refused, "a person ended it before the fault: nothing was done"));
    }

    let before = last_report(client, &wish).await;
    let mut journal = Journal::from_now_on(client).await?;
    let drill = begin(client, &wish).await?;
    if wish.fault.cuts_off() || wish.fault == Fault::ProviderOutage {
        tokio::time::sleep(BEGINS_AFTER).await;
    }
    if wish.fault.moves_as_planned() {
        let (service, reason) = (wish.service.clone(), drill.id.to_string());
        let moves = Intent::Switchover { service, to: None, reason, dry_run: false };
        if let Err(failure) = client.intent(&moves).await {
            end(client, drill.id, "the service was not moved".into()).await;
            return Err(failure);
        }
    }
    if wish.fault.cuts_off() {
        clients.cut_off(&config, &wish.region).await;
    }
    let over = {
        let watch = Watch { client, host, settings, seen: &seen, drill: &drill, clients: &clients };
        tokio::select! {
            over = watch.until_over(&mut journal, &mut asked) => over,
            never = keep_going(client, drill.id) => match never {},
        }
    };
    end(client, drill.id, over.why.clone()).await;
    let drill = ended(client, drill.id).await?;
    clients.heal();
    eprintln!("over: {}; waiting for {} to come back (Ctrl-C: without it)", over.why, wish.region);
    let mut is_left = false;
    if wish.fault.moves_as_planned() {
        if wish.fault == Fault::ProviderOutage {
            is_left = unless_asked(&mut asked, hears(client, &drill, &mut journal)).await.is_none();
        }
        // Where it is refused, the report says that it is not back.
        let (service, to, reason) = (wish.service.clone(), Some(wish.region.clone()), drill.id.to_string());
        let back = client.intent(&Intent::Switchover { service, to, reason, dry_run: false }).await;
        if let Err(failure) = back {
            eprintln!("{failure}");
        }
    }
    let has_rejoined = match is_left {
        true => None,
        false => unless_asked(&mut asked, rejoins(client, &seen)).await,
    };
    let rejoined_at = has_rejoined.unwrap_or(false).then(|| host.clock.now());

    journal.read_on(client).await?;
    let mut moments = timeline::of_journal(&drill, &journal.entries);
    if let Some(at) = rejoined_at {
        let text = format!("{} is healthy, and its instances follow", wish.region);
        moments.push(Moment { at, phase: Phase::Rejoined, text });
    }
    watched.cancel();
    // What was sent is acknowledged, or not, before anything is counted.
    join_all(tasks).await;
    let views = views.await.unwrap_or_default();
    moments.extend(views.into_iter().filter(|moment| moment.at >= drill.begun_at));
    moments.extend(clients.moments(drill.begun_at));
    let measured = clients.measure(drill.begun_at).await.map_err(Failure::error)?;
    moments.sort_by_key(|moment| moment.at);
    moments.truncate(100);
    let status = looks::status(client).await?;
    let findings = Findings {
        two_writers: clients.two_writers(),
        is_synchronous: seen.mode().is_some_and(|mode| mode.acks() > 0),
        loss_allowed_ms: seen.loss_allowed_ms(),
        has_moved: over.has_moved,
        expected: settings.scenario.expected,
        is_served: seen.is_served(&status),
        has_rejoined: rejoined_at.is_some(),
        is_left: has_rejoined.is_none(),
        told: (wish.fault == Fault::ProviderOutage).then(|| timeline::told(&drill, &journal.entries)),
        aborted: over.aborted,
    };
    let report = report(settings, &seen, &drill, seed, &measured, moments, &findings, before, &status)?;
    Ok(Ran { report, journal: journal.entries })
}

pub(super) fn wish(settings: &Settings, service: &ServiceStatus) -> Wish {
    Wish {
        scenario: settings.scenario.name.to_string(),
        service: settings.service.clone(),
        region: settings.region.clone().unwrap_or_else(|| service.primary.clone()),
        fault: settings.scenario.fault,
        lasts: settings.lasts.unwrap_or(settings.scenario.lasts),
    }
}

/// What a dry run tells: what would be done, and what is in the way.
pub async fn rehearse(client: &Client, settings: &Settings) -> Result<(Wish, Result<(), String>), Failure> {
    let status = status(client).await?;
    let wish = wish(settings, of(&status, &settings.service)?);
    let asked =
        client.intent(&Intent::BeginDrill { drill: DrillId(0), wish: wish.clone(), dry_run: true }).await;
    match asked {
        Ok(_) => Ok((wish, Ok(()))),
        Err(refused) if refused.exit == Exit::Refused => Ok((wish, Err(refused.text))),
        Err(failure) => Err(failure),
    }
}

/// How the fault came to its end.
struct Over {
    why: String,
    has_moved: bool,
    aborted: Option<String>,
}

struct Watch<'a> {
    client: &'a Client,
    host: &'a Host,
    settings: &'a Settings,
    seen: &'a Seen<'a>,
    drill: &'a Drill,
    clients: &'a Clients,
}

impl Watch<'_> {
    async fn until_over(&self, journal: &mut Journal, asked: &mut watch::Receiver<()>) -> Over {
        let mut told = BTreeSet::new();
        let mut steady_since: Option<Instant> = None;
        let mut has_moved = false;
        let began = Instant::now();
        loop {
            if asked.has_changed().unwrap_or(false) {
                asked.mark_unchanged();
                return Over::aborted("a person ended it".into(), has_moved);
            }
            // What is not read now is read later.
            let _ = journal.read_on(self.client).await;
            for moment in timeline::of_journal(self.drill, &journal.entries) {
                if told.insert((moment.phase, moment.at)) {
                    let after = moment.at.since(self.drill.begun_at).as_millis();
                    eprintln!("{after:>6} ms  {}: {}", moment.phase, moment.text);
                }
            }
            // Where nobody can tell, nothing is well.
            let status = status(self.client).await.ok();
            has_moved |= status.as_ref().is_some_and(|status| self.seen.has_moved(status));
            let is_well = status.is_some_and(|status| self.has_recovered(&status, has_moved));
            steady_since = is_well.then(|| steady_since.unwrap_or_else(Instant::now));
            if steady_since.is_some_and(|since| since.elapsed() >= STEADY) && began.elapsed() >= STEADY * 2 {
                return Over { why: "the service was served again".into(), has_moved, aborted: None };
            }
            if let Some(ended) = drill_now(self.client, self.drill.id).await.and_then(|drill| drill.ended) {
                let aborted = ended.by_guard.then(|| ended.why.clone());
                return Over { why: ended.why, has_moved, aborted };
            }
            let now = self.host.clock.now();
            let mut successes = self.clients.last_successes().flatten();
            if successes.any(|success| now.since(success) >= self.settings.abort_after) {
                let limit = decision::time::Human(self.settings.abort_after);
                return Over::aborted(format!("a client had no success for {limit}"), has_moved);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn has_recovered(&self, status: &Status, has_moved: bool) -> bool {
        // What goes on unharmed has shown nothing before the fault is over.
        !self.seen.wish.fault.is_endured()
            && self.seen.is_served(status)
            && status.open_plans.is_empty()
            && (has_moved || self.settings.scenario.expected != Expected::Moves)
            && self.clients.last_successes().all(|success| is_recent(success, self.host.clock.now()))
    }
}

impl Over {
    fn aborted(why: String, has_moved: bool) -> Over {
        Over { why: why.clone(), has_moved, aborted: Some(why) }
    }
}

fn is_recent(success: Option<Time>, now: Time) -> bool {
    success.is_some_and(|success| now.since(success) < Duration::from_secs(2))
}

/// None: a person asked for an end of it.
async fn unless_asked<T>(asked: &mut watch::Receiver<()>, goes_on: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        Ok(()) = asked.changed() => None,
        ended = goes_on => Some(ended),
    }
}

/// Says that this process is still there; ends only when dropped.
async fn keep_going(client: &Client, drill: DrillId) -> std::convert::Infallible {
    loop {
        let _ = client.intent_at_any(&Intent::RenewDrill { drill }, ANSWER_WITHIN).await;
        tokio::time::sleep(RENEWED_EVERY).await;
    }
}

/// The answer may be lost with the region that gave it.
async fn begin(client: &Client, wish: &Wish) -> Result<Drill, Failure> {
    let id = looks::next(client).await?;
    let intent = Intent::BeginDrill { drill: id, wish: wish.clone(), dry_run: false };
    if let Err(failure) = client.intent(&intent).await
        && failure.exit == Exit::Refused
    {
        return Err(failure);
    }
    let deadline = Instant::now() + ANSWER_WITHIN * 3;
    loop {
        match drill_now(client, id).await {
            Some(drill) if drill.wish == *wish => return Ok(drill),
            _ if Instant::now() >= deadline => {
                return Err(Failure::error(
                    "nobody knows whether the drill began; it ends by itself: `failover drill history`",
                ));
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn end(client: &Client, drill: DrillId, why: String) {
    let _ = client.intent_at_any(&Intent::EndDrill { drill, why }, ANSWER_WITHIN).await;
}

async fn ended(client: &Client, id: DrillId) -> Result<Drill, Failure> {
    let deadline = Instant::now() + decision::drill::HEARD_WITHIN * 2;
    loop {
        match drill_now(client, id).await {
            Some(drill) if drill.ended.is_some() => return Ok(drill),
            _ if Instant::now() >= deadline => {
                return Err(Failure::error(format!(
                    "{id} could not be ended; it ends by itself when nobody renews it"
                )));
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn rejoins(client: &Client, seen: &Seen<'_>) -> bool {
    let deadline = Instant::now() + REJOINS_WITHIN;
    while Instant::now() < deadline {
        if let Ok(status) = status(client).await
            && seen.has_rejoined(&status)
        {
            return true;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

/// Until DNS servers of others were told where the service is now, and the plan that told them is done; or, where they were
/// not, until it is too late.
async fn hears(client: &Client, drill: &Drill, journal: &mut Journal) {
    let deadline = Instant::now() + REJOINS_WITHIN;
    while Instant::now() < deadline {
        let is_told = journal.read_on(client).await.is_ok()
            && timeline::told(drill, &journal.entries).after.is_some()
            && status(client).await.is_ok_and(|status| status.open_plans.is_empty());
        if is_told {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[allow(clippy::too_many_arguments)]
fn report(
    settings: &Settings,
    seen: &Seen<'_>,
    drill: &Drill,
    seed: String,
    measured: &Measured,
    timeline: Vec<Moment>,
    findings: &Findings,
    before: Option<Before>,
    status: &Status,
) -> Result<Report, Failure> {
    let objective = seen.objective(settings);
    let (checks, verdict) = judge(&objective, measured, findings);
    let ended = drill.ended.clone().ok_or_else(|| Failure::error(format!("{} is not over", drill.id)))?;
    Ok(Report {
        drill: drill.id,
        wish: drill.wish.clone(),
        by: drill.by.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed,
        config_generation: status.config_generation,
        begun_at: drill.begun_at,
        ended,
        guards: guards(settings, &drill.wish),
        objective,
        measured: measured.clone(),
        timeline,
        checks,
        verdict,
        before,
        is_practice: false,
    })
}

fn guards(settings: &Settings, wish: &Wish) -> Vec<String> {
    use decision::time::Human;
    vec![
        "began only where every region was sound, and no plan or other drill was open".into(),
        format!("{} at the longest", Human(wish.lasts)),
        format!("over, were a client not served for {}", Human(settings.abort_after)),
        "over, were another region hurt, or automation paused".into(),
        format!("over within {}, had its process died", Human(decision::drill::HEARD_WITHIN)),
    ]
}

/// Those that serve the service's names, and those that were named.
pub(super) fn servers(settings: &Settings, config: &Config, status: &Status) -> Vec<String> {
    let service = config.services.get(&settings.service);
    let mut servers = BTreeSet::new();
    for record in service.map(|service| service.dns.as_slice()).unwrap_or_default() {
        match config.zones.get(&record.zone).map(|zone| &zone.provider) {
            Some(DnsProvider::Rfc2136 { authoritative, .. }) => servers.extend(authoritative.iter().cloned()),
            Some(DnsProvider::Embedded) => {
                let agents = status.regions.iter().flat_map(|region| &region.agents);
                servers.extend(agents.filter_map(|agent| agent.dns.clone()));
            }
            None => {}
        }
    }
    servers.into_iter().chain(settings.resolvers.iter().cloned()).collect()
}

/// Keeps it where everybody finds it.
pub async fn tell(client: &Client, report: &Report) -> Result<(), Failure> {
    let intent = Intent::ReportDrill { drill: report.drill, report: Box::new(report.clone()) };
    client.intent(&intent).await.map(drop)
}
