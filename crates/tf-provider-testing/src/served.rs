//! Programs of providers that serve many runs of a core.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::Failed;
use super::run::{inherited, tied_to_this_process};

/// Text that a program prints before the JSON for the core.
const ANNOUNCEMENT: &str = "TF_REATTACH_PROVIDERS='";

/// A provider's program that serves without a handshake. It is killed when this value is dropped, and when this process
/// ends.
pub(super) struct Served {
    _program: Child,
    /// Value of `TF_REATTACH_PROVIDERS`.
    pub(super) reattach: String,
}

impl Served {
    /// Starts the program in `directory` and waits until it serves. `addresses` are those of the provider, as the core
    /// writes them.
    pub(super) async fn start(
        program: &Path,
        addresses: &[String],
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Failed> {
        let shown = program.display();
        let mut command = tied_to_this_process(program);
        command.current_dir(directory).env_clear().envs(inherited()).envs(environment);
        command.env("TF_PROVIDER_REATTACH", addresses.first().map_or("", String::as_str));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut started = command.spawn().map_err(Failed::io(format_args!("starting {shown}")))?;
        let output = started.stdout.take().ok_or_else(|| Failed::new(format!("{shown} has no output")))?;
        let line = BufReader::new(output).lines().next_line().await;
        let line = line.map_err(Failed::io(format_args!("reading the output of {shown}")))?.unwrap_or_default();
        let reattach = at_each_address(&line, addresses)
            .ok_or_else(|| Failed::new(format!("{shown} does not print its address, but: {line:?}")))?;
        Ok(Self { _program: started, reattach })
    }
}

/// Repeats the entry of one address for all addresses, because the program serves them all.
fn at_each_address(line: &str, addresses: &[String]) -> Option<String> {
    let text = line.strip_prefix(ANNOUNCEMENT)?.strip_suffix('\'')?;
    let place: Value = serde_json::from_str::<Map<String, Value>>(text).ok()?.into_iter().next()?.1;
    let all: Map<_, _> = addresses.iter().map(|address| (address.clone(), place.clone())).collect();
    Some(Value::Object(all).to_string())
}

#[cfg(test)]
mod tests {
    use super::at_each_address;

    #[test]
    fn one_entry_is_repeated_for_every_address() {
        let line = r#"TF_REATTACH_PROVIDERS='{"a.example/x/y":{"Pid":7}}'"#;
        let all = at_each_address(line, &["a.example/x/y".to_owned(), "b.example/x/y".to_owned()]);
        assert_eq!(all.as_deref(), Some(r#"{"a.example/x/y":{"Pid":7},"b.example/x/y":{"Pid":7}}"#));
        assert_eq!(at_each_address("This is a provider.", &[]), None);
    }
}
