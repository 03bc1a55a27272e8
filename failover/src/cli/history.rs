//! Who wrote to a database, since when, why, and what it cost: read from the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use decision::database::{InstanceRole, Loss, Proof, Vacancy};
use decision::event::Event;
use decision::journal::Entry;
use decision::name::{RegionName, ServiceName};
use decision::plan::{Epoch, Kind, Plan, PlanId};
use decision::time::{Time, rfc3339};
use serde::Serialize;
use wire::api::{JournalPage, Query};

use super::args::HistoryArgs;
use super::client::{Answer, Client};
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Table, print, span};

/// Entries of one answer.
const PAGE: u32 = 1_000;

/// One change of who writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Change {
    /// When it was granted; of a vacancy that still is, when it began.
    at: Time,
    service: ServiceName,
    epoch: Epoch,
    from: Option<RegionName>,
    /// None: nobody since.
    to: Option<RegionName>,
    kind: Option<Kind>,
    why: String,
    /// How it was known that nobody wrote any more; none of the first of all.
    proof: Option<Proof>,
    /// What the plan said might be lost.
    loss: Option<Loss>,
    /// A person took it.
    accepts_loss: bool,
    plan: Option<PlanId>,
    /// From the vacancy to the first writes; none while it lasts, or if the journal does not tell.
    without_writer_ms: Option<u64>,
}

/// What can be told, and whether the journal reaches back to the beginning.
#[derive(Serialize)]
struct History {
    changes: Vec<Change>,
    /// The oldest entry that is kept, if older ones were dropped.
    begins_at: Option<Time>,
}

pub async fn history(client: &Client, format: Format, args: HistoryArgs) -> Outcome {
    let of = args.service.as_deref().map(ServiceName::from);
    let entries = entries(client).await?;
    let oldest = entries.first().filter(|entry| entry.seq > 1);
    let begins_at = oldest.map(|entry| entry.at);
    let mut changes = changes(&entries);
    changes.retain(|change| of.as_ref().is_none_or(|of| change.service == *of));
    let history = History { changes, begins_at };
    print(format, &history, |wide| text(&history, wide))?;
    Ok(Exit::Done)
}

async fn entries(client: &Client) -> Result<Vec<Entry>, Failure> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let answer: Answer<JournalPage> = client.read(&Query::Journal { after, limit: PAGE }).await?;
        let page = answer.document;
        if !page.intact {
            return Err(Failure::error("the journal's chain is broken: entries were altered or lost"));
        }
        let is_last = page.entries.is_empty();
        entries.extend(page.entries);
        if is_last || entries.last().is_some_and(|entry| entry.seq >= page.last_seq) {
            return Ok(entries);
        }
    }
}

/// Oldest first.
fn changes(entries: &[Entry]) -> Vec<Change> {
    let mut reader = Reader::default();
    for entry in entries {
        reader.read(entry);
    }
    let still = reader.vacant.into_iter().map(|(service, (at, epoch, vacancy))| Change {
        at,
        service,
        epoch,
        from: vacancy.last,
        to: None,
        kind: None,
        why: vacancy.why,
        proof: Some(vacancy.proof),
        loss: None,
        accepts_loss: false,
        plan: None,
        without_writer_ms: None,
    });
    reader.changes.extend(still);
    reader.changes
}

#[derive(Default)]
struct Reader {
    changes: Vec<Change>,
    /// The newest plan of each service.
    plans: BTreeMap<ServiceName, Plan>,
    vacant: BTreeMap<ServiceName, (Time, Epoch, Vacancy)>,
    holders: BTreeMap<ServiceName, RegionName>,
    /// Where in `changes`, and since when nobody wrote: until its instance takes writes.
    begun: BTreeMap<ServiceName, (usize, Time)>,
}

impl Reader {
    fn read(&mut self, entry: &Entry) {
        match &entry.event {
            Event::PlanOpened { plan, .. } => {
                self.plans.insert(plan.service.clone(), plan.clone());
            }
            Event::LeaseEnded { service, epoch, vacancy } => {
                self.vacant.insert(service.clone(), (entry.at, *epoch, vacancy.clone()));
                self.begun.remove(service);
            }
            Event::GrantUndone { service, vacancy, .. } => {
                let known = self.vacant.get_mut(service);
                known.into_iter().for_each(|(_, _, known)| known.clone_from(vacancy));
            }
            Event::LeaseGranted { service, epoch, region } => self.granted(entry.at, service, *epoch, region),
            Event::InstanceChanged { service, region, role: InstanceRole::Primary { epoch }, .. } => {
                self.writes(entry.at, service, *epoch, region);
            }
            _ => {}
        }
    }

