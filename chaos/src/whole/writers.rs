//! Who may take writes until when, in true time: what S1 is judged by. A lease that was granted counts until its own
//! end, whatever becomes of the agent that holds it: its server would go on by itself, and its guard may take all of the
//! fence budget to kill it.

use std::collections::BTreeMap;

use decision::name::RegionName;
use decision::plan::Epoch;

use crate::sim::queue::Moment;

#[derive(Default)]
pub struct Writers {
    until: BTreeMap<RegionName, (Epoch, Moment)>,
    newest: Epoch,
    pub granted: usize,
}

impl Writers {
    /// One may take writes from now on until then.
    ///
    /// # Errors
    /// Another may at the same time, or could at a later epoch already.
    pub fn may_write(
        &mut self,
        region: &RegionName,
        epoch: Epoch,
        now: Moment,
        until: Moment,
    ) -> Result<(), String> {
        if until <= now {
            return Ok(());
        }
        self.granted += 1;
        let held = self.until.entry(region.clone()).or_insert((epoch, until));
        *held = (*held).max((epoch, until));
        let another = self.until.iter().find(|(other, (_, until))| *other != region && *until > now);
        if let Some((other, (other_epoch, until))) = another {
            let left = until.since(now).as_millis();
            return Err(format!(
                "{region} may write at epoch {epoch} while {other} may at {other_epoch} for {left} ms more"
            ));
        }
        if epoch < self.newest {
            return Err(format!("{region} may write at epoch {epoch} after one at {}", self.newest));
        }
        self.newest = epoch;
        Ok(())
    }

    pub fn may(&self, region: &RegionName, now: Moment) -> bool {
        self.until.get(region).is_some_and(|(_, until)| *until > now)
    }

    /// Its server has ended.
    pub fn ends(&mut self, region: &RegionName) {
        self.until.remove(region);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_may_not_write_at_once_nor_one_of_an_older_epoch() {
        let (us, eu) = (RegionName::from("us"), RegionName::from("eu"));
        let mut writers = Writers::default();
        let mut may = |region, epoch, now, until| {
            writers.may_write(region, Epoch(epoch), Moment(now), Moment(until)).is_ok()
        };
        assert!(may(&us, 2, 0, 10) && may(&us, 2, 5, 15));
        assert!(may(&eu, 3, 20, 20), "what is over when it comes counts for nothing");
        assert!(may(&eu, 3, 15, 30));
        assert!(!may(&us, 2, 30, 40));
        assert!(!may(&us, 4, 29, 40));
    }
}
