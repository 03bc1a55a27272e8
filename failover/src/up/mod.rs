//! A whole cluster on one machine, of real processes: for trying Regent out, and for its tests.

mod certificates;
mod databases;
mod down;
mod layout;
mod localise;
mod processes;
mod ready;
mod sample;
mod start;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use decision::config::Profile;

pub use down::{DownArgs, down};
pub use sample::{SampleArgs, sample_service};
pub use start::up;

#[derive(Args)]
pub struct UpArgs {
    /// What to run; endpoints and addresses in it are replaced by sample services on this machine
    #[arg(long, default_value = "regions.yml")]
    pub config: PathBuf,
    /// Where all state, certificates and logs go; kept by `down`
    #[arg(long, default_value = ".regent")]
    pub data_dir: PathBuf,
    /// The first port; each region takes twenty from there
    #[arg(long, default_value = "7400")]
    pub base_port: u16,
    /// Timings, where the configuration does not set them itself
    #[arg(long)]
    pub profile: Option<ProfileName>,
    /// Written once all is ready: who runs where, as JSON
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Return once all is ready; `failover down` ends it
    #[arg(long)]
    pub detach: bool,
    /// For how long to wait until all is ready
    #[arg(long, default_value = "120", value_name = "SECONDS")]
    pub timeout: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProfileName {
    Safe,
    Balanced,
    Fast,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Safe => Profile::Safe,
            ProfileName::Balanced => Profile::Balanced,
            ProfileName::Fast => Profile::Fast,
        }
    }
}

impl ProfileName {
    fn of(profile: Profile) -> &'static str {
        match profile {
            Profile::Safe => "safe",
            Profile::Balanced => "balanced",
            Profile::Fast => "fast",
        }
    }
}
