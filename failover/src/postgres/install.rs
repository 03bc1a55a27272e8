//! Finds PostgreSQL's programs, and asks which version they are.

use std::path::{Path, PathBuf};

use super::error::PostgresError;

pub const OLDEST: u32 = 13;
pub const NEWEST: u32 = 17;

/// Those of the version that wrote the data, or the newest that is supported.
pub(super) fn find(data_version: Option<u32>) -> Result<PathBuf, PostgresError> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        // A folder that cannot be read has no programs for us.
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version =
                name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|v| v.parse().ok());
            let bin = entry.path().join("bin");
            if let Some(version) = version
                && (OLDEST..=NEWEST).contains(&version)
                && bin.join("postgres").is_file()
            {
                found.push((version, bin));
            }
        }
    }
    found.sort();
    let fitting =
        found.iter().rev().find(|(version, _)| data_version.is_none_or(|wanted| wanted == *version));
    if let Some((_, bin)) = fitting {
        return Ok(bin.clone());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|dir| dir.join("postgres").is_file()).ok_or_else(|| {
        let version = data_version.map(|version| format!(" of version {version}")).unwrap_or_default();
        PostgresError::Missing {
            program: format!("the postgres program{version}"),
            looked: "looked in /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin and PATH".to_owned(),
        }
    })
}

/// The major version that a data folder was written by.
pub(super) fn data_version(data_dir: &Path) -> Option<u32> {
    std::fs::read_to_string(data_dir.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`
pub(super) fn major(version: &str) -> Result<u32, PostgresError> {
    let words = version.split_whitespace().skip_while(|word| *word != "(PostgreSQL)").nth(1);
    let digits = words.map(|word| word.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(major) if (OLDEST..=NEWEST).contains(&major) => Ok(major),
        _ => Err(PostgresError::Version { found: version.trim().chars().take(80).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Ok(15));
        assert_eq!(major("postgres (PostgreSQL) 17beta1"), Ok(17));
        for text in ["", "postgres (PostgreSQL)", "postgres (PostgreSQL) 12.3", "postgres (EDB) 15", "\0"] {
            assert!(major(text).is_err(), "{text:?}");
        }
    }
}
