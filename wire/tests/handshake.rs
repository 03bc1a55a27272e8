//! Who may shake hands with whom, over real sockets: each refusal is seen at both ends, with its reason.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wire::authority::{Authority, CertPair};
use wire::host::Host;
use wire::tls::{Credentials, CredentialsError, Expect, Pem, reason};

/// What server and client made of it. The client counts as satisfied only when it read a byte from
/// the server, for in TLS 1.3 its own handshake ends before the server has judged it.
async fn shake(server: Arc<ServerConfig>, client: ClientConfig) -> (Result<(), String>, Result<(), String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (io, _) = listener.accept().await.unwrap();
        match TlsAcceptor::from(server).accept(io).into_fallible().await {
            Ok(mut stream) => stream.write_all(b"!").await.map_err(|error| error.to_string()),
            Err((error, mut io)) => {
                io.shutdown().await.ok();
                let mut rest = Vec::new();
                io.read_to_end(&mut rest).await.ok();
                Err(reason(&error))
            }
        }
    };
    let calling = async {
        let io = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("regent").unwrap();
        let mut stream =
            TlsConnector::from(Arc::new(client)).connect(name, io).await.map_err(|error| reason(&error))?;
        stream.read_u8().await.map(|_| ()).map_err(|error| reason(&error))
    };
    tokio::time::timeout(SOON, async { tokio::join!(serving, calling) }).await.expect("ends in time")
}

fn client(credentials: &Credentials, expect: Expect) -> ClientConfig {
    (*credentials.client_config(expect).unwrap()).clone()
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}

fn certified(pair: &CertPair) -> SingleCertAndKey {
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).unwrap().into()
}

/// Issued by the same key, with whatever URIs.
fn with_uris(authority: &Authority, uris: &[&str]) -> CertPair {
    let folder = tempfile::tempdir().unwrap();
    authority.save(folder.path()).unwrap();
    let ca_key = KeyPair::from_pem(&fs::read_to_string(folder.path().join("ca-key.pem")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(authority.certificate_pem(), ca_key).unwrap();
    let mut params = CertificateParams::new(vec!["regent".to_owned()]).unwrap();
    params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
    let key = KeyPair::generate().unwrap();
    CertPair { certificate_pem: params.signed_by(&key, &issuer).unwrap().pem(), key_pem: key.serialize_pem() }
}

#[tokio::test]
async fn every_role_is_let_in_and_every_expected_server_is_taken() {
    let authority = authority("c1");
    let servers = [
        (controller(1), Expect::AnyController),
        (controller(7), Expect::Member(7)),
        (agent("us-east-1"), Expect::Agent(decision::name::AgentId::new("us-east-1", 1))),
        (agent("us-east-1"), Expect::AnyAgent),
    ];
    for (server, expect) in servers {
        let server = credentials(&authority, &server);
        for caller in [controller(2), agent("eu-west-1"), operator()] {
            let caller = client(&credentials(&authority, &caller), expect.clone());
            assert_eq!(shake(server.server_config(), caller).await, (Ok(()), Ok(())), "{expect}");
        }
    }
}

#[tokio::test]
async fn callers_without_a_proper_certificate_are_refused_with_the_reason() {
    let authority = authority("c1");
    let server = credentials(&authority, &controller(1)).server_config();
    let good = client(&credentials(&authority, &operator()), Expect::AnyController);

    let long_ago = host_at(Host::system().clock.now() - 3 * DAY);
    let elsewhere = {
        let folder = tempfile::tempdir().unwrap();
        authority.save(folder.path()).unwrap();
        fs::write(folder.path().join("trust-domain"), "c2").unwrap();
        Authority::load(folder.path()).unwrap()
    };
    let good_uri = "spiffe://c1/operator/ana";
    let cases: [(&str, CertPair, &str, &str); 8] = [
        (
            "other CA",
            issue(&support::authority("c1"), &operator()),
            "none of the authorities trusted here",
            "UnknownCA",
        ),
        (
            "other cluster",
            issue(&elsewhere, &operator()),
            "belongs to another cluster; this is c1",
            "CertificateUnknown",
        ),
        (
            "expired",
            authority.issue(&long_ago, &operator(), &[], DAY).unwrap(),
            "certificate expired",
            "CertificateExpired",
        ),
        (
            "not valid yet",
            authority.issue(&host_at(Host::system().clock.now() + DAY), &operator(), &[], DAY).unwrap(),
            "certificate not valid yet",
            "CertificateExpired",
        ),
        (
            "two URIs",
            with_uris(&authority, &[good_uri, "spiffe://c1/controller/r/1"]),
            "names 2 URIs",
            "CertificateUnknown",
        ),
        (
            "the same URI twice",
            with_uris(&authority, &[good_uri, good_uri]),
            "names 2 URIs",
            "CertificateUnknown",
        ),
        ("no URI", with_uris(&authority, &[]), "names nobody", "CertificateUnknown"),
        (
            "foreign URI",
            with_uris(&authority, &["spiffe://c1/root/x"]),
            "names no part of a cluster",
            "CertificateUnknown",
        ),
    ];
    for (case, pair, at_server, at_client) in cases {
        let mut caller = good.clone();
        caller.client_auth_cert_resolver = Arc::new(certified(&pair));
        let (served, called) = shake(Arc::clone(&server), caller).await;
        let (served, called) = (served.unwrap_err(), called.unwrap_err());
        assert!(served.contains(at_server), "{case}: {served}");
        assert!(called.contains(at_client), "{case}: {called}");
    }

    let mut caller = good.clone();
    caller.client_auth_cert_resolver = Arc::new(NoCertificate);
    let (served, called) = shake(Arc::clone(&server), caller).await;
    assert!(served.unwrap_err().contains("the peer presented no certificate"));
    assert!(called.unwrap_err().contains("CertificateRequired"));

    assert_eq!(shake(server, good).await, (Ok(()), Ok(())), "the comparison itself is let in");
}

#[tokio::test]
async fn a_client_refuses_whom_it_did_not_expect() {
    let authority = authority("c1");
    let caller = credentials(&authority, &agent("eu-west-1"));
    let cases = [
        (issue(&authority, &agent("us-east-1")), Expect::AnyController, "expected a controller"),
        (issue(&authority, &controller(2)), Expect::Member(1), "expected the controller with member id 1"),
        (issue(&authority, &controller(1)), Expect::AnyAgent, "expected an agent"),
        (
            issue(&authority, &agent("us-east-1")),
            Expect::Agent(decision::name::AgentId::new("us-east-1", 2)),
            "expected the agent us-east-1/2",
        ),
        (
            issue(&support::authority("c1"), &controller(1)),
            Expect::AnyController,
            "none of the authorities trusted here",
        ),
        // An operator's certificate is for calling only.
        (issue(&authority, &operator()), Expect::AnyController, "not meant for this use"),
        (with_uris(&authority, &["spiffe://c2/controller/r/1"]), Expect::AnyController, "another cluster"),
        (with_uris(&authority, &[]), Expect::AnyController, "names nobody"),
    ];
    for (pair, expect, reason) in cases {
        let mut server = (*credentials(&authority, &controller(1)).server_config()).clone();
        server.cert_resolver = Arc::new(certified(&pair));
        let (served, called) = shake(Arc::new(server), client(&caller, expect.clone())).await;
        let called = called.unwrap_err();
        assert!(called.contains(reason), "{expect}: {called}");
        assert!(served.is_err());
    }
}

#[derive(Debug)]
struct TakeAnything;

impl ServerCertVerifier for TakeAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let authority = authority("c1");
    let server = credentials(&authority, &controller(1)).server_config();
    for (version, accepted) in [(&rustls::version::TLS12, false), (&rustls::version::TLS13, true)] {
        let caller = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakeAnything))
            .with_client_cert_resolver(Arc::new(certified(&issue(&authority, &operator()))));
        let (served, called) = shake(Arc::clone(&server), caller).await;
        assert_eq!(served.is_ok(), accepted, "{served:?}");
        assert_eq!(called.is_ok(), accepted, "{called:?}");
        if !accepted {
            assert!(called.unwrap_err().contains("ProtocolVersion"));
        }
    }
}

