//! Faults on demand: the next call that matches is refused, delayed, or loses its answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not carried out; this status and text are the answer.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Reason phrase and message.
        text: String,
    },
    /// Carried out after this much simulated time.
    Delay(Duration),
    /// Carried out, but the connection is closed without an answer.
    DropReply,
}

#[derive(Debug, Clone)]
struct Rule {
    method: String,
    path: String,
    fault: Fault,
    times: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    rules: Arc<Mutex<Vec<Rule>>>,
    fired: Arc<Mutex<Vec<String>>>,
}

impl Faults {
    /// `path` may hold `*` for any text.
    pub(crate) fn add(&self, method: &str, path: &str, fault: Fault, times: u32) {
        let rule = Rule { method: method.to_owned(), path: path.to_owned(), fault, times };
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// What happens before the call is carried out.
    pub(crate) fn take_before(&self, method: &str, path: &str) -> Option<Fault> {
        self.take(method, path, |fault| *fault != Fault::DropReply)
    }

    /// Whether the call's answer gets lost.
    pub(crate) fn take_drop(&self, method: &str, path: &str) -> bool {
        self.take(method, path, |fault| *fault == Fault::DropReply).is_some()
    }

    fn take(&self, method: &str, path: &str, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let at =
            rules.iter().position(|rule| rule.method == method && wanted(&rule.fault) && fits(&rule.path, path))?;
        let fault = rules[at].fault.clone();
        rules[at].times -= 1;
        if rules[at].times == 0 {
            rules.remove(at);
        }
        let line = format!("{method} {path}: {fault:?}");
        self.fired.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Some(fault)
    }

    pub(crate) fn fired(&self) -> Vec<String> {
        self.fired.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(tail) = path.strip_prefix(head) else { return false };
    (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| fits(rest, &tail[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fires_as_often_as_asked_and_is_listed() {
        let faults = Faults::default();
        faults.add("POST", "/nodes/*/qemu/*/clone", Fault::DropReply, 1);
        assert!(!faults.take_drop("GET", "/nodes/pve1/qemu/9/clone"));
        assert_eq!(faults.take_before("POST", "/nodes/pve1/qemu/9/clone"), None);
        assert!(faults.take_drop("POST", "/nodes/pve1/qemu/9/clone"));
        assert!(!faults.take_drop("POST", "/nodes/pve1/qemu/9/clone"));
        assert_eq!(faults.fired().len(), 1);
    }
}
