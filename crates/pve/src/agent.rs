//! The QEMU guest agent of a VM. At most two calls are in flight per node, over all VMs, and at most one of them is a ping. Parties
//! take turns, so guests that hang hold up only those of their own party.

use base64::{Engine, engine::general_purpose::STANDARD};
use ownership::NodeName;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    call::{Call, Parameters},
    client::Client,
    error::Error,
    lenient,
};

/// Largest content of `file-write` in characters (API schema).
const CONTENT_LIMIT: usize = 61_440;
/// Largest file in bytes, whose base64 is that content.
const FILE_LIMIT: usize = CONTENT_LIMIT / 4 * 3;

/// The agent of one VM.
#[derive(Debug, Clone)]
pub struct Agent {
    client: Client,
    node: NodeName,
    path: String,
    party: String,
}

/// The end of a program in the guest. PVE returns it once.
#[derive(Debug, Clone, Deserialize)]
pub struct Exit {
    #[serde(deserialize_with = "lenient::flag")]
    exited: bool,
    /// Exit code. `None` if a signal ended the program.
    #[serde(default, deserialize_with = "lenient::optional_number")]
    pub exitcode: Option<u64>,
    /// Standard output.
    #[serde(default, rename = "out-data", deserialize_with = "lenient::text")]
    pub out: String,
    /// Standard error.
    #[serde(default, rename = "err-data", deserialize_with = "lenient::text")]
    pub err: String,
}

/// A network interface as the guest sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct Interface {
    /// Name, for example `eth0`.
    pub name: String,
    /// Addresses with their types.
    #[serde(default, rename = "ip-addresses")]
    addresses: Vec<Address>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    #[serde(rename = "ip-address", deserialize_with = "lenient::text")]
    address: String,
}

impl Interface {
    /// Returns its IPv4 and IPv6 addresses, without prefix lengths.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(|address| address.address.as_str())
    }
}

#[derive(Deserialize)]
struct Wrapped<T> {
    result: T,
}

#[derive(Deserialize)]
struct Started {
    #[serde(deserialize_with = "lenient::number")]
    pid: u64,
}

#[derive(Deserialize)]
struct FileContent {
    #[serde(default)]
    content: String,
}

impl Agent {
    pub(crate) fn new(client: Client, node: &NodeName, path: String) -> Self {
        Self { client, node: node.clone(), path, party: String::new() }
    }

    /// Returns the same agent, whose calls take turns with those of other parties.
    #[must_use]
    pub fn of_party(self, party: &str) -> Self {
        Self { party: party.to_owned(), ..self }
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let _turn = self.client.agent_turn(&self.node, &self.party).await?;
        self.client.call(call).await
    }

    /// Succeeds if the agent answers. If it does not, the server waits for three to five seconds, so do not ask a guest
    /// that has just started. Of the guests of a party, those that were asked in vain the fewest times go first.
    ///
    /// # Errors
    /// [`Error::is_agent_unavailable`], [`Error::is_not_running`], [`Error::is_agent_not_configured`].
    pub async fn ping(&self, asked_in_vain: u32) -> Result<(), Error> {
        let _turn = self.client.ping_turn(&self.node, &self.party, asked_in_vain).await?;
        let IgnoredAny = self.call(Call::post(format!("{}/ping", self.path), &Parameters::default())).await?;
        Ok(())
    }

    /// Starts a program and returns its process id. `command` is an argument vector in ASCII. Run `/bin/sh -c`, because
    /// PVE's daemon fails on the agent's message about a program that does not exist.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn exec(&self, command: &[&str]) -> Result<u64, Error> {
        let parameters =
            command.iter().fold(Parameters::default(), |parameters, word| parameters.with("command", word));
        let started: Started = self.call(Call::post(format!("{}/exec", self.path), &parameters)).await?;
        Ok(started.pid)
    }

    /// Returns the end of a program, or `None` while it runs. PVE returns the end once.
    ///
    /// # Errors
    /// [`Error::is_process_unknown`] if PVE has returned the end before, even if that answer was lost.
    pub async fn exec_status(&self, pid: u64) -> Result<Option<Exit>, Error> {
        let exit: Exit =
            self.call(Call::get(format!("{}/exec-status", self.path), &Parameters::default().with("pid", pid))).await?;
        Ok(exit.exited.then_some(exit))
    }

    /// Writes a whole file. Every user of the guest can read it, so write secrets only into a directory that only root
    /// may enter.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond 46 080 bytes.
    pub async fn file_write(&self, file: &str, content: &[u8]) -> Result<(), Error> {
        if content.len() > FILE_LIMIT {
            return Err(Error::TooLarge { bytes: content.len(), limit: FILE_LIMIT });
        }
        // PVE can encode Latin-1 text only.
        let parameters = Parameters::default()
            .with("file", file)
            .with("content", STANDARD.encode(content))
            .with_flag("encode", false);
        let IgnoredAny = self.call(Call::post(format!("{}/file-write", self.path), &parameters)).await?;
        Ok(())
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`Error::is_guest_file_missing`].
    pub async fn file_read(&self, file: &str) -> Result<Vec<u8>, Error> {
        let read: FileContent =
            self.call(Call::get(format!("{}/file-read", self.path), &Parameters::default().with("file", file))).await?;
        Ok(bytes_of(&read.content))
    }

    /// Returns the guest's network interfaces.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        let wrapped: Wrapped<Vec<Interface>> =
            self.call(Call::get(format!("{}/network-get-interfaces", self.path), &Parameters::default())).await?;
        Ok(wrapped.result)
    }
}

/// Returns the bytes of a file. PVE returns each byte as one character.
fn bytes_of(content: &str) -> Vec<u8> {
    let bytes: Result<Vec<u8>, _> = content.chars().map(|character| u8::try_from(u32::from(character))).collect();
    bytes.unwrap_or_else(|_| content.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_of_a_file_is_one_character() {
        assert_eq!(bytes_of("\u{c3}\u{bc}"), "ü".as_bytes());
        assert_eq!(bytes_of("plain\n"), b"plain\n");
    }

    #[test]
    fn the_end_of_a_program_is_read_in_all_its_forms() {
        let exit: Exit =
            serde_json::from_str(r#"{"exited":1,"exitcode":3,"out-data":"a\n","out-truncated":0}"#).unwrap();
        assert_eq!((exit.exited, exit.exitcode, exit.out.as_str()), (true, Some(3), "a\n"));
        let killed: Exit = serde_json::from_str(r#"{"exited":1,"signal":9}"#).unwrap();
        assert_eq!((killed.exited, killed.exitcode), (true, None));
        let running: Exit = serde_json::from_str(r#"{"exited":0}"#).unwrap();
        assert!(!running.exited);
    }

    #[test]
    fn interfaces_are_read() {
        let json = r#"{"result":[{"name":"lo","ip-addresses":[{"ip-address":"127.0.0.1","ip-address-type":"ipv4","prefix":8}]},{"name":"eth1"}]}"#;
        let wrapped: Wrapped<Vec<Interface>> = serde_json::from_str(json).unwrap();
        assert_eq!(wrapped.result[0].addresses().collect::<Vec<_>>(), ["127.0.0.1"]);
        assert_eq!(wrapped.result[1].addresses().count(), 0);
    }
}