#[test]
fn bad_files_are_refused_with_the_file_named() {
    let authority = authority("c1");
    let pair = issue(&authority, &controller(1));
    let good = authority.pem(&pair);
    let other = issue(&authority, &controller(2));
    let cases: [(Pem, &str); 8] = [
        (Pem { certificate: b"".to_vec(), ..good.clone() }, "the certificate holds no certificate in PEM"),
        (Pem { key: b"rubbish".to_vec(), ..good.clone() }, "the key holds no private key in PEM"),
        (Pem { ca: b"\n".to_vec(), ..good.clone() }, "the CA holds no certificate in PEM"),
        (
            Pem { certificate: good.certificate[..200].to_vec(), ..good.clone() },
            "the certificate is not readable PEM",
        ),
        (Pem { key: other.key_pem.into_bytes(), ..good.clone() }, "does not belong to the certificate"),
        (
            Pem { ca: support::authority("c1").certificate_pem().into(), ..good.clone() },
            "the certificate was not issued by an authority in the CA: the certificate's issuer is none",
        ),
        (
            authority.pem(&with_uris(&authority, &[])),
            "the certificate: the certificate names nobody: it has no URI",
        ),
        (
            Pem {
                ca: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
                ..good.clone()
            },
            "the CA holds no usable certificate authority",
        ),
    ];
    for (pem, reason) in cases {
        let error = Credentials::from_pem(pem, Host::system().clock).err().expect("refused").to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    let missing = support::files(std::path::Path::new("/nonexistent"));
    let error = Credentials::load(missing, Host::system().clock).err().expect("refused");
    assert!(
        matches!(&error, CredentialsError::Read { file, .. } if file == "/nonexistent/cert.pem"),
        "{error}"
    );
}

#[test]
fn an_expired_certificate_of_our_own_still_lets_us_start() {
    let authority = authority("c1");
    let long_ago = host_at(Host::system().clock.now() - 3 * DAY);
    let pair = authority.issue(&long_ago, &agent("eu-west-1"), &[], DAY).unwrap();
    let credentials = Credentials::from_pem(authority.pem(&pair), Host::system().clock).unwrap();
    assert!(credentials.not_after() < Host::system().clock.now());
}
