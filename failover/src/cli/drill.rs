//! `failover drill`.

use std::path::PathBuf;
use std::time::Duration;

use decision::drill::report::Report;
use decision::drill::{Drill, Wish};
use decision::journal::Entry;
use tokio::sync::watch;
use wire::api::Query;
use wire::host::Host;

use super::args::{DrillFormat, DrillRunArgs, DrillVerb};
use super::client::Client;
use super::confirm::confirm;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Table, print};
use crate::drill::{self, SCENARIOS, Scenario, Settings};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const HARNESS_FAILED: Exit = Exit::Drill(5);
const ABORTED: Exit = Exit::Drill(4);

pub async fn drill(
    client: impl Fn() -> Result<Client, Failure>,
    host: &Host,
    format: Format,
    verb: DrillVerb,
) -> Outcome {
    match verb {
        DrillVerb::List => list(),
        DrillVerb::Schema => {
            println!("{}", drill::schema().map_err(|error| Failure::error(error.to_string()))?);
            Ok(Exit::Done)
        }
        DrillVerb::Run(args) => {
            let ran = run(&client()?, host, format, args).await;
            // What cannot be run is not a drill that missed its objective.
            ran.map_err(|failure| match failure.exit {
                Exit::Refused => Failure::new(ABORTED, failure.text),
                _ => Failure::new(HARNESS_FAILED, failure.text),
            })
        }
        DrillVerb::Watch => watch(&client()?).await,
        DrillVerb::Report { id, format: as_what } => report(&client()?, &id, as_what).await,
        DrillVerb::History => history(&client()?, format).await,
    }
}

fn list() -> Outcome {
    let mut table = Table::new(["SCENARIO", "AT LONGEST", "WHAT IS DONE TO THE REGION"]);
    for scenario in SCENARIOS {
        let lasts = format!("{}s", scenario.lasts.as_secs());
        table.row([scenario.name.into_owned(), lasts, scenario.about.into_owned()]);
    }
    print!("{}", table.render());
    Ok(Exit::Done)
}

async fn run(client: &Client, host: &Host, format: Format, args: DrillRunArgs) -> Outcome {
    let settings = Settings {
        scenario: Scenario::find(&args.scenario).map_err(Failure::error)?,
        service: args.service.as_str().into(),
        region: args.region.as_deref().map(Into::into),
        lasts: args.longest.map(Duration::from_secs),
        rto: args.rto_ms.map(Duration::from_millis),
        dsn: args.dsn,
        url: args.url,
        baseline: Duration::from_secs(args.baseline),
        abort_after: Duration::from_secs(args.abort_after),
        resolvers: args.resolvers,
    };
    let (wish, may) = drill::rehearse(client, &settings).await?;
    eprint!("{}", plan_text(&settings, &wish));
    may.map_err(|why| Failure::new(Exit::Refused, why))?;
    if args.dry_run {
        return Ok(Exit::Done);
    }
    if args.practice {
        let report = drill::practise(client, host, &settings).await?;
        return show(format, args.out.unwrap_or_else(|| "practice".into()), &report, &[]);
    }
    confirm(args.approve, &format!("this causes a failure in {}", wish.region), wish.service.as_str())?;
    let (asks, asked) = watch::channel(());
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            asks.send_replace(());
        }
    });
    let ran = drill::run(client, host, &settings, asked).await?;
    let folder = args.out.unwrap_or_else(|| PathBuf::from(ran.report.drill.to_string()));
    let exit = show(format, folder, &ran.report, &ran.journal)?;
    drill::tell(client, &ran.report).await?;
    Ok(exit)
}

fn show(format: Format, folder: PathBuf, report: &Report, journal: &[Entry]) -> Outcome {
    drill::write_files(&folder, report, journal).map_err(Failure::error)?;
    print(format, report, |_| text(report))?;
    eprintln!("all of it is in {}", folder.display());
    Ok(Exit::Drill(report.verdict.exit_code()))
}

fn plan_text(settings: &Settings, wish: &Wish) -> String {
    let (scenario, Wish { service, region, lasts, .. }) = (&settings.scenario, wish);
    let writes = "a client writes rows into the table regent_drill of its own";
    let client = match (&settings.dsn, &settings.url) {
        (Some(_), Some(url)) => format!("{writes}, another asks for {url}"),
        (Some(_), None) => writes.to_owned(),
        (None, Some(url)) => format!("a client asks for {url}"),
        (None, None) => "no client is watched (no --dsn, no --url): what clients see is not measured".into(),
    };
    format!(
        "{} of {region}, to see {service} recover: {}\n  ends after {} at the longest, when {service} is served again, when another region is hurt,\n  when automation is paused, on Ctrl-C, and within 30 s when this process dies\n  {client}\n",
        scenario.name,
        scenario.about,
        decision::time::Human(*lasts)
    )
}

async fn drills(client: &Client) -> Result<Vec<Drill>, Failure> {
    Ok(client.read_at_any(&Query::Drills, ANSWER_WITHIN).await?.document)
}

async fn watch(client: &Client) -> Outcome {
    let mut shown = None;
    loop {
        let Some(drill) = drills(client).await?.into_iter().next() else {
            println!("no drill was run yet");
            return Ok(Exit::Done);
        };
        let line = drill::line(&drill).join("  ");
        if shown.as_ref() != Some(&line) {
            println!("{line}");
            shown = Some(line);
        }
        if !drill.is_running() {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn history(client: &Client, format: Format) -> Outcome {
    let drills = drills(client).await?;
    print(format, &drills, |_| {
        let mut table =
            Table::new(["DRILL", "BEGUN", "SCENARIO", "SERVICE", "REGION", "VERDICT", "LONGEST GAP", "LOST"]);
        drills.iter().for_each(|drill| table.row(drill::line(drill)));
        if table.is_empty() { "no drill was run yet\n".into() } else { table.render() }
    })?;
    Ok(Exit::Done)
}

async fn report(client: &Client, id: &str, format: DrillFormat) -> Outcome {
    let number = id.strip_prefix("drill-").unwrap_or(id);
    let found = drills(client).await?.into_iter().find(|drill| drill.id.0.to_string() == number);
    let drill =
        found.ok_or_else(|| Failure::error(format!("there is no drill {id:?}; `failover drill history`")))?;
    let report = drill.report.ok_or_else(|| {
        let ended = drill.ended.map_or_else(|| "it is running".to_owned(), |ended| ended.why);
        Failure::error(format!("{} has no report: {ended}", drill.id))
    })?;
    match format {
        DrillFormat::Text => print!("{}", text(&report)),
        DrillFormat::Json => {
            let json =
                serde_json::to_string_pretty(&*report).map_err(|error| Failure::error(error.to_string()))?;
            println!("{json}");
        }
        DrillFormat::Html => print!("{}", drill::page(&report)),
        DrillFormat::Junit => print!("{}", drill::junit(&report)),
    }
    Ok(Exit::Done)
}

fn text(report: &Report) -> String {
    let mut text = format!("{}: {}\n", report.title(), report.verdict);
    for moment in &report.timeline {
        let after = moment.at.since(report.begun_at).as_millis();
        text += &format!("  {after:>7} ms  {}: {}\n", moment.phase, moment.text);
    }
    for check in &report.checks {
        text += &format!("  {:<12}  {}: {}\n", check.result.to_string(), check.name, check.detail);
    }
    text
}
