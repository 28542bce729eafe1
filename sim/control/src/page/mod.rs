//! The page for people: plain files inside the program.

/// Nothing from elsewhere, nothing inline, in nobody's frame.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// One of its files.
#[derive(Debug)]
pub(super) struct File {
    pub(super) kind: &'static str,
    pub(super) content: &'static str,
}

/// The file at a path.
pub(super) fn file(path: &str) -> Option<File> {
    let (kind, content) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("index.html")),
        "/style.css" => ("text/css; charset=utf-8", include_str!("style.css")),
        "/main.js" => (SCRIPT, include_str!("main.js")),
        "/api.js" => (SCRIPT, include_str!("api.js")),
        "/detail.js" => (SCRIPT, include_str!("detail.js")),
        "/dom.js" => (SCRIPT, include_str!("dom.js")),
        "/views.js" => (SCRIPT, include_str!("views.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("icon.svg")),
        _ => return None,
    };
    Some(File { kind, content })
}
