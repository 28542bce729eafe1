//! Calls from inside the process: without HTTP and its authentication, but with every check behind those.

use serde_json::Value;

use super::dispatch::{self, Request};
use crate::params::{Param, Params};
use crate::server::Handle;

/// A call that was refused.
#[derive(Debug, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Refused {
    /// HTTP status that the front would answer with.
    pub status: u16,
    /// PVE's words, with what is wrong about each parameter.
    pub reason: String,
}

impl Handle {
    /// Carries out, at the first node, a call of `caller` (`user@realm`, a token with `!name`). `path` is below `/api2/json`; the answer is
    /// what would be its `data`.
    ///
    /// # Errors
    /// When PVE would refuse it.
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
            halfway: None,
        };
        match dispatch::run(self.engine(), request).await {
            Ok(reply) => Ok(reply.into_data()),
            Err(refusal) => Err(Refused { status: refusal.status, reason: refusal.explained() }),
        }
    }
}
