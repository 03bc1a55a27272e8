//! A certificate authority for development and tests: one self-signed root on disk that issues to
//! every part of a cluster. In production the operator's own authority issues the same names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use decision::time::Time;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber,
};
use thiserror::Error;
use time::OffsetDateTime;

use crate::host::Host;
use crate::identity::{Identity, IdentityError, Role, TrustDomain};
use crate::tls::{Files, Pem};

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
const TRUST_DOMAIN_FILE: &str = "trust-domain";
/// Certificates begin earlier than now by this, for machines whose clocks are behind.
const BACKDATE: Duration = Duration::from_secs(300);

/// The root of one cluster, with its private key.
pub struct Authority {
    trust_domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: String,
}

/// What was issued: certificate and private key, PEM.
#[derive(Clone)]
pub struct CertPair {
    pub certificate_pem: String,
    pub key_pem: String,
}

/// A further name of a certificate, for clients that are no part of Regent, such as a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtraName {
    Dns(String),
    Ip(IpAddr),
}

#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("cannot make the certificate: {0}")]
    Issue(#[from] rcgen::Error),
}

impl Authority {
    /// A new root, in memory only until saved.
    pub fn create(
        host: &Host,
        trust_domain: TrustDomain,
        validity: Duration,
    ) -> Result<Authority, AuthorityError> {
        Authority::of_key(KeyPair::generate()?, host, trust_domain, validity)
    }

    /// The same with keys whose signatures are all of one length, so that a simulation of it repeats to the byte.
    /// Browsers do not take them.
    pub fn create_even(
        host: &Host,
        trust_domain: TrustDomain,
        validity: Duration,
    ) -> Result<Authority, AuthorityError> {
        Authority::of_key(KeyPair::generate_for(&PKCS_ED25519)?, host, trust_domain, validity)
    }

    fn of_key(
        key: KeyPair,
        host: &Host,
        trust_domain: TrustDomain,
        validity: Duration,
    ) -> Result<Authority, AuthorityError> {
        // Roots that replace each other need different names, or verifiers try the wrong one's key.
        let name = format!("Regent development CA of {trust_domain}, {:08x}", host.random.next_u64() as u32);
        let mut params = params(host, validity, &name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(trust_domain.uri().try_into()?)];
        let certificate_pem = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Authority { trust_domain, issuer: Issuer::new(params, key), certificate_pem, key_pem })
    }

    /// Reads what `save` wrote.
    pub fn load(folder: &Path) -> Result<Authority, AuthorityError> {
        let read = |name| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| AuthorityError::File { path, error })
        };
        let trust_domain = TrustDomain::new(read(TRUST_DOMAIN_FILE)?.trim())?;
        let (certificate_pem, key_pem) = (read(CERTIFICATE_FILE)?, read(KEY_FILE)?);
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, KeyPair::from_pem(&key_pem)?)?;
        Ok(Authority { trust_domain, issuer, certificate_pem, key_pem })
    }

    /// Writes the root into a folder, which is made if need be. The private key is readable by its
    /// owner only. The certificate comes last: where it lies, the rest does.
    pub fn save(&self, folder: &Path) -> Result<(), AuthorityError> {
        fs::create_dir_all(folder)
            .map_err(|error| AuthorityError::File { path: folder.to_owned(), error })?;
        write_private(&folder.join(KEY_FILE), self.key_pem.as_bytes())?;
        write_public(&folder.join(TRUST_DOMAIN_FILE), self.trust_domain.as_str().as_bytes())?;
        write_public(&folder.join(CERTIFICATE_FILE), self.certificate_pem.as_bytes())
    }

    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A fresh key, of the root's own kind, and a certificate for it. Operators get one that cannot serve.
    pub fn issue(
        &self,
        host: &Host,
        identity: &Identity,
        extra_names: &[ExtraName],
        validity: Duration,
    ) -> Result<CertPair, AuthorityError> {
        let uri = identity.in_domain(&self.trust_domain)?.to_string();
        let mut params = params(host, validity, &identity.to_string());
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        for name in extra_names {
            params.subject_alt_names.push(match name {
                ExtraName::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
                ExtraName::Ip(address) => SanType::IpAddress(*address),
            });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match identity.role() {
            Role::Controller | Role::Agent => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Role::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        let key = KeyPair::generate_for(self.issuer.key().algorithm())?;
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(CertPair { certificate_pem, key_pem: key.serialize_pem() })
    }

    /// What a part of this cluster needs, in memory.
    pub fn pem(&self, pair: &CertPair) -> Pem {
        Pem {
            certificate: pair.certificate_pem.clone().into_bytes(),
            key: pair.key_pem.clone().into_bytes(),
            ca: self.certificate_pem.clone().into_bytes(),
        }
    }

    /// The same as files. Each is replaced whole, so that a running part reads old or new, never half;
    /// what does not fit together in between it refuses, and looks again.
    pub fn write(&self, pair: &CertPair, files: &Files) -> Result<(), AuthorityError> {
        write_private(&files.key, pair.key_pem.as_bytes())?;
        write_public(&files.certificate, pair.certificate_pem.as_bytes())?;
        write_public(&files.ca, self.certificate_pem.as_bytes())
    }
}

fn params(host: &Host, validity: Duration, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // Positive and never empty: RFC 5280, 4.1.2.2.
    let serial = (host.random.next_u64() >> 1) | 1;
    params.serial_number = Some(SerialNumber::from(serial));
    let now = host.clock.now();
    params.not_before = calendar(now - BACKDATE);
    params.not_after = calendar(now + validity);
    params
}

/// X.509 knows whole seconds only; times beyond the year 9999 become its end.
fn calendar(time: Time) -> OffsetDateTime {
    const END_OF_9999_S: i64 = 253_402_300_799;
    let seconds = i64::try_from(time.0 / 1_000).unwrap_or(END_OF_9999_S).min(END_OF_9999_S);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn write_private(path: &Path, contents: &[u8]) -> Result<(), AuthorityError> {
    replace(path, contents, 0o600).map_err(|error| AuthorityError::File { path: path.to_owned(), error })
}

fn write_public(path: &Path, contents: &[u8]) -> Result<(), AuthorityError> {
    replace(path, contents, 0o644).map_err(|error| AuthorityError::File { path: path.to_owned(), error })
}

/// Written beside, synced, then renamed over: a crash leaves the old file or the new one.
fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let beside = folder.join(name);
    // A leftover might have wider permissions, which opening would keep.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn saved_and_loaded_it_issues_what_it_issued_before() {
        let host = Host::system();
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("ca");
        let day = Duration::from_secs(86_400);
        let made = Authority::create(&host, TrustDomain::new("c1").unwrap(), day).unwrap();
        made.save(&folder).unwrap();
        let loaded = Authority::load(&folder).unwrap();
        assert_eq!(loaded.certificate_pem(), made.certificate_pem());
        assert_eq!(loaded.trust_domain().as_str(), "c1");
        let mode = fs::metadata(folder.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let identity = Identity::Operator { name: "ana".into() };
        let pair = loaded.issue(&host, &identity, &[ExtraName::Dns("localhost".into())], day).unwrap();
        let credentials = crate::tls::Credentials::from_pem(made.pem(&pair), host.clock.clone()).unwrap();
        assert_eq!(credentials.id().to_string(), "spiffe://c1/operator/ana");
        let left = credentials.not_after().since(host.clock.now());
        assert!(left <= day && left > day - Duration::from_secs(60), "{left:?}");
    }

    #[test]
    fn replacing_narrows_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
