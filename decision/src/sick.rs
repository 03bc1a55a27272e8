//! A sick vantage must not accuse: it stretches its own patience while it misses its own deadlines
//! or hears of no controller, and says nothing while it is worst (Lifeguard, arXiv 1707.00788).

use std::time::Duration;

/// As memberlist's `AwarenessMaxMultiplier`.
pub const MAX_MULTIPLIER: u32 = 8;
/// Having lost trust in itself, a vantage is to be well for a while before it speaks again.
const TRUST_AGAIN_AT: u32 = MAX_MULTIPLIER / 2;

/// What one period, as long as a heartbeat, showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// By how much the scheduler was late at worst.
    pub worst_lag: Duration,
    /// Half of the shortest probe interval.
    pub lag_limit: Duration,
    /// Since a controller was last reached.
    pub silence: Duration,
    pub heartbeat: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfHealth {
    multiplier: u32,
    trusted: bool,
}

impl Default for SelfHealth {
    fn default() -> Self {
        SelfHealth { multiplier: 1, trusted: true }
    }
}

impl SelfHealth {
    pub fn judge(self, period: Period) -> SelfHealth {
        let missed = period.worst_lag > period.lag_limit || period.silence > silence_limit(period.heartbeat);
        let multiplier = match missed {
            true => (self.multiplier + 1).min(MAX_MULTIPLIER),
            false => (self.multiplier - 1).max(1),
        };
        let cut_off = period.silence > cut_off_limit(period.heartbeat);
        let trusted = match self.trusted {
            true => !cut_off && multiplier < MAX_MULTIPLIER,
            false => !cut_off && multiplier <= TRUST_AGAIN_AT,
        };
        SelfHealth { multiplier, trusted }
    }

    /// 1 when well, up to `MAX_MULTIPLIER`; stretches probe timeouts.
    pub fn multiplier(self) -> u32 {
        self.multiplier
    }

    /// Stretches `unhealthy_threshold`. Milder, because timeouts are stretched as well, and a
    /// moment's lag is no reason to count a refused connection more slowly.
    pub fn threshold_multiplier(self) -> u32 {
        (self.multiplier / 2).max(1)
    }

    /// Whether its findings are worth anything.
    pub fn is_trusted(self) -> bool {
        self.trusted
    }
}

/// Longer than a change of leader or of controller takes a well vantage, in which it redials.
fn silence_limit(heartbeat: Duration) -> Duration {
    heartbeat * 4 + Duration::from_millis(100)
}

/// From here on it holds itself for cut off from all controllers.
fn cut_off_limit(heartbeat: Duration) -> Duration {
    heartbeat * 6 + Duration::from_millis(250)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_millis(500);
    const WELL: Period = Period {
        worst_lag: Duration::from_millis(3),
        lag_limit: Duration::from_millis(500),
        silence: Duration::from_millis(400),
        heartbeat: HEARTBEAT,
    };
    const LATE: Period = Period { worst_lag: Duration::from_millis(501), ..WELL };
    const SILENT: Period = Period { silence: Duration::from_millis(2_101), ..WELL };
    const CUT_OFF: Period = Period { silence: Duration::from_millis(3_251), ..WELL };

    fn after(periods: &[Period]) -> SelfHealth {
        periods.iter().fold(SelfHealth::default(), |health, period| health.judge(*period))
    }

    #[test]
    fn a_well_vantage_keeps_its_patience() {
        assert_eq!(after(&[WELL; 20]), SelfHealth::default());
    }

    #[test]
    fn each_miss_stretches_and_each_success_relaxes() {
        assert_eq!(after(&[LATE]).multiplier(), 2);
        assert_eq!(after(&[LATE, SILENT, LATE]).multiplier(), 4);
        assert_eq!(after(&[LATE, SILENT, LATE, WELL]).multiplier(), 3);
        assert_eq!(after(&[LATE; 30]).multiplier(), MAX_MULTIPLIER);
        assert_eq!(after(&[&[LATE; 30][..], &[WELL; 7]].concat()).multiplier(), 1);
    }

    #[test]
    fn one_late_moment_does_not_slow_the_count_of_refusals() {
        let thresholds: Vec<u32> = (0..8).map(|n| after(&vec![LATE; n]).threshold_multiplier()).collect();
        assert_eq!(thresholds, [1, 1, 1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn at_its_worst_it_does_not_trust_itself_until_it_was_well_for_a_while() {
        assert!(after(&[LATE; 6]).is_trusted());
        assert!(!after(&[LATE; 7]).is_trusted());
        assert!(!after(&[&[LATE; 7][..], &[WELL; 3]].concat()).is_trusted());
        assert!(after(&[&[LATE; 7][..], &[WELL; 4]].concat()).is_trusted());
    }

    #[test]
    fn cut_off_from_all_controllers_it_does_not_trust_itself() {
        assert!(after(&[SILENT]).is_trusted());
        assert!(!after(&[CUT_OFF]).is_trusted());
        assert!(after(&[CUT_OFF, WELL]).is_trusted());
    }
}
