//! regions.yml: checked here, put in force through the log.

use std::path::Path;

use decision::config::{Config, Profile};
use wire::api::{ConfigDocument, Intent, Query};

use super::args::ConfigVerb;
use super::client::{Answer, Client};
use super::confirm::confirm;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, print};
use crate::config::{self, Loaded};

pub async fn config(
    client: impl Fn() -> Result<Client, Failure>,
    format: Format,
    verb: ConfigVerb,
) -> Outcome {
    match verb {
        ConfigVerb::Check { file } => {
            let loaded = load(&file)?;
            let warnings = loaded.warnings.len();
            println!(
                "{}: {} regions, {} services, {} checks; {warnings} warnings",
                file.display(),
                loaded.config.regions.len(),
                loaded.config.services.len(),
                loaded.config.checks.len()
            );
            Ok(Exit::Done)
        }
        ConfigVerb::Show { file: Some(file) } => show(format, &load(&file)?.config),
        ConfigVerb::Show { file: None } => {
            let held = held(&client()?).await?;
            match held.config {
                Some(config) => show(format, &config),
                None => Err(Failure::error(
                    "no configuration is in force yet: `failover config apply regions.yml`",
                )),
            }
        }
        ConfigVerb::Diff { file } => {
            let wanted = load(&file)?.config;
            let held = held(&client()?).await?;
            differences(format, held.config.as_ref(), &wanted)
        }
        ConfigVerb::Apply { file, yes, dry_run } => {
            let wanted = load(&file)?.config;
            let client = client()?;
            let held = held(&client).await?;
            let pending = differences(format, held.config.as_ref(), &wanted)?;
            if pending == Exit::Done || dry_run {
                return Ok(pending);
            }
            confirm(yes, "this puts the configuration in force on every controller", "apply")?;
            apply(&client, held.generation, wanted).await?;
            println!("configuration generation {} is in force", held.generation + 1);
            Ok(Exit::Done)
        }
        ConfigVerb::Schema => {
            print!("{}", config::schema_json());
            Ok(Exit::Done)
        }
    }
}

/// Puts a configuration in force, if `parent` is still the newest generation.
pub async fn apply(client: &Client, parent: u64, config: Config) -> Result<(), Failure> {
    let intent = Intent::SetConfig { parent_generation: parent, config: Box::new(config) };
    client.intent(&intent).await.map(|_| ())
}

/// What is in force.
pub async fn held(client: &Client) -> Result<ConfigDocument, Failure> {
    let answer: Answer<ConfigDocument> = client.read(&Query::Config).await?;
    Ok(answer.document)
}

/// Reads a file, and tells of warnings on the way.
pub fn load(file: &Path) -> Result<Loaded, Failure> {
    load_with(file, None)
}

/// As [`load`], with another profile than the file's.
pub fn load_with(file: &Path, profile: Option<Profile>) -> Result<Loaded, Failure> {
    let loaded = config::load_with(file, profile)
        .map_err(|errors| Failure::error(errors.to_string().trim_end().to_owned()))?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    Ok(loaded)
}

fn show(format: Format, config: &Config) -> Outcome {
    print(format, config, |_| config::show(config))?;
    Ok(Exit::Done)
}

fn differences(format: Format, held: Option<&Config>, wanted: &Config) -> Outcome {
    let Some(held) = held else {
        println!("no configuration is in force yet; all of it is new");
        return Ok(Exit::Pending);
    };
    let differences = config::diff(held, wanted);
    let lines = || differences.iter().map(|difference| format!("{difference}\n")).collect::<String>();
    if differences.is_empty() {
        println!("no difference");
        return Ok(Exit::Done);
    }
    print(format, &differences, |_| lines())?;
    Ok(Exit::Pending)
}
