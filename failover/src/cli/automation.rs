//! Pausing, resuming, draining.

use decision::command::Outcome as Applied;
use wire::api::{Intent, IntentReply};

use super::args::RegionArgs;
use super::client::Client;
use super::confirm::confirm;
use super::exit::{Exit, Outcome};

pub async fn pause(client: &Client, why: String) -> Outcome {
    tell(
        client,
        Intent::Pause { why },
        "automation is paused; nothing moves by itself until `failover resume`",
    )
    .await
}

pub async fn resume(client: &Client) -> Outcome {
    tell(client, Intent::Resume, "automation runs").await
}

pub async fn drain(client: &Client, args: RegionArgs) -> Outcome {
    let RegionArgs { region, why, yes } = args;
    confirm(yes, &format!("this moves every service out of {region}"), &region)?;
    let intent = Intent::Drain { region: region.as_str().into(), why };
    tell(client, intent, &format!("{region} is drained; `failover status --watch` shows the moves")).await
}

pub async fn undrain(client: &Client, args: RegionArgs) -> Outcome {
    let region = args.region;
    let intent = Intent::Undrain { region: region.as_str().into() };
    tell(client, intent, &format!("{region} may take services again")).await
}

async fn tell(client: &Client, intent: Intent, done: &str) -> Outcome {
    let reply = client.intent(&intent).await?;
    match reply {
        IntentReply::Done { outcome: Applied::Unchanged, .. } => println!("it was so already"),
        _ => println!("{done}"),
    }
    Ok(Exit::Done)
}
