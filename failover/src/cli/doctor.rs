//! Looks for what is wrong, from where the operator sits.

use serde::Serialize;
use wire::api::{JournalPage, Query, Status};

use super::client::Client;
use super::databases;
use super::exit::{Exit, Outcome};
use super::output::{Format, print};

#[derive(Serialize)]
struct Finding {
    what: String,
    well: bool,
    detail: String,
}

pub async fn doctor(client: &Client, format: Format) -> Outcome {
    let mut findings = Vec::new();
    let mut note = |what: &str, well: bool, detail: String| {
        findings.push(Finding { what: what.to_owned(), well, detail });
    };
    let mut newest: Option<Status> = None;
    for (address, answer) in client.ask_each::<Status>(&Query::Status).await {
        match answer {
            Ok(answer) => {
                let status = answer.document;
                let sure = if answer.stale {
                    "but cannot confirm it with a majority"
                } else {
                    "confirmed by a majority"
                };
                note(
                    &format!("controller {address}"),
                    !answer.stale,
                    format!("at log {}, {sure}", status.index),
                );
                if newest.as_ref().is_none_or(|newest| newest.index < status.index) {
                    newest = Some(status);
                }
            }
            Err(failure) => note(&format!("controller {address}"), false, failure.text.replace('\n', " ")),
        }
    }
    if let Some(status) = newest {
        examine(&status, &mut note);
        let journal = client.read::<JournalPage>(&Query::Journal { after: u64::MAX - 1, limit: 1 }).await;
        match journal {
            Ok(page) => {
                let (last, intact) = (page.document.last_seq, page.document.intact);
                note(
                    "journal",
                    intact,
                    format!("{last} entries, chain {}", if intact { "intact" } else { "BROKEN" }),
                );
            }
            Err(failure) => note("journal", false, failure.text),
        }
    }
    let well = findings.iter().all(|finding| finding.well);
    print(format, &findings, |_| {
        let line = |finding: &Finding| {
            format!("{}  {}: {}\n", if finding.well { "ok " } else { "BAD" }, finding.what, finding.detail)
        };
        findings.iter().map(line).collect()
    })?;
    Ok(if well { Exit::Done } else { Exit::Error })
}

fn examine(status: &Status, note: &mut impl FnMut(&str, bool, String)) {
    let voters = status.members.iter().filter(|member| member.voter).count();
    let spare = voters.saturating_sub(1) / 2;
    note("voters", spare > 0, format!("{voters} controllers vote; {spare} of them may be lost"));
    note("configuration", status.config_generation > 0, format!("generation {}", status.config_generation));
    let paused = status.paused.as_deref();
    note("automation", paused.is_none(), paused.map_or("runs".into(), |why| format!("paused: {why}")));
    for region in &status.regions {
        let well = region.verdict == decision::verdict::Verdict::Healthy;
        note(&format!("region {}", region.name), well, format!("{}: {}", region.verdict, region.because));
        for agent in region.agents.iter().filter(|agent| !agent.live) {
            note(&format!("agent {}", agent.agent), false, "has no session".into());
        }
    }
    for service in &status.services {
        let well = service.verdict == decision::verdict::Verdict::Healthy;
        let held = service.held.as_ref().map_or(String::new(), |held| format!("; not moved: {held}"));
        note(
            &format!("service {}", service.name),
            well,
            format!("{} in {}{held}", service.verdict, service.primary),
        );
        for (what, well, detail) in
            service.database.iter().flat_map(|database| databases::examine(&service.name, database))
        {
            note(&what, well, detail);
        }
        if service.names.is_empty() {
            note(
                &format!("service {}", service.name),
                false,
                "has no DNS record: a failover moves no client".into(),
            );
        }
    }
}
