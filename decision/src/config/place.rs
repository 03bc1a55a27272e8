//! Where in the configuration something stands, in the words of `regions.yml`.

use std::fmt;

use serde::{Serialize, Serializer};

/// A path such as `failover_strategy.detection_timeout` or `services.app.dns[0].values.eu-west-1`.
/// Regions stand under their label, as they do in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl Place {
    pub fn root() -> Self {
        Self::default()
    }

    /// `Place::of(&["failover_strategy", "moves", "window"])`
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    #[must_use]
    pub fn key(&self, key: impl fmt::Display) -> Self {
        self.with(Step::Key(key.to_string()))
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// Does this place lie at or below `other`?
    pub fn within(&self, other: &Place) -> bool {
        self.0.starts_with(&other.0)
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                // Zones have dots of their own.
                Step::Key(key) if key.contains('.') => write!(f, "[{key}]")?,
                Step::Key(key) if n == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn reads_as_an_operator_would_write_it() {
        let place = Place::of(&["services", "app", "dns"]).index(0).key("values").key("eu-west-1");
        assert_eq!(place.to_string(), "services.app.dns[0].values.eu-west-1");
        assert_eq!(
            Place::of(&["dns", "zones"]).key("a.test").key("server").to_string(),
            "dns.zones[a.test].server"
        );
        assert!(place.within(&Place::of(&["services", "app"])));
    }
}
