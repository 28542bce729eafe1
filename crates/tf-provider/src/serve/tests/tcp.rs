//! A loopback port for systems without unix sockets, with the same pinned certificates.

use super::*;

/// Takes consecutive ports of the loopback address, until the listeners are dropped. Returns the first port too.
fn taken(count: usize) -> (Vec<std::net::TcpListener>, u16) {
    loop {
        let first = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("port");
        let port = first.local_addr().expect("address").port();
        let rest = (1..count).map(|offset| {
            let next = port.checked_add(u16::try_from(offset).ok()?)?;
            std::net::TcpListener::bind(("127.0.0.1", next)).ok()
        });
        if let Some(rest) = rest.collect::<Option<Vec<_>>>() {
            return (std::iter::once(first).chain(rest).collect(), port);
        }
    }
}

#[tokio::test]
async fn the_expected_client_is_served_over_tcp() {
    let trusted = peer();
    let served = serve_at(Endpoint::Ports(0..=0), &trusted);
    assert!(served.address.network == "tcp" && served.address.text.starts_with("127.0.0.1:"), "{:?}", served.address);
    let client = configured(&served, trusted).await;
    assert_eq!(create(&client, "a", Value::Null).await.diagnostics, []);
}

#[tokio::test]
async fn outsiders_are_refused_over_tcp_too() {
    let served = serve_at(Endpoint::Ports(0..=0), &peer());
    assert_eq!(refusal(&served, Some(peer())).await, "received fatal alert: AccessDenied");
    assert_eq!(refusal(&served, None).await, "received fatal alert: CertificateRequired");
}

#[tokio::test]
async fn the_first_free_port_of_the_range_is_taken() {
    let (held, first) = taken(3);
    let last = first + 2;
    let error = Socket::bind(Endpoint::Ports(first..=last)).err().expect("all are taken");
    assert_eq!(error.to_string(), format!("no port from {first} to {last} is free"));
    drop(held.into_iter().nth(1));
    let socket = Socket::bind(Endpoint::Ports(first..=last)).expect("one is free");
    let port = socket.address().expect("address").text.rsplit(':').next().and_then(|port| port.parse().ok());
    assert!(port.is_some_and(|port| (first..=last).contains(&port)), "{port:?}");
}
