//! Calls from inside the process: whole requests, and calls without HTTP and authentication, with all other checks.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use serde_json::Value;

use super::dispatch::{self, Request};
use super::http::Front;
use crate::params::{Param, Params};
use crate::server::Handle;

/// A call that was refused.
#[derive(Debug, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Refused {
    /// HTTP status of the refusal.
    pub status: u16,
    /// Reason in PVE's words, with the error of each parameter.
    pub reason: String,
}

/// No answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The node is away, or does not exist: it takes no connection.
    #[error("the node takes no connection")]
    NoConnection,
    /// The connection ended: the request may have been carried out.
    #[error("the connection was closed without a complete answer")]
    Closed,
}

impl Handle {
    /// Answers a request as the API server of a node does over a connection of its own, with the same checks, faults and
    /// request log. Dropping the future is what closing the connection is.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn answer(&self, node: &str, request: hyper::Request<Bytes>) -> Result<Response<Bytes>, Unanswered> {
        let engine = self.engine();
        let (mut power_cuts, mut restarts) = (engine.power_cuts.subscribe(), engine.faults.restarts());
        if !engine.state().is_online(node) {
            return Err(Unanswered::NoConnection);
        }
        let away = async { while engine.state().is_online(node) && power_cuts.changed().await.is_ok() {} };
        let front = Front::new(engine.clone(), node);
        // In this order: what comes in after the end is not looked at any more.
        let response = tokio::select! {
            biased;
            () = away => return Err(Unanswered::Closed),
            _ = restarts.changed() => return Err(Unanswered::Closed),
            response = front.serve(request.map(Full::new)) => response.map_err(|_| Unanswered::Closed)?,
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Unanswered::Closed)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// Carries out a call at the first node as `caller` (`user@realm`, a token with `!name`). `path` is below
    /// `/api2/json`. Returns the `data` of the answer.
    ///
    /// # Errors
    /// When PVE would refuse the call.
    pub async fn call(
        &self,
        caller: &str,
        method: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Value, Refused> {
        let mut params = Params::default();
        parameters.iter().for_each(|(name, value)| params.push_form(name, Param::Text((*value).to_owned())));
        let asked = self.engine().state().first_node.clone();
        let request = Request {
            asked: &asked,
            method,
            path,
            caller: Some(caller.to_owned()),
            params,
            upload: None,
            task_fault: None,
        };
        match dispatch::run(self.engine(), request).await {
            Ok(reply) => Ok(reply.into_data()),
            Err(refusal) => Err(Refused { status: refusal.status, reason: refusal.explained() }),
        }
    }
}
