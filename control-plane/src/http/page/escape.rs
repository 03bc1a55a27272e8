//! Text that others wrote, made harmless in HTML.

use std::borrow::Cow;

/// For element content and for attribute values in double or single quotes.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_leaves_its_element_or_attribute() {
        assert_eq!(escape("eu-west-1 → größer"), "eu-west-1 → größer");
        assert_eq!(escape(r#"</p><script>'a"&b"#), "&lt;/p&gt;&lt;script&gt;&#39;a&quot;&amp;b");
    }
}
