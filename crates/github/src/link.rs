//! The `Link` header, which contains the URL of the next page (RFC 8288).

/// Returns the target with `rel="next"`, if there is one.
pub(crate) fn next(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let header = "<https://h/x?page=1>; rel=\"prev\", <https://h/x?page=3>; rel=\"next\", <https://h/x?page=9>; rel=\"last\"";
        assert_eq!(next(header), Some("https://h/x?page=3"));
    }

    #[test]
    fn the_last_page_has_no_next() {
        assert_eq!(next("<https://h/x?page=1>; rel=\"first\", <https://h/x?page=2>; rel=\"prev\""), None);
        assert_eq!(next("nonsense, <unclosed; rel=\"next\""), None);
    }
}
