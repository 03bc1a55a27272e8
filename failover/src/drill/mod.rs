//! Running a drill, and telling what came of it.

mod clients;
mod files;
mod gap;
mod html;
mod junit;
mod line;
mod looks;
mod practice;
mod resolvers;
mod run;
mod scenario;
mod seen;
mod visitor;
mod writer;

pub use files::{schema, write as write_files};
pub use html::page;
pub use junit::junit;
pub use line::line;
pub use practice::practise;
pub use run::{Ran, Settings, rehearse, run, tell};
pub use scenario::{SCENARIOS, Scenario};
