//! What a new configuration would change, and what each change does.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use decision::config::Config;
use decision::time::Human;
use serde::Serialize;
use serde_json::Value as Json;

use super::written;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Such as `services.app.dns[0].ttl_s`.
    pub at: String,
    /// None: it was not there.
    pub from: Option<String>,
    /// None: it is there no more.
    pub to: Option<String>,
    /// What the change does once it is loaded.
    pub effect: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{}: {from} -> {to}", self.at)?,
            (None, Some(to)) => write!(f, "{}: added {to}", self.at)?,
            (from, None) => write!(f, "{}: removed {}", self.at, from.as_deref().unwrap_or_default())?,
        }
        if self.effect.is_empty() { Ok(()) } else { write!(f, "  ({})", self.effect) }
    }
}

/// In the order of the places; regions and checks are told by name, so a new one in the middle is one line.
pub fn diff(old: &Config, new: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    let order = |config: &Config| {
        let names: Vec<&str> = config.regions.iter().map(|region| region.name.as_str()).collect();
        names.join(", ")
    };
    let (old_order, new_order) = (order(old), order(new));
    compare("", &tree(old), &tree(new), &mut found);
    let same_regions = {
        let sorted = |config: &Config| {
            let mut names: Vec<_> = config.regions.iter().map(|region| region.name.clone()).collect();
            names.sort();
            names
        };
        sorted(old) == sorted(new)
    };
    if same_regions && old_order != new_order {
        found.push(Difference {
            at: "regions".to_owned(),
            from: Some(old_order),
            to: Some(new_order),
            effect: "order of preference: the next failover chooses by it, and failback goes to the new first",
        });
    }
    found
}

/// As [`show`](super::show()), with lists of named things turned into mappings.
fn tree(config: &Config) -> Json {
    let mut json = readable(serde_json::to_value(config).expect("a configuration always serialises"));
    for (list, key) in [("regions", "name"), ("checks", "id")] {
        let items = json[list].take();
        let named: BTreeMap<String, Json> = items
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| (item[key].as_str().unwrap_or_default().to_owned(), item.clone()))
            .collect();
        json[list] = named.into_iter().collect();
    }
    for (name, service) in &config.services {
        if let Some(database) = &service.database {
            let written = serde_json::to_value(written::database(database));
            json["services"][name.as_str()]["database"] = written.expect("a configuration always serialises");
        }
    }
    json
}

/// `interval_ms: 1500` becomes `interval: 1.5s`.
fn readable(json: Json) -> Json {
    match json {
        Json::Object(map) => map.into_iter().map(|(key, value)| entry(key, value)).collect(),
        Json::Array(items) => Json::Array(items.into_iter().map(readable).collect()),
        other => other,
    }
}

fn entry(key: String, value: Json) -> (String, Json) {
    match (key.strip_suffix("_ms"), key.strip_suffix("_percent"), value.as_u64()) {
        (Some(stem), _, Some(ms)) => {
            (stem.to_owned(), Json::String(Human(Duration::from_millis(ms)).to_string()))
        }
        (_, Some(stem), Some(percent)) => (stem.to_owned(), Json::String(format!("{percent}%"))),
        _ => (key, readable(value)),
    }
}

fn compare(at: &str, old: &Json, new: &Json, found: &mut Vec<Difference>) {
    match (old, new) {
        (Json::Object(before), Json::Object(after)) => {
            let mut keys: Vec<&String> =
                before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))).collect();
            keys.sort();
            for key in keys {
                let place = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                one(&place, before.get(key), after.get(key), found);
            }
        }
        (Json::Array(before), Json::Array(after)) if before.iter().chain(after).any(Json::is_object) => {
            for n in 0..before.len().max(after.len()) {
                one(&format!("{at}[{n}]"), before.get(n), after.get(n), found);
            }
        }
        (old, new) if old != new => found.push(difference(at, Some(old), Some(new))),
        _ => {}
    }
}

fn one(at: &str, old: Option<&Json>, new: Option<&Json>, found: &mut Vec<Difference>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(at, old, new, found),
        (None, None) => {}
        (old, new) => found.push(difference(at, old, new)),
    }
}

