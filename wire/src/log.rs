//! What a program logs: on standard error, as text or as JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Debug, thiserror::Error)]
#[error(
    "the log filter {filter:?} is not understood: {why}; write a level, as info, or TARGET=LEVEL, parted by commas"
)]
pub struct BadFilter {
    filter: String,
    why: ParseError,
}

/// `filter` names what is logged, as `info,openraft=error`. To be called once.
///
/// # Errors
/// The filter cannot be read: nothing is logged.
pub fn start(filter: &str, as_json: bool) -> Result<(), BadFilter> {
    let wanted: Targets = filter.parse().map_err(|why| BadFilter { filter: filter.to_owned(), why })?;
    let layer = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let layer = match as_json {
        true => layer.json().flatten_event(true).boxed(),
        false => layer.boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(wanted)).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_says_how_to_write_one() {
        let error = start("info,openraft=loud", false).unwrap_err().to_string();
        assert!(error.starts_with("the log filter \"info,openraft=loud\" is not understood: "), "{error}");
    }
}
