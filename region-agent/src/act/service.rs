//! Is the service served where it was moved to? Its checks are run until all have passed.

use std::time::Duration;

use decision::config::Check;
use decision::plan::StepResult;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::probe::Prober;

const MOST_AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn verify(prober: &Prober, checks: &[Check], within: Duration) -> StepResult {
    if checks.is_empty() {
        return StepResult::Done { note: "no checks are configured for it: nothing was verified".to_owned() };
    }
    let deadline = Instant::now() + within;
    let mut left: Vec<&Check> = checks.iter().collect();
    loop {
        let looks: Vec<_> = left.iter().map(|check| look(prober, check, deadline)).collect();
        let results: Vec<_> = stream::iter(looks).buffered(MOST_AT_ONCE).collect().await;
        let failures: Vec<(&Check, String)> = left
            .into_iter()
            .zip(results)
            .filter_map(|(check, result)| result.err().map(|reason| (check, reason)))
            .collect();
        if failures.is_empty() {
            return StepResult::Done { note: format!("{} checks passed", checks.len()) };
        }
        let pause = failures.iter().map(|(check, _)| check.interval).min().unwrap_or(PAUSE).min(PAUSE);
        if Instant::now() + pause >= deadline {
            let told: Vec<String> =
                failures.iter().take(3).map(|(check, reason)| format!("{}: {reason}", check.id)).collect();
            let (failed, all) = (failures.len(), checks.len());
            return StepResult::Failed { why: format!("{failed} of {all} checks fail: {}", told.join("; ")) };
        }
        tokio::time::sleep(pause).await;
        left = failures.into_iter().map(|(check, _)| check).collect();
    }
}

async fn look(prober: &Prober, check: &Check, deadline: Instant) -> Result<(), String> {
    let left = deadline.saturating_duration_since(Instant::now());
    prober.probe(check, check.timeout.min(left)).await
}
