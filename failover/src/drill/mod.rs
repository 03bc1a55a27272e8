//! Running a drill, and telling what came of it.

mod files;
mod html;
mod junit;
mod resolvers;
mod run;
mod scenario;
mod writer;

pub use files::{schema, write as write_files};
pub use html::page;
pub use junit::junit;
pub use run::{Ran, Settings, line, rehearse, run, tell};
pub use scenario::{SCENARIOS, Scenario};
