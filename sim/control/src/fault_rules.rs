//! Fault rules in the API's JSON form.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Control, Service};
use sim_http::faults::{Fault, Fired, Rule, When};

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "*"];
const MAX_DELAY: f64 = 86_400.0;
const MAX_CALLS: u32 = 1_000_000;

/// A rule to add.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// Service whose calls meet the fault.
    pub service: Service,
    /// Method of the calls. Default: any.
    #[serde(default = "any")]
    pub method: String,
    /// Path of the calls without query, for Proxmox VE below `/api2/json`. `*` stands for any text.
    pub path: String,
    /// Effect on the calls.
    pub fault: FaultInput,
    /// Selection of the matching calls. Default: the next one.
    #[serde(default)]
    pub when: WhenInput,
}

fn any() -> String {
    "*".to_owned()
}

/// The JSON form of [`Fault`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultInput {
    /// The call is refused and not carried out.
    Refuse {
        /// Status of the answer: 400 to 599.
        status: u16,
        /// Reason phrase and message of the answer.
        #[serde(default = "refusal")]
        text: String,
    },
    /// The call is carried out later.
    Delay {
        /// Delay in seconds, up to a day.
        seconds: f64,
    },
    /// The connection closes. The call is not carried out.
    DropRequest,
    /// The call is carried out. The connection closes without an answer.
    DropReply,
    /// The call is carried out. The answer breaks off.
    Cut {
        /// Number of bytes of the body that arrive.
        after: usize,
    },
    /// The server closes all its connections.
    Restart,
    /// Proxmox VE only: `595 Connection refused`. The call is not carried out.
    DaemonStopped,
    /// Proxmox VE only: `596 Connection reset by peer`. The call is carried out.
    DaemonDies,
    /// Proxmox VE only: the call's task is killed in the middle, without clean-up.
    KillTask,
    /// Proxmox VE only: the node's power is cut in the middle of the call's task.
    CutPower,
}

fn refusal() -> String {
    "an injected fault".to_owned()
}

/// The JSON form of [`When`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenInput {
    /// This number of next calls.
    Next(u32),
    /// Each call with this probability.
    Chance(f64),
    /// The calls with these ordinals, from 1.
    Calls(BTreeSet<u64>),
}

impl Default for WhenInput {
    fn default() -> Self {
        Self::Next(1)
    }
}

impl NewRule {
    /// Returns the checked rule. `place` is its position in the request.
    fn checked(&self, place: &str) -> Result<Rule, Problem> {
        let at = |field: &str| format!("{place}{field}");
        if !METHODS.contains(&self.method.as_str()) {
            let what = format!("{:?} is not a method", self.method);
            return Err(Problem::value(at("method"), what, METHODS.join(", ")));
        }
        if !self.path.starts_with(['/', '*']) {
            let what = format!("{:?} is not a path", self.path);
            return Err(Problem::value(at("path"), what, "text that begins with / or *; * stands for any text"));
        }
        let fault = self.fault.checked(&at("fault"))?;
        if self.service == Service::Github && fault.needs_proxmox_ve() {
            let what = "GitHub cannot have this fault";
            return Err(Problem::value(at("service"), what, "pve"));
        }
        let when = self.when.checked(&at("when"))?;
        Ok(Rule { method: self.method.clone(), path: self.path.clone(), fault, when })
    }

    fn of(service: Service, rule: &Rule) -> Self {
        let fault = match &rule.fault {
            Fault::Refuse { status, text } => FaultInput::Refuse { status: *status, text: text.clone() },
            Fault::Delay(time) => FaultInput::Delay { seconds: time.as_secs_f64() },
            Fault::DropRequest => FaultInput::DropRequest,
            Fault::DropReply => FaultInput::DropReply,
            Fault::Cut { after } => FaultInput::Cut { after: *after },
            Fault::Restart => FaultInput::Restart,
            Fault::DaemonStopped => FaultInput::DaemonStopped,
            Fault::DaemonDies => FaultInput::DaemonDies,
            Fault::KillTask => FaultInput::KillTask,
            Fault::CutPower => FaultInput::CutPower,
        };
        let when = match &rule.when {
            When::Next(count) => WhenInput::Next(*count),
            When::Chance(probability) => WhenInput::Chance(*probability),
            When::Calls(ordinals) => WhenInput::Calls(ordinals.clone()),
        };
        Self { service, method: rule.method.clone(), path: rule.path.clone(), fault, when }
    }
}

