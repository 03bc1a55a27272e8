//! A connection that opens is enough.

use wire::target::Opener;

pub(super) async fn probe(opener: &Opener, address: &str) -> Result<(), String> {
    opener.plain(address).await.map(drop)
}
