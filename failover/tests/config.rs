//! `regions.yml` from the outside: what loads, what every mistake looks like.
//! A new transcript is a new pair of files: write `broken/NAME.yml`, run with `BLESS=1`, read `NAME.txt`.

#[path = "config/bounds.rs"]
mod bounds;
#[path = "config/loads.rs"]
mod loads;
#[path = "config/transcripts.rs"]
mod transcripts;

use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Compares with a file; under `BLESS=1` writes it instead.
fn assert_file(path: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, actual).expect("the data folder can be written");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} is not what is expected (BLESS=1 accepts it)\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    );
}
