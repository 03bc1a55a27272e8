//! Does the database take writes where it was moved to? Asked by a write, over the network.

use std::time::Duration;

use decision::config::Database;
use decision::name::RegionName;
use decision::plan::StepResult;
use failover::postgres::Postgres;
use tokio::time::Instant;
use wire::host::Host;

use crate::database::settings;

const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn verify(
    host: &Host,
    own: &RegionName,
    wished: Option<&Database>,
    region: &RegionName,
    within: Duration,
) -> StepResult {
    let upstream = wished.and_then(|wished| Some((wished, settings::upstream(wished, region)?)));
    let Some((wished, upstream)) = upstream else {
        return StepResult::Refused { why: format!("nothing is known here of a database in {region}") };
    };
    let deadline = Instant::now() + within;
    let began = Instant::now();
    loop {
        let write = async {
            let settings = settings::of_instance(wished, own).await?;
            let postgres = Postgres::open(settings, host).await.map_err(|error| error.to_string())?;
            postgres.write_to(&upstream).await.map_err(|error| error.to_string())
        };
        let why = match tokio::time::timeout_at(deadline, write).await {
            Ok(Ok(())) => {
                let ms = began.elapsed().as_millis();
                return StepResult::Done { note: format!("a write from {own} was committed after {ms} ms") };
            }
            Ok(Err(why)) => why,
            Err(_) => "a write is not committed: it may wait for a synchronous replica".to_owned(),
        };
        if Instant::now() + PAUSE >= deadline {
            return StepResult::Failed { why };
        }
        tokio::time::sleep(PAUSE).await;
    }
}
