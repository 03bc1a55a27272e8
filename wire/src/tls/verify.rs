//! Verifying a peer: the chain by webpki, as always, but the name by its URI in place of DNS.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::error::Refused;
use super::expect::Expect;
use crate::identity::{SpiffeId, TrustDomain};

/// Reads whom a verified certificate names, and refuses other clusters.
pub(super) fn member_of(ours: &TrustDomain, certificate: &CertificateDer<'_>) -> Result<SpiffeId, Refused> {
    let found = SpiffeId::from_certificate(certificate)?;
    if found.trust_domain != *ours {
        return Err(Refused::OtherCluster { ours: ours.clone(), found: Box::new(found) });
    }
    Ok(found)
}

/// A server's view of its clients: any part of our cluster may connect; what it may then call is
/// decided call by call.
#[derive(Debug)]
pub(super) struct VerifyClient {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) trust_domain: TrustDomain,
}

impl ClientCertVerifier for VerifyClient {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        member_of(&self.trust_domain, end_entity)?;
        Ok(verified)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Clients have one certificate; hints would only tell strangers our authority's name.
        &[]
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A client's view of the server: of our cluster, and the one it means to reach.
#[derive(Debug)]
pub(super) struct VerifyServer {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) trust_domain: TrustDomain,
    pub(super) expect: Expect,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for VerifyServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let found = member_of(&self.trust_domain, end_entity)?;
        if !self.expect.admits(&found.identity) {
            return Err(Refused::Unexpected { expected: self.expect.clone(), found: Box::new(found) }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
