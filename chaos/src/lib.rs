//! Who tries to break it. `net` makes regions on one machine and spoils the way between them; `live` runs a
//! whole cluster with its databases in them, does it harm and judges what came of it. The simulator is not here
//! yet. Until then `decision::invariant` holds the invariants.

pub mod live;
pub mod net;
