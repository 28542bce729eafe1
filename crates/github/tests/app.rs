//! Requests as a GitHub App, against the simulator.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use github::{AppCredential, BaseUrl, Client, ClientConfig, Credential, Error, JitRequest};
use jiff::{SignedDuration, Timestamp};
use ownership::RepositoryName;
use sim_github::{SAMPLE_APP_KEY, Server, ServerHandle, ServerOptions, Token};

/// A simulated GitHub where an App is installed.
struct InstalledApp {
    github: ServerHandle,
    /// Difference by which GitHub's clock is ahead, in seconds.
    ahead: Arc<AtomicI64>,
    client_id: String,
    installation: u64,
}

async fn site() -> InstalledApp {
    let ahead = Arc::new(AtomicI64::new(0));
    let seconds = Arc::clone(&ahead);
    let clock = Arc::new(move || Timestamp::now() + SignedDuration::from_secs(seconds.load(Ordering::SeqCst)));
    let github = Server::start(ServerOptions { clock, ..ServerOptions::default() }).await.unwrap();
    let (client_id, installation) = github.world(|world, now| {
        world.add_repository("acme/tools");
        let permissions = Token::for_repository_runners();
        let (app, client_id) = world.add_app("Farm", "acme", permissions, SAMPLE_APP_KEY, now).unwrap();
        (client_id, world.install_app(app, "acme", &[], now).unwrap())
    });
    InstalledApp { github, ahead, client_id, installation }
}

impl InstalledApp {
    fn credential(&self) -> AppCredential {
        AppCredential {
            issuer: self.client_id.clone(),
            installation: self.installation,
            private_key: SAMPLE_APP_KEY.into(),
        }
    }

    fn config(&self, credential: AppCredential) -> ClientConfig {
        let base_url = BaseUrl::parse(self.github.url()).unwrap();
        ClientConfig { base_url, credential: Credential::App(credential), user_agent: "pxci-test/1".into() }
    }

    fn client(&self, credential: AppCredential) -> Client {
        Client::new(self.config(credential)).unwrap()
    }

    /// Returns the number of tokens that were requested.
    fn bought(&self) -> usize {
        let entries = self.github.requests().entries();
        entries.iter().filter(|entry| entry.path.ends_with("/access_tokens") && entry.status == 201).count()
    }
}

#[tokio::test]
async fn one_token_is_used_until_it_ends() {
    let site = site().await;
    let client = site.client(site.credential());
    let repository: RepositoryName = "acme/tools".parse().unwrap();
    let request =
        JitRequest { name: "lab-plain-9101-abcdef".parse().unwrap(), labels: vec!["linux".into()], runner_group_id: 1 };
    let scope = repository.clone().into();
    let (runs, minted, again) = tokio::join!(
        client.runs_not_completed(&repository),
        client.generate_jitconfig(&scope, &request),
        client.runs_not_completed(&repository)
    );
    assert_eq!((runs.unwrap().len(), again.unwrap().len()), (0, 0));
    assert_eq!(minted.unwrap().runner.name, "lab-plain-9101-abcdef");
    assert_eq!(site.bought(), 1, "concurrent callers wait for the same token");
    assert_eq!(site.github.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_that_ends_early_is_replaced() {
    let site = site().await;
    let client = site.client(site.credential());
    let repository: RepositoryName = "acme/tools".parse().unwrap();
    client.runs_not_completed(&repository).await.unwrap();
    // A server that is ahead by less than the life of a claim accepts it. Its tokens end earlier by the same time.
    site.ahead.store(3_601, Ordering::SeqCst);
    let refused = client.runs_not_completed(&repository).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized { .. }), "{refused:?}");
    site.ahead.store(0, Ordering::SeqCst);
    client.runs_not_completed(&repository).await.unwrap();
    assert_eq!(site.bought(), 2);
}

#[tokio::test]
async fn a_clock_that_is_a_little_ahead_or_behind_is_tolerated() {
    let site = site().await;
    for ahead in [-50, 50, 400] {
        site.ahead.store(ahead, Ordering::SeqCst);
        let client = site.client(site.credential());
        client.runs_not_completed(&"acme/tools".parse().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn the_error_names_the_mistake_in_the_app() {
    let site = site().await;
    let fails = async |credential: AppCredential| {
        let client = site.client(credential);
        client.runs_not_completed(&"acme/tools".parse().unwrap()).await.unwrap_err()
    };
    let nobody = fails(AppCredential { issuer: "Iv23linobody".into(), ..site.credential() }).await;
    assert!(matches!(nobody, Error::NotFound { .. }), "{nobody:?}");
    assert!(nobody.to_string().contains("GitHub App Iv23linobody"), "{nobody}");
    let elsewhere = fails(AppCredential { installation: 7, ..site.credential() }).await;
    assert!(matches!(elsewhere, Error::NotFound { .. }), "{elsewhere:?}");
    site.github.world(|world, _| world.suspend_installation(site.installation, true));
    let suspended = fails(site.credential()).await;
    assert!(suspended.to_string().contains("suspended"), "{suspended}");
    for key in ["no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let config = site.config(AppCredential { private_key: key.into(), ..site.credential() });
        let refused = Client::new(config).unwrap_err();
        assert!(matches!(refused, Error::Setup { .. }), "{refused:?}");
        assert!(!refused.to_string().contains("AAAA"), "{refused}");
    }
    assert!(!format!("{:?}", site.credential()).contains("RSA PRIVATE"), "no key is shown");
}
