use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A certificate for `localhost` that certifies itself.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.der().clone(), PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()))
}

async fn serving(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Little {
    let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Little::start(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                let _ = stream.write_all(answer).await;
                let _ = stream.flush().await;
            }
        }
    })
    .await
}

fn trusting(certificate: &CertificateDer<'static>) -> Prober {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    Prober::new(Host::system(), Roots::These(Arc::new(roots)))
}

fn get(host: &str, little: &Little) -> Check {
    let port = little.address.rsplit_once(':').unwrap().1;
    let url = format!("https://{host}:{port}/");
    check(Probe::Http { url, expect_status: Vec::new(), expect_body: Some("ok".into()) })
}

#[tokio::test]
async fn a_certified_target_passes_by_either_version_and_is_used_again() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (certificate, key) = certificate();
        let little = serving(certificate.clone(), key, &[version]).await;
        let prober = trusting(&certificate);
        for _ in 0..3 {
            assert_eq!(prober.probe(&get("localhost", &little), SOON).await, Ok(()));
        }
        assert_eq!(little.accepted(), 1);
    }
}

#[tokio::test]
async fn another_name_or_another_authority_fails() {
    let (own, key) = certificate();
    let little = serving(own.clone(), key, rustls::ALL_VERSIONS).await;
    let other_name = trusting(&own).probe(&get("127.0.0.1", &little), SOON).await.unwrap_err();
    assert!(other_name.starts_with("TLS: "), "{other_name}");
    let stranger = trusting(&certificate().0).probe(&get("localhost", &little), SOON).await.unwrap_err();
    assert!(stranger.starts_with("TLS: "), "{stranger}");
}

#[tokio::test]
async fn a_plain_server_is_no_secure_one() {
    let little = Little::start(|_, mut stream| async move {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let error = trusting(&certificate().0).probe(&get("localhost", &little), SOON).await.unwrap_err();
    assert!(error.starts_with("TLS: "), "{error}");
}
