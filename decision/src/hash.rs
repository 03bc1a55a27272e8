//! What chains the journal's entries: SHA-512/256 (FIPS 180-4). Processors without instructions for SHA-256
//! take half as long for it, and it cannot be extended from the hash alone. `openssl dgst -sha512-256`
//! gives the same.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha512_256};

const LEN: usize = 32;

/// In text, 64 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Hash([u8; LEN]);

impl Hash {
    /// Over this hash's octets and `body`.
    pub fn chain(&self, body: &[u8]) -> Hash {
        Hash(Sha512_256::new().chain_update(self.0).chain_update(body).finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = HEXLOWER.decode(text.as_bytes()).ok().and_then(|octets| octets.try_into().ok());
        octets.map(Hash).ok_or_else(|| de::Error::custom(format!("{text:?} is not 64 hexadecimal digits")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `(head -c 32 /dev/zero; printf abc) | openssl dgst -sha512-256`.
    const OF_ABC: &str = "cd0a07934bf6ccc75bca92763f33978ae8c427b0f6b4f35b8fc0fdba7fcd94fb";

    #[test]
    fn it_is_what_openssl_gives() {
        assert_eq!(Hash::default().chain(b"abc").to_string(), OF_ABC);
    }

    #[test]
    fn text_that_is_no_hash_is_refused() {
        let read =
            |text: &str| serde_json::from_value::<Hash>(text.into()).map_err(|error| error.to_string());
        assert_eq!(read(OF_ABC), Ok(Hash::default().chain(b"abc")));
        for text in ["", "zz", &OF_ABC[1..], &OF_ABC.to_uppercase(), &format!("{OF_ABC}00")] {
            assert!(read(text).is_err_and(|error| error.contains("64 hexadecimal digits")), "{text}");
        }
    }
}
