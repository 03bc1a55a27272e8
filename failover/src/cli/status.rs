//! Where services are and how regions are.

use decision::time::{Time, rfc3339};
use futures::StreamExt;
use wire::api::{Query, Status};

use super::client::{Answer, Client};
use super::databases;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Table, age, render};

pub async fn status(client: &Client, format: Format, watch: bool) -> Outcome {
    show(client, format, watch, status_text).await
}

pub async fn regions(client: &Client, format: Format, watch: bool) -> Outcome {
    show(client, format, watch, regions_text).await
}

async fn show(client: &Client, format: Format, watch: bool, text: fn(&Status, bool) -> String) -> Outcome {
    if !watch {
        let answer: Answer<Status> = client.read(&Query::Status).await?;
        print!("{}", rendered(format, &answer, text)?);
        return Ok(Exit::Done);
    }
    loop {
        match client.watch::<Status>(&Query::Status).await {
            Ok(mut answers) => {
                while let Some(Ok(answer)) = answers.next().await {
                    let text = rendered(format, &answer, text)?;
                    if format == Format::Json || format == Format::Yaml {
                        println!("{text}");
                    } else {
                        // Home, and clear what is below: no flicker.
                        print!("\x1b[H\x1b[2J{text}");
                    }
                }
            }
            Err(failure) => eprintln!("{failure}"),
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

fn rendered(
    format: Format,
    answer: &Answer<Status>,
    text: fn(&Status, bool) -> String,
) -> Result<String, Failure> {
    let stale = match answer.stale {
        true => format!(
            "STALE: not confirmed by a majority of controllers; as of {}\n",
            rfc3339(Time(answer.as_of_ms))
        ),
        false => String::new(),
    };
    render(format, &answer.document, |wide| stale + &text(&answer.document, wide))
}

/// Also the live view of `failover up`.
pub fn status_text(status: &Status, wide: bool) -> String {
    let mut text = String::new();
    let leader = match status.leader {
        Some(id) => {
            let region =
                status.members.iter().find(|member| member.id == id).map(|member| member.region.as_str());
            format!("leader {id} in {}", region.unwrap_or("?"))
        }
        None => "no leader".into(),
    };
    text += &format!(
        "cluster {}: {leader}, term {}, log {}, configuration {}\n",
        status.cluster, status.term, status.index, status.config_generation
    );
    if let Some(why) = &status.paused {
        text += &format!("AUTOMATION IS PAUSED: {why}\n");
    }
    if status.config_generation == 0 {
        text += "no configuration is in force yet: `failover config apply regions.yml`\n";
    }
    let mut table = Table::new(["SERVICE", "PRIMARY", "VERDICT", "EPOCH", "SINCE", "NAME", "ANSWER"]);
    for service in &status.services {
        let name = service.names.first();
        table.row([
            service.name.to_string(),
            service.primary.to_string(),
            service.verdict.to_string(),
            service.epoch.to_string(),
            age(status.as_of, service.since),
            name.map_or_else(|| "-".into(), |name| name.name.clone()),
            name.map_or_else(|| "-".into(), |name| name.values.join(" ")),
        ]);
    }
    if !table.is_empty() {
        text += &format!("\n{}", table.render());
    }
    for service in &status.services {
        if let Some(held) = &service.held {
            text += &format!("{}: not moved: {held}\n", service.name);
        }
        if wide {
            text += &format!("{}: {}\n", service.name, service.because);
        }
    }
    for service in &status.services {
        if let Some(database) = &service.database {
            text += &format!("\n{}", databases::text(&service.name, database, status.as_of, wide));
        }
    }
    if !status.open_plans.is_empty() {
        let ids: Vec<String> = status.open_plans.iter().map(ToString::to_string).collect();
        text += &format!("\nopen: {} (`failover plan {}`)\n", ids.join(", "), ids[0]);
    }
    text += &format!("\n{}", regions_text(status, wide));
    text
}

fn regions_text(status: &Status, wide: bool) -> String {
    let mut table = Table::new(["REGION", "VERDICT", "SINCE", "CAPACITY", "AGENTS", "DRAINED", "BECAUSE"]);
    for region in &status.regions {
        let live = region.agents.iter().filter(|agent| agent.live).count();
        let mut because = region.because.clone();
        if !wide && because.chars().count() > 70 {
            because = because.chars().take(69).collect::<String>() + "…";
        }
        table.row([
            region.name.to_string(),
            region.verdict.to_string(),
            age(status.as_of, region.since),
            if region.witness { "witness".into() } else { format!("{}%", region.capacity_percent) },
            format!("{live}/{}", region.agents.len()),
            region.drained.clone().unwrap_or_else(|| "-".into()),
            because,
        ]);
    }
    table.render()
}
