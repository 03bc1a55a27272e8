//! A drill that causes nothing: clients are watched, and the leader is asked what it would do.

use std::time::Duration;

use decision::decide::WhatIf;
use decision::drill::practice::{Foreseen, judge};
use decision::drill::report::{Moment, Phase, Report};
use decision::drill::{DrillId, Ended, Fault, Wish};
use decision::plan::Plan;
use decision::time::Human;
use tokio_util::sync::CancellationToken;
use wire::api::{Intent, IntentReply, Query};
use wire::host::Host;

use super::clients::Clients;
use super::looks::{ANSWER_WITHIN, config, last_report, of, status};
use super::run::{Settings, servers, wish};
use super::seen::Seen;
use crate::cli::Client;
use crate::cli::exit::{Exit, Failure};

/// Watches for `settings.baseline`, and asks. Changes nothing, and is kept nowhere.
///
/// # Errors
/// The harness failed, or the rules cannot be asked about this fault.
pub async fn practise(client: &Client, host: &Host, settings: &Settings) -> Result<Report, Failure> {
    let (config, status) = (config(client).await?, status(client).await?);
    let wish = wish(settings, of(&status, &settings.service)?);
    let seen = Seen { config: &config, wish: &wish };
    let seed = format!("{:016x}", host.random.next_u64());
    let clients = Clients::new(settings, &servers(settings, &config, &status), &seed, &host.clock).await;
    let clients = clients.map_err(Failure::error)?;
    let begun_at = host.clock.now();
    let watched = CancellationToken::new();
    let _stops = watched.clone().drop_guard();
    let tasks = clients.begin(&watched);
    eprintln!("watching for {}", Human(settings.baseline));
    tokio::time::sleep(settings.baseline).await;
    watched.cancel();
    futures::future::join_all(tasks).await;

    let ended_at = host.clock.now();
    let measured = clients.measure(ended_at).await.map_err(Failure::error)?;
    let (plan, why) = foresee(client, &wish).await?;
    let database = config.services.get(&wish.service).and_then(|service| service.database.as_ref());
    let is_planned = wish.fault.moves_as_planned();
    let foreseen = Foreseen {
        moves_to: plan.as_ref().map(|plan| plan.to.clone()).ok_or(why),
        expected: settings.scenario.expected,
        decided_within: if is_planned { Duration::ZERO } else { config.strategy.detection_timeout },
        fenced_within: database
            .filter(|_| !is_planned)
            .map_or(Duration::ZERO, |database| database.lease.expiry()),
        loss: plan.as_ref().and_then(|plan| plan.loss),
    };
    let objective = seen.objective(settings);
    let (checks, verdict) = judge(&objective, &measured, &foreseen);
    let decision = |plan: &Plan| Moment {
        at: ended_at,
        phase: Phase::Decision,
        text: format!("would be decided: {} from {} to {}: {}", plan.kind, plan.from, plan.to, plan.reason),
    };
    Ok(Report {
        drill: DrillId(0),
        before: last_report(client, &wish).await,
        wish,
        by: "practice".into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed,
        config_generation: status.config_generation,
        begun_at,
        ended: Ended { at: ended_at, why: "nothing was caused".into(), by_guard: false },
        guards: vec!["nothing was caused, and nothing decided".into()],
        objective,
        measured,
        timeline: plan.iter().map(decision).collect(),
        checks,
        verdict,
        is_practice: true,
    })
}

/// The plan that would be opened for the service; else why none would.
async fn foresee(client: &Client, wish: &Wish) -> Result<(Option<Plan>, String), Failure> {
    match wish.fault {
        Fault::RegionLoss | Fault::Partition | Fault::AgentFreeze => {
            let query = Query::IfLost { region: wish.region.clone() };
            let what_if: WhatIf = client.read_at_any(&query, ANSWER_WITHIN).await?.document;
            let why = what_if.explanations.into_iter().find(|explained| explained.service == wish.service);
            let why = why.map_or_else(|| "no rule speaks of it".into(), |explained| explained.conclusion);
            Ok((what_if.plans.into_iter().find(|plan| plan.service == wish.service), why))
        }
        Fault::PlannedMove | Fault::ProviderOutage => {
            let (service, reason) = (wish.service.clone(), "practice".to_owned());
            let asked = Intent::Switchover { service, to: None, reason, dry_run: true };
            match client.intent(&asked).await {
                Ok(IntentReply::Done { plan, .. }) => {
                    Ok((plan.map(|plan| *plan), "nothing would be done".into()))
                }
                Ok(IntentReply::Refused { refusal }) => Ok((None, refusal.to_string())),
                Err(refused) if refused.exit == Exit::Refused => Ok((None, refused.text)),
                Err(failure) => Err(failure),
            }
        }
        fault => Err(Failure::error(format!(
            "what {fault} does is not decided by the controllers alone: practise region-loss, or run it"
        ))),
    }
}
