//! Certificates, keys and authorities change under a running server.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::*;
use wire::connect::{ChannelOptions, channel};
use wire::host::Host;
use wire::listen::HandshakeLimits;
use wire::serve::ServeLimits;
use wire::tls::{Credentials, CredentialsError, Expect, Pem};

const POLL: Duration = Duration::from_millis(20);

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn fresh_channel(credentials: &Credentials, address: &str) -> tonic::transport::Channel {
    channel(&Host::system(), credentials, address, Expect::AnyController, ChannelOptions::default())
}

#[tokio::test]
async fn certificate_and_authority_change_without_restart() {
    let (old, new) = (authority("c1"), authority("c1"));
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    old.write(&issue(&old, &controller(1)), &files).unwrap();
    let serving = Credentials::load(files.clone(), Host::system().clock).unwrap();
    let watching = serving.clone();
    let watch = tokio::spawn(async move { watching.watch(POLL).await });
    let server = whoami(&serving, HandshakeLimits::default(), ServeLimits::peers()).await;

    let old_operator = credentials(&old, &operator());
    let standing = fresh_channel(&old_operator, &server.address);
    assert_eq!(ask(&standing).await.unwrap(), "spiffe://c1/operator/ana");

    // A longer certificate of the same authority.
    let before = serving.not_after();
    let longer = old.issue(&Host::system(), &controller(1), &[], 2 * DAY).unwrap();
    old.write(&longer, &files).unwrap();
    until("the longer certificate is taken", || serving.not_after() > before).await;
    assert!(ask(&fresh_channel(&old_operator, &server.address)).await.is_ok());

    // Nonsense changes nothing.
    let in_use = serving.not_after();
    fs::write(&files.certificate, "half a cert").unwrap();
    assert!(serving.reload().is_err() || !serving.reload().unwrap(), "refused here or by the watcher");
    assert_eq!(serving.not_after(), in_use);
    assert!(ask(&fresh_channel(&old_operator, &server.address)).await.is_ok());

    // Another authority: whom the old one vouched for is a stranger now, except on standing connections.
    let issued = new.issue(&Host::system(), &controller(1), &[], 3 * DAY).unwrap();
    new.write(&issued, &files).unwrap();
    until("the new authority is taken", || serving.not_after() > in_use).await;
    let new_operator = credentials(&new, &operator());
    assert!(ask(&fresh_channel(&new_operator, &server.address)).await.is_ok());
    let refusal = ask(&fresh_channel(&old_operator, &server.address)).await.unwrap_err();
    assert!(refusal.contains("none of the authorities trusted here"), "{refusal}");
    assert!(ask(&standing).await.is_ok(), "standing connections go on");
    watch.abort();
}

#[tokio::test]
async fn while_authorities_overlap_both_are_trusted() {
    let (old, new) = (authority("c1"), authority("c1"));
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem()).into_bytes();
    let server_pem = Pem { ca: both.clone(), ..old.pem(&issue(&old, &controller(1))) };
    let serving = Credentials::from_pem(server_pem, Host::system().clock).unwrap();
    let server = whoami(&serving, HandshakeLimits::default(), ServeLimits::peers()).await;
    for authority in [&old, &new] {
        let pem = Pem { ca: both.clone(), ..authority.pem(&issue(authority, &operator())) };
        let caller = Credentials::from_pem(pem, Host::system().clock).unwrap();
        assert!(ask(&fresh_channel(&caller, &server.address)).await.is_ok());
    }
}

#[test]
fn a_fault_is_told_once_and_identity_stays() {
    let authority = authority("c1");
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let first = issue(&authority, &controller(1));
    authority.write(&first, &files).unwrap();
    let credentials = Credentials::load(files.clone(), Host::system().clock).unwrap();
    assert!(!credentials.reload().unwrap(), "nothing changed");

    // Somebody else's certificate: refused, and not complained of twice.
    authority.write(&issue(&authority, &controller(2)), &files).unwrap();
    assert!(matches!(credentials.reload(), Err(CredentialsError::OtherIdentity { .. })));
    assert!(!credentials.reload().unwrap());
    assert_eq!(credentials.id().identity, controller(1));

    // A key that is not there, likewise.
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(credentials.reload(), Err(CredentialsError::Read { .. })));
    assert!(!credentials.reload().unwrap());

    authority.write(&first, &files).unwrap();
    assert!(credentials.reload().unwrap(), "good again");
}
