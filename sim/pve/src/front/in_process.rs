//! Calls from inside the process, with all checks except those of HTTP and authentication.

use serde_json::Value;

use super::dispatch::{self, Request};
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

impl Handle {
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
