//! Requests to the API: paths, parameters, and their encoding.
//!
//! PVE accepts neither chunked bodies nor bodies of DELETE requests.

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const SEGMENT: AsciiSet = PLAIN.remove(b':').remove(b'@').remove(b'!').remove(b'=').remove(b',');

/// Returns one part of a path, escaped.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, &SEGMENT).to_string()
}

/// Parameters in order. A key may occur more than once.
#[derive(Default, Clone)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.0.push((key.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn with_some(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a flag as `1` or `0`, because PVE accepts no other words.
    pub(crate) fn with_flag(self, key: &str, value: bool) -> Self {
        self.with(key, u8::from(value))
    }

    pub(crate) fn extend(mut self, pairs: &[(&str, &str)]) -> Self {
        self.0.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self
    }

    pub(crate) fn encode(&self) -> String {
        let escape = |text: &str| utf8_percent_encode(text, &PLAIN).to_string();
        let pairs: Vec<String> =
            self.0.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
        pairs.join("&")
    }
}

/// A file to upload.
pub(crate) struct Upload {
    pub(crate) content: &'static str,
    pub(crate) filename: String,
    pub(crate) sha256: String,
    pub(crate) bytes: Bytes,
}

/// Body of a request.
pub(crate) enum Body {
    None,
    Form(String),
    Upload(Upload),
}

/// One request.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) name: &'static str,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Body,
}

impl Call {
    pub(crate) fn get(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::GET, name: "GET", path, query: parameters.encode(), body: Body::None }
    }

    /// Makes a DELETE request. Its parameters are in the query, because PVE accepts no body.
    pub(crate) fn delete(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::DELETE, name: "DELETE", path, query: parameters.encode(), body: Body::None }
    }

    pub(crate) fn post(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::POST, name: "POST", path, query: String::new(), body: Body::Form(parameters.encode()) }
    }

    pub(crate) fn put(path: String, parameters: &Parameters) -> Self {
        Self { method: Method::PUT, name: "PUT", path, query: String::new(), body: Body::Form(parameters.encode()) }
    }

    pub(crate) fn upload(path: String, upload: Upload) -> Self {
        Self { method: Method::POST, name: "POST", path, query: String::new(), body: Body::Upload(upload) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_order_and_repeat_keys() {
        let parameters = Parameters::default()
            .with("command", "/bin/sh")
            .with("command", "a b&c=ü+/")
            .with_flag("full", false)
            .with_some("pool", None::<&str>);
        assert_eq!(parameters.encode(), "command=%2Fbin%2Fsh&command=a%20b%26c%3D%C3%BC%2B%2F&full=0");
    }

    #[test]
    fn a_volume_id_stays_one_segment() {
        assert_eq!(segment("local:iso/../x y.iso"), "local:iso%2F..%2Fx%20y.iso");
        assert_eq!(segment("UPID:pve1:00:00:00:qmclone:9000:ci@pve!t1:"), "UPID:pve1:00:00:00:qmclone:9000:ci@pve!t1:");
    }
}
