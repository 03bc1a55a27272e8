//! A replica that is copied anew.

use wire::api::Intent;

use super::args::ReinitArgs;
use super::client::Client;
use super::confirm::confirm;
use super::exit::{Exit, Outcome};

pub async fn reinit(client: &Client, args: ReinitArgs) -> Outcome {
    let ReinitArgs { service, region, yes } = args;
    let question = format!(
        "this ends the replica of {service} in {region} and copies all of it anew; what was there is kept aside until the next copy"
    );
    confirm(yes, &question, &service)?;
    let intent = Intent::Reinit { service: service.as_str().into(), region: region.as_str().into() };
    client.intent(&intent).await?;
    println!("the agent in {region} copies it anew as soon as it can; `failover status --watch` shows it");
    Ok(Exit::Done)
}
