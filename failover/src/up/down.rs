//! Ends what `up` started. Data, certificates and logs stay.

use std::path::PathBuf;

use clap::Args;

use super::processes::{end, forget, running};
use crate::cli::exit::{Exit, Outcome};

#[derive(Args)]
pub struct DownArgs {
    /// The folder given to `up`
    #[arg(long, default_value = ".regent")]
    pub data_dir: PathBuf,
}

pub async fn down(args: DownArgs) -> Outcome {
    let processes = running(&args.data_dir);
    if processes.is_empty() {
        println!("nothing of {} is running", args.data_dir.display());
        return Ok(Exit::Done);
    }
    end(&processes).await;
    super::databases::end(&args.data_dir);
    forget(&args.data_dir);
    println!("ended {} processes; state is kept in {}", processes.len(), args.data_dir.display());
    Ok(Exit::Done)
}