fn difference(at: &str, old: Option<&Json>, new: Option<&Json>) -> Difference {
    Difference {
        at: at.to_owned(),
        from: old.filter(|json| !json.is_null()).map(word),
        to: new.filter(|json| !json.is_null()).map(word),
        effect: match (new.is_none_or(Json::is_null), at.rsplit('.').next()) {
            (true, Some("database")) if at.starts_with("services.") => LETS_GO,
            _ => effect(at),
        },
    }
}

fn word(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(word).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let first = map.iter().take(4).map(|(key, value)| format!("{key}: {}", word(value)));
            let more = if map.len() > 4 { ", …" } else { "" };
            format!("{{{}{more}}}", first.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Of a database that is left out.
const LETS_GO: &str = "Regent lets go of it: what it has stays, and its primary is ended with its lease, because nobody renews that";

/// By the first key and the last, the first row that fits.
const EFFECTS: &[(&str, &str, &str)] = &[
    (
        "regions",
        "services",
        "where services may run: a primary that is no host any more has to be moved first",
    ),
    ("regions", "endpoints", "agents watch the new addresses; health begins as unknown there"),
    ("regions", "capacity", "decides who may take over, and whether a move goes in stages"),
    ("regions", "jurisdiction", "decides which services may run there"),
    ("regions", "controllers", "membership is changed one voter at a time, by `failover regions`"),
    ("regions", "agents", "start or stop agents there; their number weighs in every verdict"),
    ("regions", "witness", "a witness votes and observes, and is no target"),
    ("regions", "label", "none on running services"),
    ("regions", "provider", "none on running services"),
    ("services", "max_data_loss", "past it nobody is promoted without a person's word"),
    (
        "services",
        "instances",
        "agents follow at once; a primary that is no instance any more has to be moved first",
    ),
    (
        "services",
        "settings",
        "written by the agents; what PostgreSQL takes only when it starts waits for that",
    ),
    ("services", "hba", "written by the agents; it holds for connections made from then on"),
    (
        "services",
        "users",
        "the primary's agent makes what is missing and sets passwords; a role or database left out here stays",
    ),
    ("services", "database", "agents follow at once; which instance is the primary stays as it is"),
    ("services", "ttl_s", "resolvers keep the answers they have until the old TTL has passed"),
    ("services", "weights", "the share of each region, as soon as the zone is published"),
    ("services", "rto", "objective: judged from now on"),
    ("services", "rpo", "objective: judged from now on"),
    ("services", "min_capacity", "decides who may take over"),
    ("services", "jurisdictions", "decides who may take over"),
    ("services", "", "the zone is published anew; resolvers follow within the TTL"),
    ("strategy", "detection_timeout", "how soon a failure is acted on"),
    ("strategy", "session_timeout", "how soon a silent agent counts as lost"),
    ("strategy", "recovery_timeout", "how long a plan may take before a person is called"),
    ("strategy", "automatic_failover", "whether anything moves without a person"),
    ("strategy", "manual_approval_required", "plans opened from now on"),
    ("strategy", "profile", "controllers take new Raft timings when they restart; all else at once"),
    ("strategy", "failback", "whether services go home by themselves"),
    ("strategy", "", "decisions from now on; plans that run go on as they are"),
    ("checks", "", "agents probe by it at once; thresholds count anew"),
    ("zones", "", "who serves the zone: make sure that the new servers answer before the delegation changes"),
    ("status_page", "", "the status page"),
];

fn effect(at: &str) -> &'static str {
    let first = at.split(['.', '[']).next().unwrap_or_default();
    // What an operator has named is no key: a service may be called `database`.
    let named = if ["regions", "services"].contains(&first) { 2 } else { 1 };
    let keys: Vec<&str> = at.split(['.', '[']).skip(named).collect();
    EFFECTS
        .iter()
        .find(|(head, key, _)| *head == first && (key.is_empty() || keys.contains(key)))
        .map_or("", |(_, _, effect)| *effect)
}
