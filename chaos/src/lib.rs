//! Who tries to break it. `sim` runs controllers and agents on a virtual clock, a seed a run; `net` makes regions on
//! one machine and spoils the way between them; `live` runs a whole cluster with its databases in them, does it harm
//! and judges what came of it. What must hold of the state is in `decision::invariant`.

pub mod linearizable;
pub mod live;
pub mod net;
pub mod sim;
#[cfg(regent_whole)]
pub mod whole;
