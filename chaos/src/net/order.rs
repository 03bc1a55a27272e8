//! What a network and its switch say to each other: one line of JSON each, an answer to every order.

use serde::{Deserialize, Serialize};

use super::link::{Count, Link};

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// All at one moment; regions by their place in the list.
    Set(Vec<(usize, usize, Link)>),
    Count {
        from: usize,
        to: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The first, before any order: all regions are joined.
    Ready,
    Done,
    Count(Count),
    Failed(String),
}
