//! Since when this member has known that nobody may write, for what agents are told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use decision::goal::Goal;
use decision::time::Uptime;
use decision::vacancies::Vacancies;
use tokio::time::Instant;

use crate::controller::Controller;

pub struct Known {
    begun: Instant,
    vacancies: Mutex<Vacancies>,
}

impl Default for Known {
    fn default() -> Self {
        Known { begun: Instant::now(), vacancies: Mutex::default() }
    }
}

impl Known {
    pub fn tell(&self, goal: &mut Goal) {
        self.lock().tell(goal, self.now());
    }

    /// Counts while the process runs: what is told may be too little, and never too much.
    fn now(&self) -> Uptime {
        Uptime(self.begun.elapsed().as_nanos() as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Vacancies> {
        self.vacancies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what was applied; ends only when dropped.
pub async fn follow(controller: Arc<Controller>) {
    let mut applied = controller.node.view().applied();
    loop {
        applied.borrow_and_update();
        let known = &controller.vacancies;
        known.lock().note(&controller.state(), known.now());
        if applied.changed().await.is_err() {
            return;
        }
    }
}
