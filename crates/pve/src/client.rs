//! The client of one cluster. It is cheap to clone.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ownership::{NodeName, Vmid};
use serde::de::DeserializeOwned;

use crate::{
    call::Call,
    delivery::{Delivery, Way},
    endpoint::{ApiToken, Endpoint},
    error::Error,
    pools::SharedReads,
    setup::ClientConfig,
    tasks::TaskTimes,
    transport::{Https, Transport},
    trust::tls_config,
    turns::{Turn, Turns},
};

/// Number of agent calls at the same time. Each holds one of the node's three API workers while it waits for the guest.
const AGENT_CALLS_PER_NODE: usize = 2;
/// Number of pings among them. A ping of a guest that is still booting holds its worker for three to five seconds.
const PINGS_PER_NODE: usize = 1;

/// Client of one cluster's API.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    delivery: Delivery,
    /// TLS for connections other than the API's requests. `None` if the caller passed a transport.
    tls: Option<Arc<rustls::ClientConfig>>,
    token: ApiToken,
    agent_gates: Mutex<HashMap<NodeName, AgentGate>>,
    task_times: TaskTimes,
    shared_reads: SharedReads,
}

/// The agent calls that may be under way on one node.
#[derive(Clone)]
struct AgentGate {
    calls: Turns,
    pings: Turns,
}

impl Default for AgentGate {
    fn default() -> Self {
        Self { calls: Turns::new(AGENT_CALLS_PER_NODE), pings: Turns::new(PINGS_PER_NODE) }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("endpoint", &self.inner.delivery.endpoint()).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the certificates or the configuration cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        Self::expecting(config, &[])
    }

    /// Makes a client with expected durations of kinds of tasks (`qmclone`, …). They apply until the client has seen
    /// such tasks. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the certificates or the configuration cannot be used.
    pub fn expecting(config: ClientConfig, task_times: &[(&'static str, Duration)]) -> Result<Self, Error> {
        let tls = tls_config(&config.trust).map_err(|error| Error::Setup(error.into()))?;
        let way = Way::Https(Https::new(tls.clone()).map_err(Error::Setup)?);
        let delivery = Delivery::new(way, &config, std::process::id().into()).map_err(Error::Setup)?;
        Ok(Self::of(delivery, Some(Arc::new(tls)), config.token, task_times))
    }

    /// Makes a client like [`Client::expecting`] that sends its requests over `transport`. It draws no random numbers
    /// and ignores the trust of `config`. It refuses uploads and consoles, because they need HTTPS.
    ///
    /// # Errors
    /// [`Error::Setup`] when the configuration cannot be used.
    pub fn over(
        transport: Arc<dyn Transport>,
        config: ClientConfig,
        task_times: &[(&'static str, Duration)],
    ) -> Result<Self, Error> {
        let delivery = Delivery::new(Way::Given(transport), &config, 0).map_err(Error::Setup)?;
        Ok(Self::of(delivery, None, config.token, task_times))
    }

    fn of(
        delivery: Delivery,
        tls: Option<Arc<rustls::ClientConfig>>,
        token: ApiToken,
        task_times: &[(&'static str, Duration)],
    ) -> Self {
        let inner = Inner {
            delivery,
            tls,
            token,
            agent_gates: Mutex::default(),
            task_times: TaskTimes::expecting(task_times),
            shared_reads: SharedReads::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        self.inner.delivery.call(call).await
    }

    /// Sends a request about one guest. PVE refuses a token with rights in a resource pool alike for a missing guest
    /// and for a foreign one, so the client then asks whether the VMID is free.
    pub(crate) async fn call_guest<T: DeserializeOwned>(&self, vmid: Vmid, call: Call) -> Result<T, Error> {
        let error = match self.call(call).await {
            Err(error) if error.is_permission_denied() => error,
            outcome => return outcome,
        };
        match self.is_free(vmid).await {
            Ok(true) => Err(Error::NoGuest { vmid }),
            _ => Err(error),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.inner.delivery.endpoint()
    }

    /// Returns the TLS configuration for connections other than the API's requests.
    pub(crate) fn tls(&self) -> io::Result<Arc<rustls::ClientConfig>> {
        let unsupported = || io::Error::new(io::ErrorKind::Unsupported, "the transport that was given has no TLS");
        self.inner.tls.clone().ok_or_else(unsupported)
    }

    pub(crate) fn token(&self) -> &ApiToken {
        &self.inner.token
    }

    pub(crate) fn task_times(&self) -> &TaskTimes {
        &self.inner.task_times
    }

    pub(crate) fn shared_reads(&self) -> &SharedReads {
        &self.inner.shared_reads
    }

    /// Waits for the party's turn to call a guest agent on the node.
    pub(crate) async fn agent_turn(&self, node: &NodeName, party: &str) -> Result<Turn, Error> {
        self.agent_gate(node).calls.take(party, 0).await
    }

    /// Waits for the party's turn to ping a guest agent on the node. Guests that were asked in vain the fewest times go
    /// first. A ping needs a turn for a call as well.
    pub(crate) async fn ping_turn(&self, node: &NodeName, party: &str, asked_in_vain: u32) -> Result<Turn, Error> {
        self.agent_gate(node).pings.take(party, asked_in_vain).await
    }

    fn agent_gate(&self, node: &NodeName) -> AgentGate {
        let mut gates = self.inner.agent_gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(node.clone()).or_default().clone()
    }
}
