//! A machine that comes back with old data: somebody restores a snapshot of its volume while it is down. What a replica
//! has told, and what others wait for, is less then than they think.
//!
//! The data folder of a replica alone, with what the agent keeps beside it of its timelines. What an agent promised for
//! good, that it gave a lease back, lies elsewhere; and a controller's log never comes back old: Raft counts on a member
//! that keeps what it said it has (Ongaro and Ousterhout 2014, 5.2 and 5.4), and no rule of ours could make up for it.

use decision::database::branch::Mark;

use super::history::History;
use super::instance::Instance;
use super::postgres::{Data, Files, Postgres};

pub struct Snapshot {
    data: Data,
    marks: Vec<Mark>,
}

impl Snapshot {
    /// As a crash would leave it. None: it is no replica.
    pub fn of(server: &Postgres, instance: &Instance) -> Option<Snapshot> {
        let Files::Present(data) = &server.files else { return None };
        let data = Data { is_clean: false, ..data.clone() };
        data.is_standby.then(|| Snapshot { data, marks: instance.disk.marks.clone() })
    }

    /// What is there, while nothing runs there; but not what has become a primary's folder.
    pub fn replaces(self, server: &mut Postgres, instance: &mut Instance, history: &mut History) {
        let Files::Present(data) = &mut server.files else { return };
        if data.is_standby {
            history.is_put_back(&data.log, &self.data.log);
            *data = self.data;
            instance.disk.marks = self.marks;
        }
    }
}
