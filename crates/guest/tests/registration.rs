//! The removal of registrations, against the simulated GitHub.
#![cfg(test)]

use std::collections::BTreeSet;

use github::{BaseUrl, Client, ClientConfig, Credential, Scope};
use guest::{Removal, deregister, mint};
use ownership::{RepositoryName, RunnerName};
use sim_github::{Server, ServerHandle, ServerOptions, Token};

const REPOSITORY: &str = "acme/tools";

/// A simulated GitHub with one registration.
struct Registered {
    github: ServerHandle,
    client: Client,
    scope: Scope,
    name: RunnerName,
    runner_id: u64,
}

impl Registered {
    async fn start() -> Self {
        let github = Server::start(ServerOptions::default()).await.unwrap();
        github.world(|world, _| {
            world.add_repository(REPOSITORY);
            world.add_repository("acme/other");
        });
        let client = client(&github, Token::for_repository_runners());
        let scope = Scope::from(REPOSITORY.parse::<RepositoryName>().unwrap());
        let name: RunnerName = "lab-plain-9100-abcdef".parse().unwrap();
        let minted = mint(&client, &scope, &name, &["linux".into()], 1).await.unwrap();
        Self { github, client, scope, name, runner_id: minted.runner.id }
    }

    /// Removes the registration with a client. Returns the result and the requests of it.
    async fn deregister(&self, client: &Client) -> (Result<Removal, github::Error>, Vec<String>) {
        let before = self.github.requests().count();
        let result = deregister(client, &self.scope, &self.name, Some(self.runner_id)).await;
        let requests = self.github.requests().from(before, usize::MAX).into_iter();
        (result, requests.map(|entry| format!("{} {}", entry.method, entry.status)).collect())
    }
}

fn client(github: &ServerHandle, token: Token) -> Client {
    let secret = github.world(|world, _| world.add_token(token));
    let credential = Credential::Token(secret.into());
    let base_url = BaseUrl::parse(github.url()).unwrap();
    Client::new(ClientConfig { base_url, credential, user_agent: "pxci-test/1".into() }).unwrap()
}

#[tokio::test]
async fn a_registration_that_github_does_not_know_is_gone_if_the_list_says_so() {
    let registered = Registered::start().await;
    registered.client.delete_runner(&registered.scope, registered.runner_id).await.unwrap();
    let (result, requests) = registered.deregister(&registered.client).await;
    assert_eq!(result.unwrap(), Removal::Gone);
    assert_eq!(requests, ["DELETE 404", "GET 200"]);
}

#[tokio::test]
async fn a_registration_is_not_taken_for_gone_by_a_token_that_lost_its_access() {
    let registered = Registered::start().await;
    let repositories = BTreeSet::from(["acme/other".to_owned()]);
    let elsewhere = client(&registered.github, Token { repositories, ..Token::for_repository_runners() });
    let (result, requests) = registered.deregister(&elsewhere).await;
    assert!(result.unwrap_err().is_not_found());
    assert_eq!(requests, ["DELETE 404", "GET 404"]);
    assert_eq!(registered.github.inspect(|world, _| world.runner_names()), ["lab-plain-9100-abcdef"]);
}
