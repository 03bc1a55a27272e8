//! A connection that opens is enough.

use super::open::Opener;

pub(super) async fn probe(opener: &Opener, address: &str) -> Result<(), String> {
    opener.plain(address).await.map(drop)
}
