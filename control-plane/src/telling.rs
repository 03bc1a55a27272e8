//! What agents tell that a move may wait for, while it is on its way into the log. Two replicas tell their
//! last positions at nearly the same time: whichever is second need not wait until the first is committed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use decision::command::Command;
use decision::name::ServiceName;

#[derive(Default)]
pub struct Telling(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    begun: u64,
    /// In the order in which they began.
    told: BTreeMap<u64, (ServiceName, Command)>,
}

/// Until it is dropped, what was told is under way.
pub struct Told<'a> {
    telling: &'a Telling,
    number: u64,
}

impl Telling {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, service: &ServiceName, told: &Command) -> Told<'_> {
        let mut under_way = self.lock();
        under_way.begun += 1;
        let number = under_way.begun;
        under_way.told.insert(number, (service.clone(), told.clone()));
        Told { telling: self, number }
    }
}

impl Told<'_> {
    /// It goes into the log with what follows from it.
    pub fn becomes(&self, batch: &Command) {
        if let Some((_, told)) = self.telling.lock().told.get_mut(&self.number) {
            told.clone_from(batch);
        }
    }

    /// What was told of the same service before it and is under way yet, and it.
    pub fn with_those_before(&self) -> Vec<Command> {
        let under_way = self.telling.lock();
        let until = under_way.told.range(..=self.number);
        let of = under_way.told.get(&self.number).map(|(service, _)| service);
        until.filter(|(_, (service, _))| Some(service) == of).map(|(_, (_, told))| told.clone()).collect()
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.telling.lock().told.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_known_to_what_is_told_after_it_of_the_same_service() {
        let telling = Telling::default();
        let note = |text: &str| Command::Note { text: text.into() };
        let (app, shop) = ("app".into(), "shop".into());
        let first = telling.begin(&app, &note("1"));
        let _other = telling.begin(&shop, &note("2"));
        let second = telling.begin(&app, &note("3"));
        assert_eq!(first.with_those_before(), [note("1")]);
        assert_eq!(second.with_those_before(), [note("1"), note("3")]);
        first.becomes(&note("4"));
        assert_eq!(second.with_those_before(), [note("4"), note("3")]);
        drop(first);
        assert_eq!(second.with_those_before(), [note("3")]);
        drop(second);
        assert_eq!(telling.lock().told.len(), 1);
    }
}
