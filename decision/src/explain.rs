//! Why something was decided, or was not: the rules tried, in order, and what each found.

use serde::{Deserialize, Serialize};

use crate::evidence::Condition;
use crate::name::{AgentId, RegionName, ServiceName};
use crate::time::Time;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub service: ServiceName,
    pub conclusion: String,
    pub rules: Vec<Rule>,
    pub opinions: Vec<Opinion>,
    pub rejected: Vec<Rejected>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    pub passed: bool,
    pub detail: String,
}

/// What one vantage says of one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    pub vantage: AgentId,
    pub region: RegionName,
    pub condition: Condition,
    pub since: Time,
    pub reason: String,
    /// False when the vantage itself is suspect.
    pub counted: bool,
}

/// A region that could have taken over, and why it may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    pub region: RegionName,
    pub why: String,
}

impl Explanation {
    pub fn new(service: &ServiceName) -> Self {
        Self {
            service: service.clone(),
            conclusion: String::new(),
            rules: Vec::new(),
            opinions: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// Notes a rule's finding and hands it back, so that it reads as a condition.
    pub fn rule(&mut self, name: &str, passed: bool, detail: impl Into<String>) -> bool {
        self.rules.push(Rule { name: name.to_owned(), passed, detail: detail.into() });
        passed
    }

    pub fn conclude(&mut self, conclusion: impl Into<String>) {
        self.conclusion = conclusion.into();
    }
}
