//! Keys and signatures (RFC 8945).

use std::fmt;

use decision::config::SecretSource;
use decision::name::DnsName;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{TSigVerifier, TSigner};

use super::error::DnsError;
use super::records::name;

/// How far the server's clock may be from ours, seconds (RFC 8945, 10).
const FUDGE_S: u16 = 300;

#[derive(Clone)]
pub struct TsigKey {
    name: String,
    signer: TSigner,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("TSIG algorithm {0:?} is not supported; use hmac-sha256, hmac-sha384 or hmac-sha512")]
    Algorithm(String),
    #[error("{0:?} is not a name for a TSIG key: {1}")]
    Name(String, String),
    /// The secret itself is never repeated.
    #[error("the secret of TSIG key {0:?} is not base64, such as `tsig-keygen` writes behind `secret`")]
    Secret(String),
    #[error("the secret of TSIG key {0:?} is empty")]
    Empty(String),
    #[error("the secret of a TSIG key was not read from file {0}: {1}")]
    File(String, std::io::Error),
    #[error("environment variable {0}, which should hold the secret of a TSIG key, is not set")]
    Env(String),
}

impl TsigKey {
    /// `secret` in base64, as servers write it.
    pub fn new(key_name: &str, algorithm: &str, secret: &str) -> Result<TsigKey, KeyError> {
        let algorithm = match algorithm.trim_end_matches('.').to_ascii_lowercase().as_str() {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            _ => return Err(KeyError::Algorithm(algorithm.to_owned())),
        };
        let parsed = name(&DnsName::new(key_name.to_ascii_lowercase()))
            .map_err(|error| KeyError::Name(key_name.to_owned(), error.to_string()))?;
        let secret = data_encoding::BASE64
            .decode(secret.trim().as_bytes())
            .map_err(|_| KeyError::Secret(key_name.to_owned()))?;
        if secret.is_empty() {
            return Err(KeyError::Empty(key_name.to_owned()));
        }
        let signer = TSigner::new(secret, algorithm.clone(), parsed, FUDGE_S)
            .map_err(|_| KeyError::Algorithm(algorithm.to_string()))?;
        Ok(TsigKey { name: key_name.to_owned(), signer })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Signs afresh: a signature is good for one message at one time.
    pub(super) fn sign(&self, message: &mut Message, now_s: u64) -> Result<TSigVerifier, DnsError> {
        let invalid =
            |why: String| DnsError::Invalid { what: format!("the message could not be signed: {why}") };
        message.take_signature();
        message
            .finalize(&self.signer, now_s)
            .map_err(|error| invalid(error.to_string()))?
            .ok_or_else(|| invalid("no signature came of it".into()))
    }

    /// Believes a reply only when it carries our signature over our request. A server that does
    /// not know the key, or got another secret, cannot sign: it says so in an unsigned TSIG record
    /// (RFC 8945, 5.2), which is told here in words.
    pub(super) fn check(
        &self,
        verifier: &mut TSigVerifier,
        reply: &Message,
        raw: &[u8],
        server: &str,
    ) -> Result<(), DnsError> {
        let refused = |why: &str, remedy: String| DnsError::Key {
            key: self.name.clone(),
            server: server.to_owned(),
            why: why.to_owned(),
            remedy,
        };
        let unauthentic =
            |why: String| DnsError::Unauthentic { key: self.name.clone(), server: server.to_owned(), why };
        let Some(signature) = &reply.signature else {
            return match reply.metadata.response_code {
                // PowerDNS says no more to a key or secret that it does not know.
                rcode @ (ResponseCode::NotAuth
                | ResponseCode::Refused
                | ResponseCode::NotImp
                | ResponseCode::FormErr) => Err(refused(
                    &format!("it answered {rcode} without a signature, as to a key or a secret that it does not know"),
                    "define the key there with this name, algorithm and secret, and allow it to query and to update"
                        .into(),
                )),
                rcode => Err(unauthentic(format!("it answered {rcode} without a signature"))),
            };
        };
        let algorithm = self.signer.algorithm();
        match signature.data.error {
            Some(TsigError::BadKey) => Err(refused(
                "the server does not know a key of this name and algorithm (BADKEY)",
                format!(
                    "define it there with algorithm {algorithm}, or name in regions.yml the key that is defined there"
                ),
            )),
            Some(TsigError::BadSig) => Err(refused(
                "the server has a key of this name with another secret (BADSIG)",
                "put the server's secret where regions.yml says that it is found".into(),
            )),
            Some(TsigError::BadTime) => Err(refused(
                &format!("its clock and ours are more than {FUDGE_S} s apart (BADTIME)"),
                "set both clocks by NTP".into(),
            )),
            Some(error) => Err(refused(&format!("{error:?}"), "see the server's log".into())),
            None => verifier.verify(raw).map(drop).map_err(|error| unauthentic(error.to_string())),
        }
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({:?})", self.name)
    }
}

/// Reads a secret; afresh for every step, so that a rotated one is taken up without a restart.
pub async fn read_secret(
    source: &SecretSource,
    env: impl Fn(&str) -> Option<String>,
) -> Result<String, KeyError> {
    match source {
        SecretSource::File(path) => {
            tokio::fs::read_to_string(path).await.map_err(|error| KeyError::File(path.clone(), error))
        }
        SecretSource::Env(variable) => env(variable).ok_or_else(|| KeyError::Env(variable.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_without_telling_the_secret() {
        let error = |name, algorithm, secret| TsigKey::new(name, algorithm, secret).unwrap_err().to_string();
        assert!(error("k", "hmac-md5", "c2VjcmV0").contains("hmac-sha256"));
        assert!(error("k", "hmac-sha256", "").contains("empty"));
        assert!(error("", "hmac-sha256", "c2VjcmV0").contains("not a name"));
        let error = error("k", "hmac-sha256", "not base64!");
        assert!(!error.contains("not base64!"), "{error}");
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let key = TsigKey::new("k.example.", "HMAC-SHA256.", " c2VjcmV0\n").unwrap();
        assert_eq!(format!("{key:?}"), "TsigKey(\"k.example.\")");
    }
}
