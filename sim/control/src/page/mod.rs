//! The web page, as files in the program.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

/// Content security policy: only files of the page, no inline code, no embedding in frames.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, media type and content of each file.
const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("/main.js", SCRIPT, include_str!("main.js")),
    ("/api.js", SCRIPT, include_str!("api.js")),
    ("/detail.js", SCRIPT, include_str!("detail.js")),
    ("/dom.js", SCRIPT, include_str!("dom.js")),
    ("/views.js", SCRIPT, include_str!("views.js")),
    ("/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// Returns true if a file of the page has this path.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

/// Returns a router of the files.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(move || async move { ([(CONTENT_TYPE, kind)], content) }))
    })
}
