use std::io;

/// Why a network of regions could not be made, changed or removed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("regions are network namespaces, and only root may make them: run this as root")]
    NotRoot,
    #[error(
        "a network needs two to {most} regions, each named once in letters, digits and dashes: {given:?}"
    )]
    Regions { most: usize, given: Vec<String> },
    #[error("there is no region {asked:?}; there are {}", known.join(", "))]
    NoSuchRegion { asked: String, known: Vec<String> },
    #[error("between {0:?} and itself nothing can be spoiled: it is one namespace")]
    SameRegion(String),
    #[error("{0:?} is no share; give one from 0 to 1")]
    Share(f64),
    #[error("{} is not built: `cargo build -p chaos --bins` first", .0)]
    NotBuilt(String),
    #[error("`{command}`: {source}; it comes with Debian's {package}")]
    NoProgram { command: String, package: &'static str, source: io::Error },
    #[error("`{command}` failed: {said}")]
    Command { command: String, said: String },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("processes in {0} do not end when killed; see `ip netns pids {0}`")]
    Undying(String),
    #[error("the switch has ended, so nothing passes any more; what it said is on stderr")]
    SwitchEnded,
    #[error("the switch: {0}")]
    Switch(String),
}

pub(super) trait During<T> {
    /// Says what was under way.
    fn during(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|error| Error::Io { what: what.into(), source: error.into() })
    }
}