    fn granted(&mut self, at: Time, service: &ServiceName, epoch: Epoch, region: &RegionName) {
        let vacant = self.vacant.remove(service);
        let before = self.holders.insert(service.clone(), region.clone());
        let plan = self.plans.get(service).filter(|plan| plan.epoch == epoch);
        if let Some((since, ..)) = &vacant {
            self.begun.insert(service.clone(), (self.changes.len(), *since));
        }
        let vacancy = vacant.map(|(_, _, vacancy)| vacancy);
        let why = plan.map(|plan| plan.reason.clone()).or_else(|| Some(vacancy.as_ref()?.why.clone()));
        self.changes.push(Change {
            at,
            service: service.clone(),
            epoch,
            from: vacancy.as_ref().map_or(before, |vacancy| vacancy.last.clone()),
            to: Some(region.clone()),
            kind: plan.map(|plan| plan.kind),
            why: why.unwrap_or_default(),
            proof: vacancy.map(|vacancy| vacancy.proof),
            loss: plan.and_then(|plan| plan.loss),
            accepts_loss: plan.is_some_and(|plan| plan.accepts_loss),
            plan: plan.map(|plan| plan.id),
            without_writer_ms: None,
        });
    }

    fn writes(&mut self, at: Time, service: &ServiceName, epoch: Epoch, region: &RegionName) {
        let Some((n, since)) = self.begun.get(service).copied() else { return };
        let change = &mut self.changes[n];
        if change.epoch == epoch && change.to.as_ref() == Some(region) {
            change.without_writer_ms = u64::try_from(at.since(since).as_millis()).ok();
            self.begun.remove(service);
        }
    }
}

fn text(history: &History, wide: bool) -> String {
    let mut text = String::new();
    if let Some(at) = history.begins_at {
        text += &format!("the journal begins at {}: what was before is not kept\n", rfc3339(at));
    }
    if history.changes.is_empty() {
        return text + "nobody has written to a database yet\n";
    }
    let mut table = Table::new([
        "TIME", "SERVICE", "EPOCH", "FROM", "TO", "KIND", "PROOF", "LOSS", "AWAY", "PLAN", "WHY",
    ]);
    for change in &history.changes {
        table.row(row(change, wide));
    }
    text + &table.render()
}

fn row(change: &Change, wide: bool) -> [String; 11] {
    let none = || "-".to_owned();
    let region = |region: &Option<RegionName>| region.as_ref().map_or_else(none, ToString::to_string);
    let loss = match (&change.loss, change.accepts_loss) {
        (None, _) => none(),
        (Some(loss), true) => format!("{loss}, accepted"),
        (Some(loss), false) => loss.to_string(),
    };
    let mut why = change.why.clone();
    if !wide && why.chars().count() > 60 {
        why = why.chars().take(59).collect::<String>() + "…";
    }
    [
        rfc3339(change.at),
        change.service.to_string(),
        change.epoch.to_string(),
        region(&change.from),
        change.to.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string),
        change.kind.map_or_else(none, |kind| kind.to_string()),
        change.proof.as_ref().map_or_else(none, |proof| self::proof(proof).to_owned()),
        loss,
        change.without_writer_ms.map_or_else(none, |ms| span(Duration::from_millis(ms))),
        change.plan.map_or_else(none, |plan| plan.to_string()),
        why,
    ]
}

fn proof(proof: &Proof) -> &'static str {
    match proof {
        Proof::NeverOwned => "never owned",
        Proof::Expired { .. } => "expired",
        Proof::Released { clean: Some(_), .. } => "clean",
        Proof::Released { clean: None, .. } => "released",
    }
}

#[cfg(test)]
mod tests {
    use decision::command::Command;
    use decision::config::Mode;
    use decision::decide::{force, switchover};
    use decision::testing::{World, secs, three_regions, with_database};

    use super::*;

    fn told(world: &World) -> Vec<String> {
        let entries: Vec<Entry> = world.state.journal.after(0).map(|entry| (**entry).clone()).collect();
        let told = |change: &Change| {
            let is_filled = change.proof.is_some() && change.to.is_some();
            assert_eq!(change.without_writer_ms.is_some(), is_filled, "{change:?}");
            let row = row(change, true);
            // All but times, which say nothing here.
            [&row[1..8], &row[9..]].concat().join(" | ")
        };
        changes(&entries).iter().map(told).collect()
    }

    #[test]
    fn tells_who_wrote_since_when_and_why() {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let mut world = World::new(config);
        let plan =
            switchover(&world.state, world.now, &"app".into(), Some(&"eu".into()), "for a test".into());
        world.must(Command::OpenPlan { plan: plan.unwrap(), explanation: None });
        world.run_for(secs(2));
        world.crash_database("app", "eu");
        world.run_for(secs(2));
        let plan = force(&world.state, world.now, &"app".into(), Some(&"ap".into()), true, "no way".into());
        world.must(Command::OpenPlan { plan: plan.unwrap(), explanation: None });
        world.run_for(secs(2));
        world.must(Command::Pause { why: "test".into() });
        world.crash_database("app", "ap");
        assert_eq!(
            told(&world),
            [
                "app | 2 | - | us | recover | - | - | plan-1 | the database of app gets its first primary",
                "app | 3 | us | eu | switchover | clean | - | plan-2 | for a test",
                "app | 4 | eu | us | failover | released | - | plan-3 | the database of app has no primary: postgres \
                 was killed by signal 9",
                "app | 5 | us | ap | failover | released | nothing, accepted | plan-4 | no way",
                "app | 5 | ap | nobody | - | released | - | - | postgres was killed by signal 9",
            ]
        );
    }
}
