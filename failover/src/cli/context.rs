//! Where the controllers are and which certificate speaks for the operator.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::exit::Failure;

/// `context.json`, as `failover up` writes it; paths are relative to the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// `host:port` of any controllers; one that answers is enough.
    pub controllers: Vec<String>,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

/// Where `failover up` leaves it, below its data folder.
pub const FILE: &str = "context.json";

impl Context {
    /// The file named, else `.regent/context.json` here, else the one in the user's configuration.
    pub fn find(given: Option<&Path>, home: Option<&Path>) -> Result<Context, Failure> {
        let candidates = match given {
            Some(path) => vec![path.to_owned()],
            None => [
                Some(PathBuf::from(".regent").join(FILE)),
                home.map(|home| home.join(".config/regent").join(FILE)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        match candidates.iter().find(|path| path.exists()) {
            Some(path) => Context::read(path),
            None => {
                let tried: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
                Err(Failure::error(format!(
                    "no context found (tried {}): start a cluster here with `failover up`, or name one with --context FILE or REGENT_CONTEXT",
                    tried.join(", ")
                )))
            }
        }
    }

    fn read(path: &Path) -> Result<Context, Failure> {
        let failed = |why: String| Failure::error(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let context: Context = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        let place = |file: PathBuf| if file.is_absolute() { file } else { base.join(file) };
        Ok(Context { cert: place(context.cert), key: place(context.key), ca: place(context.ca), ..context })
    }
}
