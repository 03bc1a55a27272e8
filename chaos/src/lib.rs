//! Who tries to break it: simulation, live faults, checkers. Nothing is here yet; until then
//! `decision::invariant` holds the invariants and `tests/` kills and cuts real processes.
