//! What the browser may do for the page: run its one script, apply its one style sheet, and ask
//! this server. Whatever text might slip through could still not act (CSP level 2, hashes).

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

pub(in crate::http) fn content_security_policy() -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source(super::JS),
        source(super::CSS)
    )
}

fn source(inline: &str) -> String {
    format!("sha256-{}", BASE64.encode(&Sha256::digest(inline)))
}