impl FaultInput {
    fn checked(&self, at: &str) -> Result<Fault, Problem> {
        Ok(match self {
            Self::Refuse { status, .. } if !(400..=599).contains(status) => {
                let what = format!("{status} is not a status of a refusal");
                return Err(Problem::value(format!("{at}.refuse.status"), what, "400 to 599"));
            }
            Self::Refuse { status, text } => Fault::Refuse { status: *status, text: text.clone() },
            Self::Delay { seconds } if !(0.0..=MAX_DELAY).contains(seconds) => {
                let what = format!("{seconds} seconds is not a delay");
                return Err(Problem::value(format!("{at}.delay.seconds"), what, "0 to 86400"));
            }
            Self::Delay { seconds } => Fault::Delay(Duration::from_secs_f64(*seconds)),
            Self::DropRequest => Fault::DropRequest,
            Self::DropReply => Fault::DropReply,
            Self::Cut { after } => Fault::Cut { after: *after },
            Self::Restart => Fault::Restart,
            Self::DaemonStopped => Fault::DaemonStopped,
            Self::DaemonDies => Fault::DaemonDies,
            Self::KillTask => Fault::KillTask,
            Self::CutPower => Fault::CutPower,
        })
    }
}

impl WhenInput {
    fn checked(&self, at: &str) -> Result<When, Problem> {
        match self {
            Self::Next(count) if !(1..=MAX_CALLS).contains(count) => {
                Err(Problem::value(format!("{at}.next"), format!("{count} is not a number of calls"), "1 to 1000000"))
            }
            Self::Chance(chance) if !(0.0..=1.0).contains(chance) => {
                Err(Problem::value(format!("{at}.chance"), format!("{chance} is not a probability"), "0 to 1"))
            }
            Self::Next(count) => Ok(When::Next(*count)),
            Self::Chance(chance) => Ok(When::Chance(*chance)),
            // An empty list is the repetition of a rule that never fired.
            Self::Calls(ordinals) => Ok(When::Calls(ordinals.clone())),
        }
    }
}

impl Control {
    /// Adds all of the rules or none.
    ///
    /// # Errors
    /// When a rule is not valid. The problem describes the first such rule.
    pub fn add_faults(&self, rules: &[NewRule]) -> Result<(), Problem> {
        let place = |index: usize| if rules.len() == 1 { String::new() } else { format!("rules[{index}].") };
        let checked: Result<Vec<Rule>, Problem> =
            rules.iter().enumerate().map(|(index, rule)| rule.checked(&place(index))).collect();
        for (new, rule) in rules.iter().zip(checked?) {
            self.faults(new.service).add(rule);
        }
        Ok(())
    }

    /// Returns rules that hit exactly the same calls again when added to new simulators.
    #[must_use]
    pub fn repetition(&self) -> Vec<NewRule> {
        let of = |service| {
            self.faults(service).repetition().iter().map(|rule| NewRule::of(service, rule)).collect::<Vec<_>>()
        };
        Service::ALL.into_iter().flat_map(of).collect()
    }

    /// Returns all rules with their numbers of matching calls, and all faults that fired.
    #[must_use]
    pub fn fault_list(&self) -> Value {
        let rules = |service| {
            self.faults(service).rules().into_iter().map(move |(rule, calls)| {
                let mut row = json!(NewRule::of(service, &rule));
                row["calls"] = calls.into();
                row
            })
        };
        let fired = |service| self.faults(service).fired().into_iter().map(move |fired| fired_row(service, &fired));
        json!({
            "rules": Service::ALL.into_iter().flat_map(rules).collect::<Vec<Value>>(),
            "fired": Service::ALL.into_iter().flat_map(fired).collect::<Vec<Value>>(),
        })
    }
}

fn fired_row(service: Service, fired: &Fired) -> Value {
    let rule = Rule {
        method: fired.method.clone(),
        path: fired.path.clone(),
        fault: fired.fault.clone(),
        when: When::Calls([fired.ordinal].into()),
    };
    let mut row = json!(NewRule::of(service, &rule));
    row["seed"] = fired.seed.into();
    row["rule"] = fired.rule.into();
    row
}
