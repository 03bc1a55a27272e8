//! What a configuration promises and cannot keep. Pure: the loader of `regions.yml` maps each
//! place to file, line and column; a controller that is handed a configuration refuses one with errors.

mod database;
mod dns;
#[cfg(test)]
mod example;
mod quorum;
mod regions;
mod services;
mod timing;

use serde::Serialize;

use super::Config;
use super::place::Place;

pub use dns::is_host_name;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub at: Place,
    /// The key itself is wrong, not what stands under it.
    #[serde(skip)]
    pub of_key: bool,
    /// Other places that take part in the contradiction, the most telling first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Place>,
    pub message: String,
    /// What to write instead, or what to add.
    pub fix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, but something it seems to promise will not hold.
    Warning,
}

impl Finding {
    pub fn error(at: Place, message: impl Into<String>, fix: impl Into<String>) -> Self {
        let (message, fix) = (message.into(), fix.into());
        Self { severity: Severity::Error, at, of_key: false, related: Vec::new(), message, fix }
    }

    pub fn warning(at: Place, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message, fix) }
    }

    #[must_use]
    pub fn of_key(mut self) -> Self {
        self.of_key = true;
        self
    }

    #[must_use]
    pub fn related(mut self, place: Place) -> Self {
        self.related.push(place);
        self
    }
}

/// Every contradiction, in the order of the rules.
pub fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    regions::check(config, &mut found);
    quorum::check(config, &mut found);
    timing::check(config, &mut found);
    services::check(config, &mut found);
    dns::check(config, &mut found);
    database::check(config, &mut found);
    found
}

/// Errors told in one refusal.
const TOLD_MAX: usize = 10;

/// What a controller refuses a configuration for, in one line; none where it has no errors. The state
/// itself does not ask: these rules grow with each version, and members of neighbouring versions, and
/// one that reads an older log again, must agree on what an entry of the log does.
pub fn contradictions(config: &Config) -> Option<String> {
    let found = check(config);
    let errors: Vec<&Finding> = found.iter().filter(|found| found.severity == Severity::Error).collect();
    let told = errors.iter().take(TOLD_MAX).map(|error| match error.at == Place::root() {
        true => format!("{} ({})", error.message, error.fix),
        false => format!("{}: {} ({})", error.at, error.message, error.fix),
    });
    let mut told: Vec<String> = told.collect();
    if errors.len() > TOLD_MAX {
        told.push(format!("and {} more", errors.len() - TOLD_MAX));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// The known word that was most likely meant, when one is near enough to be worth saying.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean …" when something is near, else the list of what is known.
pub fn suggest<'a>(word: &str, what: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(candidate) => format!("did you mean {candidate:?}?"),
        None => {
            let known: Vec<&str> = known.into_iter().collect();
            match known.as_slice() {
                [] => format!("no {what} is known"),
                [only] => format!("the only known {what} is {only}"),
                many => format!("known {what}s: {}", many.join(", ")),
            }
        }
    }
}

/// Where a region stands in the file.
fn region_place(config: &Config, name: &crate::name::RegionName) -> Place {
    let label = config.region(name).map_or(name.as_str(), |region| region.label.as_str());
    Place::of(&["regions", label])
}

fn service_place(name: &crate::name::ServiceName) -> Place {
    Place::of(&["services", name.as_str()])
}

/// `a`, `a and b`, `a, b and c`
fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_sound_configuration_has_no_findings() {
        assert_eq!(check(&example::config()), []);
    }

    #[test]
    fn only_errors_are_contradictions_and_they_are_told_in_one_line() {
        let mut config = example::config();
        assert_eq!(contradictions(&config), None);
        config.strategy.detection_timeout = Duration::from_millis(1);
        let told = contradictions(&config).expect("it is shorter than a probe");
        assert!(told.starts_with("failover_strategy.detection_timeout: "), "{told}");
        assert!(!told.contains('\n'), "{told}");
    }

    #[test]
    fn of_many_errors_some_are_told_and_the_rest_counted() {
        let mut config = example::config();
        let record = config.services.values().flat_map(|service| &service.dns).next().cloned();
        let mut record = record.expect("a name");
        record.zone = "nowhere.test".into();
        for service in config.services.values_mut() {
            service.dns = vec![record.clone(); 40];
        }
        let errors = check(&config).iter().filter(|found| found.severity == Severity::Error).count();
        let told = contradictions(&config).expect("no such zone");
        assert!(told.ends_with(&format!("; and {} more", errors - TOLD_MAX)), "{told}");
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let known = ["detection_timeout", "recovery_timeout"];
        assert_eq!(nearest("detection_timout", known), Some("detection_timeout"));
        assert_eq!(nearest("Detection_Timeout", known), Some("detection_timeout"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(suggest("x", "key", known), "known keys: detection_timeout, recovery_timeout");
    }

    #[test]
    fn lists_read_as_english() {
        assert_eq!(list(["a"]), "a");
        assert_eq!(list(["a", "b", "c"]), "a, b and c");
    }
}
