//! Whom a caller means to reach.

use std::fmt;

use decision::name::AgentId;

use crate::identity::Identity;

/// Which identities of our own cluster a caller takes as the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    AnyController,
    /// The controller with this member id, in whatever region.
    Member(u64),
    Agent(AgentId),
    AnyAgent,
}

impl Expect {
    pub fn admits(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (Expect::AnyController, Identity::Controller { .. }) => true,
            (Expect::Member(expected), Identity::Controller { member, .. }) => expected == member,
            (Expect::Agent(expected), Identity::Agent(agent)) => expected == agent,
            (Expect::AnyAgent, Identity::Agent(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::AnyController => f.write_str("a controller"),
            Expect::Member(member) => write!(f, "the controller with member id {member}"),
            Expect::Agent(agent) => write!(f, "the agent {agent}"),
            Expect::AnyAgent => f.write_str("an agent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_only_whom_it_names() {
        let controller = Identity::Controller { region: "a".into(), member: 1 };
        let agent = Identity::Agent(AgentId::new("a", 1));
        let operator = Identity::Operator { name: "ana".into() };
        let table = [
            (Expect::AnyController, [true, false, false]),
            (Expect::Member(1), [true, false, false]),
            (Expect::Member(2), [false, false, false]),
            (Expect::AnyAgent, [false, true, false]),
            (Expect::Agent(AgentId::new("a", 1)), [false, true, false]),
            (Expect::Agent(AgentId::new("a", 2)), [false, false, false]),
            (Expect::Agent(AgentId::new("b", 1)), [false, false, false]),
        ];
        for (expect, admitted) in table {
            assert_eq!([&controller, &agent, &operator].map(|who| expect.admits(who)), admitted, "{expect}");
        }
    }
}
