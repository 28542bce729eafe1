//! Answers as JSON.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::problem::Problem;

const JSON: &str = "application/json; charset=utf-8";

/// The answer of a successful call.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    body: Value,
}

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body }
    }

    pub(super) fn created(body: Value) -> Self {
        Self { status: StatusCode::CREATED, body }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        (self.status, [(CONTENT_TYPE, JSON)], self.body.to_string()).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = Reply { status, body: self.body() };
        match status {
            StatusCode::UNAUTHORIZED => ([(WWW_AUTHENTICATE, "Bearer")], reply).into_response(),
            _ => reply.into_response(),
        }
    }
}
