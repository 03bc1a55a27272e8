//! Who tries to break it. `net` makes regions on one machine and spoils the way between them; the simulator,
//! faults on processes and checkers are not here yet. Until then `decision::invariant` holds the invariants
//! and `tests/` kills and cuts real processes.

pub mod net;
