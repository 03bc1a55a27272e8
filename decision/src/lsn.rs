//! A position in the write-ahead log of PostgreSQL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes since the beginning of the log; written as PostgreSQL's `pg_lsn`, `16/B374D848`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(pub u64);

impl Lsn {
    /// How many bytes `self` lies ahead of `other`; 0 when it does not.
    pub fn ahead_of(self, other: Lsn) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Lsn {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // from_str_radix would take a sign.
        let half = |digits: &str| match digits {
            "" => None,
            digits if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
            digits => u64::from_str_radix(digits, 16).ok(),
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Lsn(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| format!("{text:?} is not a position in the log, which reads 16/B374D848"))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_postgresql_does() {
        for (text, lsn) in [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/FFFFFFFF", u64::MAX)] {
            assert_eq!(text.parse(), Ok(Lsn(lsn)));
            assert_eq!(Lsn(lsn).to_string(), text);
        }
        assert_eq!("0/a0000b8".parse(), Ok(Lsn(0x0A00_00B8)));
        for text in ["", "/", "1", "1/", "/1", "1/2/3", "+1/2", "-1/2", "1/123456789", "x/1", "1 /2"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }
}
