//! What a controller serves over mutual TLS: to other controllers, agents and operators.

pub mod agents;
pub mod drills;
pub mod members;
pub mod operator;

use tonic::{Request, Status};
use wire::identity::Identity;
use wire::listen::Peer;

/// Who calls. The listener put it there; without it nothing is served.
fn caller<T>(request: &Request<T>) -> Result<Identity, Status> {
    request
        .extensions()
        .get::<Peer>()
        .map(|peer| peer.id.identity.clone())
        .ok_or_else(|| Status::unauthenticated("no verified certificate"))
}
