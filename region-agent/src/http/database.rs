//! For load balancers: whether the instance of this region may be sent writes, or reads. The paths
//! and the meaning are those that Patroni gave them, so that an HAProxy stays as it is.

use decision::database::InstanceRole;
use decision::goal::DatabaseGoal;
use decision::name::{RegionName, ServiceName};
use http::{Method, StatusCode};

use super::Answer;
use crate::instances::{FRESH_BYTES, Standing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Primary,
    Replica,
    ReadOnly,
    Health,
}

impl Check {
    fn of(word: &str) -> Option<Check> {
        match word {
            "primary" | "read-write" => Some(Check::Primary),
            "replica" => Some(Check::Replica),
            "read-only" => Some(Check::ReadOnly),
            "health" => Some(Check::Health),
            _ => None,
        }
    }
}

/// What the checks look at.
pub(super) struct Databases<'a> {
    pub(super) goals: &'a [DatabaseGoal],
    pub(super) region: &'a RegionName,
    pub(super) standing: &'a dyn Fn(&ServiceName) -> Option<Standing>,
}

/// None: the path is not a check's.
pub(super) fn answer(
    databases: &Databases,
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Option<Answer> {
    let path = path.strip_prefix('/')?;
    let (service, word) = match path.split_once('/') {
        Some((service, word)) => (Some(service), word),
        None => (None, path),
    };
    let check = Check::of(word)?;
    if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Some(Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS\n"));
    }
    let goal = match (service, databases.goals) {
        (Some(service), goals) => goals.iter().find(|goal| goal.service.as_str() == service),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some(goal) = goal else { return Some(not_found(databases.goals, word)) };
    let most_bytes = match lag(query) {
        Ok(most) => most.unwrap_or(FRESH_BYTES),
        Err(why) => return Some(Answer::text(StatusCode::BAD_REQUEST, why)),
    };
    let standing = (databases.standing)(&goal.service);
    let passes = standing.as_ref().is_some_and(|standing| {
        let is_primary = standing.is_primary(goal, databases.region);
        match check {
            Check::Primary => is_primary,
            Check::Replica => standing.is_fresh_replica(most_bytes),
            Check::ReadOnly => is_primary || standing.is_fresh_replica(most_bytes),
            Check::Health => standing.is_up(),
        }
    });
    let status = if passes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Some(Answer::json(status, body(goal, standing.as_ref())))
}

fn not_found(goals: &[DatabaseGoal], word: &str) -> Answer {
    let paths: Vec<String> = goals.iter().map(|goal| format!("/{}/{word}", goal.service)).collect();
    let text = match paths.is_empty() {
        true => "this agent has no database\n".to_owned(),
        false => format!("there are {}\n", paths.join(", ")),
    };
    Answer::text(StatusCode::NOT_FOUND, text)
}

fn body(goal: &DatabaseGoal, standing: Option<&Standing>) -> serde_json::Value {
    let replica = standing.filter(|standing| matches!(standing.report.role, InstanceRole::Replica { .. }));
    let position = standing.and_then(|standing| standing.report.position);
    serde_json::json!({
        "service": goal.service,
        "role": standing.map_or("unknown".to_owned(), |standing| standing.report.role.to_string()),
        "epoch": goal.epoch,
        "timeline": position.map(|position| position.timeline),
        "lsn": position.map(|position| position.lsn),
        "lag_bytes": replica.and_then(Standing::lag_bytes),
        "lag_ms": replica.map(|standing| standing.lag().as_millis() as u64),
        "writer": goal.writer,
    })
}

/// How far behind a replica may be, if the query says: bytes, or as PostgreSQL writes sizes.
fn lag(query: Option<&str>) -> Result<Option<u64>, String> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = pairs.find(|(key, _)| *key == "lag") else { return Ok(None) };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" => Some(10),
        "m" | "mb" => Some(20),
        "g" | "gb" => Some(30),
        "t" | "tb" => Some(40),
        _ => None,
    };
    let bytes =
        number.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    // At most so much: the bound itself is allowed.
    let bytes = bytes.map(|bytes| bytes.saturating_add(1));
    bytes.map(Some).ok_or_else(|| format!("lag is bytes, or such as 16MB, and not {text:?}\n"))
}

#[cfg(test)]
mod tests;
