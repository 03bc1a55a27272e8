//! The HTTP faces of a controller. [`public`] is for anybody and only shows how things are;
//! [`private`] is for operators and is served beside gRPC, over mutual TLS. Both know the
//! controller only as a [`Backend`].

mod backend;
mod cache;
mod metrics;
mod page;
mod private;
mod problem;
mod public;
mod statuspage;
mod v1;

pub use backend::Backend;
pub use private::{private, private_paths};
pub use public::{public, public_paths};
pub use v1::openapi::document as openapi;
