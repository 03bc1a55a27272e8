//! Whether a password fits the verifier that PostgreSQL keeps of it (RFC 5803), so that a password that
//! is right already is not written again.

use std::num::NonZeroU32;

use data_encoding::BASE64;
use ring::{digest, hmac, pbkdf2};

/// More would take seconds: taken for another password, and written anew.
const ITERATIONS_MAX: u32 = 1_000_000;

/// `SCRAM-SHA-256$iterations:salt$stored key:server key`
pub(super) fn verifies(verifier: &str, password: &str) -> bool {
    parse(verifier).is_some_and(|parsed| {
        // As clients and the server prepare it (SASLprep); what that refuses is taken as it is.
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, parsed.iterations, &parsed.salt, prepared.as_bytes(), &mut salted);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
        let server = hmac::sign(&key, b"Server Key");
        stored.as_ref() == parsed.stored && server.as_ref() == parsed.server
    })
}

struct Parsed {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

fn parse(verifier: &str) -> Option<Parsed> {
    let mut parts = verifier.strip_prefix("SCRAM-SHA-256$")?.split('$');
    let (iterations, salt) = parts.next()?.split_once(':')?;
    let (stored, server) = parts.next()?.split_once(':')?;
    let iterations = iterations.parse().ok().filter(|n: &NonZeroU32| n.get() <= ITERATIONS_MAX)?;
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).ok();
    Some(Parsed { iterations, salt: bytes(salt)?, stored: bytes(stored)?, server: bytes(server)? })
}

#[cfg(test)]
mod tests {
    use postgres_protocol::password::scram_sha_256;

    use super::verifies;

    #[test]
    fn a_password_fits_its_own_verifier_only() {
        for password in ["s3cret", "a:b\\c'd", "ﬁne\u{a0}ª", "\u{7}bell", "Ünïcode"] {
            let verifier = scram_sha_256(password.as_bytes());
            assert!(verifies(&verifier, password), "{password}");
            assert!(!verifies(&verifier, "other"), "{password}");
        }
        // RFC 7677, chapter 3; the keys as they follow from it.
        let known = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                     wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert!(verifies(known, "pencil") && !verifies(known, "pencil "));
    }

    #[test]
    fn what_is_no_such_verifier_fits_nothing() {
        let verifier = scram_sha_256(b"a");
        let cut = &verifier[..verifier.len() - 2];
        for other in ["", "a", "md5900150983cd24fb0d6963f7d28e17f72", "SCRAM-SHA-256$0:YQ==$YQ==:YQ==", cut] {
            assert!(!verifies(other, "a"), "{other}");
        }
        let endless = verifier.replace("$4096:", "$4000000000:");
        assert!(!verifies(&endless, "a"));
    }
}
