//! The scale-set protocol step by step, as `actions/scaleset` uses it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sim_github::{Behaviour, JobState};

use crate::stepped_github::{Answer, RUNNERS, SteppedGitHub};

const SETS: &str = "_apis/runtime/runnerscalesets";

/// An admin connection.
pub(crate) struct Admin<'a> {
    github: &'a SteppedGitHub,
    url: String,
    token: String,
}

/// A message session.
pub(crate) struct Session {
    pub(crate) queue: String,
    pub(crate) token: String,
    pub(crate) id: String,
    pub(crate) statistics: Value,
}

impl<'a> Admin<'a> {
    pub(crate) async fn connect(github: &'a SteppedGitHub) -> Self {
        let answer = Self::try_connect(github).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
        Self { github, url: text("url"), token: text("token") }
    }

    pub(crate) async fn try_connect(github: &SteppedGitHub) -> Answer {
        let made = github.post(&format!("{RUNNERS}/registration-token"), &github.token, &Value::Null).await;
        let token = made.body["token"].as_str().unwrap();
        register(github, token, "acme/tools").await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.call_as(&self.token, method, path, body).await
    }

    pub(crate) async fn call_as(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        let join = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/{path}{join}api-version=6.0-preview", self.url);
        let request = self.github.http.request(method, url).bearer_auth(token);
        let request = if body.is_null() { request } else { request.json(body) };
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn create(&self, name: &str, labels: &[&str]) -> Answer {
        let labels: Vec<Value> = labels.iter().map(|name| json!({ "type": "System", "name": name })).collect();
        let body =
            json!({ "name": name, "runnerGroupId": 1, "labels": labels, "RunnerSetting": { "disableUpdate": true } });
        self.call(Method::POST, SETS, &body).await
    }

    /// Creates a set for `linux`. Returns its number.
    pub(crate) async fn linux(&self) -> u64 {
        let made = self.create("linux-set", &["linux"]).await;
        assert_eq!(made.status, 200, "{}", made.body);
        made.body["id"].as_u64().unwrap()
    }

    pub(crate) async fn listen(&self, set: u64) -> Session {
        let opened = self.call(Method::POST, &format!("{SETS}/{set}/sessions"), &json!({ "ownerName": "me" })).await;
        assert_eq!(opened.status, 200, "{}", opened.body);
        Session::of(&opened)
    }

    pub(crate) async fn poll(&self, session: &Session, last: u64, capacity: usize) -> Answer {
        let last = if last > 0 { format!("&lastMessageId={last}") } else { String::new() };
        let request = self.github.http.get(format!("{}{last}", session.queue)).bearer_auth(&session.token);
        let request = request
            .header("x-scalesetmaxcapacity", capacity)
            .header("accept", "application/json; api-version=6.0-preview");
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn acknowledge(&self, session: &Session, message: u64) -> u16 {
        let url = session.queue.replace("/message?", &format!("/message/{message}?"));
        self.github.http.delete(url).bearer_auth(&session.token).send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn acquire(&self, session: &Session, set: u64, requests: &[u64]) -> Value {
        let path = format!("{SETS}/{set}/acquirejobs");
        let taken = self.call_as(&session.token, Method::POST, &path, &json!(requests)).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
        taken.body["value"].clone()
    }

    pub(crate) async fn mint(&self, set: u64, name: &str) -> Answer {
        let body = json!({ "name": name, "workFolder": "_work" });
        self.call(Method::POST, &format!("{SETS}/{set}/generatejitconfig"), &body).await
    }

    pub(crate) async fn statistics(&self, set: u64) -> Value {
        self.call(Method::GET, &format!("{SETS}/{set}"), &Value::Null).await.body["statistics"].clone()
    }
}

impl Session {
    pub(crate) fn of(answer: &Answer) -> Self {
        let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
        Self {
            queue: text("messageQueueUrl"),
            token: text("messageQueueAccessToken"),
            id: text("sessionId"),
            statistics: answer.body["statistics"].clone(),
        }
    }
}

async fn register(github: &SteppedGitHub, token: &str, of: &str) -> Answer {
    let body = json!({ "url": format!("https://github.com/{of}"), "runner_event": "register" });
    let request = github.http.post(format!("{}/api/v3/actions/runner-registration", github.server.url()));
    let request = request.header("authorization", format!("RemoteAuth {token}")).json(&body);
    Answer::read(request.send().await.unwrap()).await
}

/// Returns the job messages of a batch.
pub(crate) fn messages(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, &answer.body["messageType"]), (200, &json!("RunnerScaleSetJobMessages")));
    serde_json::from_str(answer.body["body"].as_str().unwrap()).unwrap()
}

pub(crate) fn kinds(answer: &Answer) -> Vec<String> {
    messages(answer).iter().map(|message| message["messageType"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn request_of(answer: &Answer) -> u64 {
    messages(answer)[0]["runnerRequestId"].as_u64().unwrap()
}

#[tokio::test]
async fn a_job_passes_through_a_scale_set_from_offer_to_end() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let session = admin.listen(set).await;
    assert_eq!(session.statistics["totalAssignedJobs"], json!(0));
    let job = github.queue(1)[0];
    let offer = admin.poll(&session, 0, 10).await;
    assert_eq!(kinds(&offer), ["JobAvailable"]);
    assert_eq!(offer.body["statistics"]["totalAvailableJobs"], json!(1));
    let offered = &messages(&offer)[0];
    let about = ["ownerName", "repositoryName", "eventName", "requestLabels"].map(|field| offered[field].clone());
    assert_eq!(about, [json!("acme"), json!("tools"), json!("push"), json!(["linux"])]);
    let number = offer.body["messageId"].as_u64().unwrap();
    assert_eq!(admin.acknowledge(&session, number).await, 204);
    assert_eq!(admin.acquire(&session, set, &[request_of(&offer)]).await, json!([request_of(&offer)]));
    let assigned = admin.poll(&session, number, 10).await;
    assert_eq!(
        (kinds(&assigned), &assigned.body["statistics"]["totalAssignedJobs"]),
        (vec!["JobAssigned".into()], &json!(1))
    );

    let minted = admin.mint(set, "vm-1").await;
    assert_eq!(minted.body["runner"]["runnerScaleSetId"], json!(set));
    let runner = github.connect(minted.body["encodedJITConfig"].as_str().unwrap()).await;
    assert_eq!(runner.message().await, (200, Some(job)));
    assert_eq!(runner.report(job, "acquire", "").await, 200);
    let started = admin.poll(&session, number + 1, 10).await;
    assert_eq!(kinds(&started), ["JobStarted"]);
    assert_eq!(messages(&started)[0]["runnerName"], json!("vm-1"));
    let statistics = &started.body["statistics"];
    let counts =
        ["totalAssignedJobs", "totalRunningJobs", "totalRegisteredRunners", "totalBusyRunners", "totalIdleRunners"];
    assert_eq!(counts.map(|name| statistics[name].as_u64().unwrap()), [1, 1, 1, 1, 0]);
    assert_eq!(runner.report(job, "finish", "success").await, 200);
    let completed = admin.poll(&session, number + 2, 10).await;
    assert_eq!(
        (kinds(&completed), &messages(&completed)[0]["result"]),
        (vec!["JobCompleted".into()], &json!("succeeded"))
    );
    assert_eq!(completed.body["statistics"]["totalAssignedJobs"], json!(0));
    assert_eq!(github.server.world(|world, _| world.leftovers()), Vec::<String>::new());
    github.assert_clean();
}

#[tokio::test]
async fn sets_are_created_found_changed_and_removed() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let made = admin.create("one", &["linux", "x64"]).await;
    let path = format!("{SETS}/{}", made.body["id"]);
    assert_eq!(made.body["RunnerSetting"]["disableUpdate"], json!(true));
    let again = admin.create("ONE", &["linux"]).await;
    assert_eq!((again.status, again.body["typeKey"].as_str()), (409, Some("RunnerScaleSetExistsException")));
    let found = admin.call(Method::GET, &format!("{SETS}?runnerGroupId=1&name=one"), &Value::Null).await;
    assert_eq!((&found.body["count"], &found.body["value"][0]["id"]), (&json!(1), &made.body["id"]));
    let none = admin.call(Method::GET, &format!("{SETS}?runnerGroupId=1&name=two"), &Value::Null).await;
    assert_eq!(none.body, json!({ "count": 0, "value": [] }));
    let change = json!({ "name": "two", "labels": [{ "type": "System", "name": "arm64" }] });
    let changed = admin.call(Method::PATCH, &path, &change).await;
    assert_eq!(changed.body["name"], json!("two"));
    assert_eq!(changed.body["labels"].as_array().unwrap().len(), 2, "labels stay those of the creation");
    assert_eq!(admin.call(Method::DELETE, &path, &Value::Null).await.status, 204);
    let gone = admin.call(Method::GET, &path, &Value::Null).await;
    assert_eq!((gone.status, gone.body["typeKey"].as_str()), (404, Some("RunnerScaleSetNotFoundException")));
    let groups = admin.call(Method::GET, "_apis/runtime/runnergroups/?groupName=default", &Value::Null).await;
    assert_eq!(groups.body["value"][0]["isDefaultGroup"], json!(true));
    let bare = github.http.get(format!("{}/{SETS}", admin.url)).bearer_auth(&admin.token).send().await.unwrap();
    assert_eq!(bare.status(), 400, "the version of the API must be named");
}

#[tokio::test]
async fn a_set_cannot_take_the_name_of_another_set_in_its_group() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let one = admin.create("one", &["linux"]).await;
    admin.create("two", &["linux"]).await;
    let path = format!("{SETS}/{}", one.body["id"]);
    let taken = admin.call(Method::PATCH, &path, &json!({ "name": "TWO" })).await;
    assert_eq!((taken.status, taken.body["typeKey"].as_str()), (409, Some("RunnerScaleSetExistsException")));
    let kept = admin.call(Method::PATCH, &path, &json!({ "name": "One" })).await;
    assert_eq!((kept.status, &kept.body["name"]), (200, &json!("One")), "a set may change the case of its own name");
}

#[tokio::test]
async fn a_second_session_is_a_conflict_until_the_first_ends() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let first = admin.listen(set).await;
    let sessions = format!("{SETS}/{set}/sessions");
    let second = admin.call(Method::POST, &sessions, &json!({ "ownerName": "other" })).await;
    assert_eq!(second.status, 409);
    assert_eq!(second.body["message"], json!("The actions runner scaleset linux-set already has an active session."));
    assert!(
        second.body["typeName"]
            .as_str()
            .unwrap()
            .starts_with("GitHub.Actions.Runtime.WebApi.RunnerScaleSetSessionConflictException,")
    );
    assert_eq!(admin.call(Method::DELETE, &format!("{sessions}/{}", first.id), &Value::Null).await.status, 204);
    let other = admin.listen(set).await;
    github.pass(59);
    assert_eq!(admin.call(Method::POST, &sessions, &json!({ "ownerName": "me" })).await.status, 409);
    github.pass(1);
    admin.listen(set).await;
    assert_eq!(admin.poll(&other, 0, 1).await.status, 404, "a crashed listener's session is over after a minute");
}

#[tokio::test]
async fn a_poll_ends_by_the_worlds_clock() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let session = admin.listen(admin.linux().await).await;
    let passing = async {
        loop {
            github.pass(25);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = async {
        tokio::select! {
            answer = admin.poll(&session, 0, 1) => answer,
            () = passing => unreachable!("time passes for ever"),
        }
    };
    let answer =
        tokio::time::timeout(Duration::from_secs(40), answer).await.expect("not only after 50 s of this machine");
    assert_eq!((answer.status, answer.body), (202, Value::Null));
    github.assert_clean();
}

#[tokio::test]
async fn unacknowledged_messages_are_sent_again() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    github.queue(60);
    let session = admin.listen(set).await;
    assert_eq!(session.statistics["totalAvailableJobs"], json!(60));
    let first = admin.poll(&session, 0, 100).await;
    assert_eq!(messages(&first).len(), 50, "a batch has fifty messages at most");
    let again = admin.poll(&session, 0, 100).await;
    assert_eq!((&again.body["messageId"], messages(&again)), (&first.body["messageId"], messages(&first)));
    let number = first.body["messageId"].as_u64().unwrap();
    let rest = admin.poll(&session, number, 100).await;
    assert_eq!((rest.body["messageId"].as_u64(), messages(&rest).len()), (Some(number + 1), 10));
    assert_eq!(admin.acknowledge(&session, number).await, 204);
    admin.call(Method::DELETE, &format!("{SETS}/{set}/sessions/{}", session.id), &Value::Null).await;
    let next = admin.listen(set).await;
    assert_eq!(admin.poll(&next, 0, 100).await.body["messageId"].as_u64(), Some(number + 1));
    let open = admin.call(Method::GET, &format!("{SETS}/{set}/acquirablejobs"), &Value::Null).await;
    assert_eq!(open.body["count"], json!(60));
}

#[tokio::test]
async fn tokens_of_the_service_expire() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    github.server.world(|world, _| world.behaviour.queue_token_life = jiff::SignedDuration::from_secs(30));
    let session = admin.listen(set).await;
    github.queue(1);
    github.pass(30);
    assert_eq!(admin.poll(&session, 0, 1).await.status, 401);
    let path = format!("{SETS}/{set}/acquirejobs");
    assert_eq!(admin.call_as(&session.token, Method::POST, &path, &json!([1])).await.status, 401);
    let refreshed = admin.call(Method::PATCH, &format!("{SETS}/{set}/sessions/{}", session.id), &Value::Null).await;
    let refreshed = Session::of(&refreshed);
    assert_eq!(refreshed.id, session.id);
    assert_eq!(admin.poll(&refreshed, 0, 1).await.status, 200);
    github.pass(3600);
    assert_eq!(admin.call(Method::GET, SETS, &Value::Null).await.status, 401);
    Admin::connect(&github).await;
}

#[tokio::test]
async fn only_a_good_registration_token_opens_a_connection() {
    let github = SteppedGitHub::start().await;
    assert_eq!(register(&github, "AWRONG", "acme/tools").await.status, 404);
    let made = github.post(&format!("{RUNNERS}/registration-token"), &github.token, &Value::Null).await;
    let token = made.body["token"].as_str().unwrap();
    assert_eq!(register(&github, token, "acme/other").await.status, 404, "it is another repository's");
    assert_eq!(register(&github, token, "acme/tools").await.status, 200);
    github.pass(3600);
    assert_eq!(register(&github, token, "acme/tools").await.status, 404);
    let elsewhere = Admin::connect(&github).await;
    let url = elsewhere.url.rsplit_once('/').unwrap().0.to_owned() + "/00000000";
    let elsewhere = Admin { url, ..elsewhere };
    assert_eq!(elsewhere.call(Method::GET, SETS, &Value::Null).await.status, 401, "a connection is one tenant's");
}

#[tokio::test]
async fn a_new_registration_token_may_be_refused_at_first() {
    let behaviour = Behaviour { token_propagation: jiff::SignedDuration::from_secs(5), ..Behaviour::default() };
    let github = SteppedGitHub::behaving(behaviour).await;
    let made = github.post(&format!("{RUNNERS}/registration-token"), &github.token, &Value::Null).await;
    let token = made.body["token"].as_str().unwrap();
    assert_eq!(register(&github, token, "acme/tools").await.status, 401);
    github.pass(5);
    assert_eq!(register(&github, token, "acme/tools").await.status, 200);
}

#[tokio::test]
async fn registrations_are_found_by_name_and_removed_unless_they_have_a_job() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let minted = admin.mint(set, "vm-1").await;
    let again = admin.mint(set, "vm-1").await;
    assert_eq!((again.status, again.body["typeKey"].as_str()), (409, Some("AgentExistsException")));
    let agents = "_apis/distributedtask/pools/0/agents";
    let found = admin.call(Method::GET, &format!("{agents}?agentName=vm-1"), &Value::Null).await;
    assert_eq!(found.body["value"][0]["runnerScaleSetId"], json!(set));
    let path = format!("{agents}/{}", minted.body["runner"]["id"]);
    assert_eq!(admin.call(Method::GET, &path, &Value::Null).await.status, 200);
    let session = admin.listen(set).await;
    let job = github.queue(1)[0];
    admin.acquire(&session, set, &[request_of(&admin.poll(&session, 0, 1).await)]).await;
    let runner = github.connect(minted.body["encodedJITConfig"].as_str().unwrap()).await;
    assert_eq!(runner.message().await, (200, Some(job)));
    let busy = admin.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((busy.status, busy.body["typeKey"].as_str()), (400, Some("JobStillRunningException")));
    runner.report(job, "acquire", "").await;
    runner.report(job, "finish", "failure").await;
    let gone = admin.call(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((gone.status, gone.body["typeKey"].as_str()), (404, Some("AgentNotFoundException")));
    let spare = admin.mint(set, "vm-2").await;
    let path = format!("{agents}/{}", spare.body["runner"]["id"]);
    assert_eq!(admin.call(Method::DELETE, &path, &Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_set_is_offered_only_as_many_jobs_as_it_has_room_for() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let session = admin.listen(set).await;
    let polls = async { admin.poll(&session, 0, 2).await };
    let queues = async {
        while github.server.requests().entries().len() < 4 {
            tokio::task::yield_now().await;
        }
        // The poll's capacity is set once the poll waits.
        let waits = |world: &sim_github::World| world.listens(set).then_some(());
        github.server.wait_for(std::time::Duration::from_secs(60), waits).await.unwrap();
        github.queue(5);
    };
    let (offer, ()) = tokio::join!(polls, queues);
    assert_eq!(messages(&offer).len(), 2);
    assert_eq!(admin.statistics(set).await["totalAvailableJobs"], json!(2));
}

#[tokio::test]
async fn a_runner_outside_of_scale_sets_may_take_an_offered_job() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let session = admin.listen(set).await;
    let job = github.queue(1)[0];
    let offer = admin.poll(&session, 0, 1).await;
    let plain = github.mint("plain").await;
    let runner = github.connect(plain.body["encoded_jit_config"].as_str().unwrap()).await;
    assert_eq!(runner.message().await, (200, Some(job)));
    assert_eq!(admin.acquire(&session, set, &[request_of(&offer)]).await, json!([]), "it is taken");
    assert_eq!(admin.statistics(set).await["totalAvailableJobs"], json!(0));
}

#[tokio::test]
async fn a_job_that_is_cancelled_before_it_starts_is_reported_as_completed() {
    let github = SteppedGitHub::start().await;
    let admin = Admin::connect(&github).await;
    let set = admin.linux().await;
    let session = admin.listen(set).await;
    let job = github.queue(1)[0];
    let offer = admin.poll(&session, 0, 1).await;
    admin.acquire(&session, set, &[request_of(&offer)]).await;
    assert!(github.server.world(|world, now| world.cancel_job(job, now)));
    let reported = admin.poll(&session, offer.body["messageId"].as_u64().unwrap(), 1).await;
    assert_eq!(kinds(&reported), ["JobAssigned", "JobCompleted"]);
    let last = &messages(&reported)[1];
    assert_eq!((&last["result"], &last["runnerId"], &last["runnerName"]), (&json!("canceled"), &json!(0), &json!("")));
    assert!(matches!(
        github.server.world(|world, _| world.job(job).unwrap().state.clone()),
        JobState::Completed { .. }
    ));
}

#[tokio::test]
async fn a_set_without_a_session_is_deleted_after_a_week() {
    let github = SteppedGitHub::start().await;
    let set = Admin::connect(&github).await.linux().await;
    github.pass(7 * 24 * 3600 - 1);
    assert!(github.server.world(|world, _| world.scale_sets()).contains(&"linux-set".to_owned()));
    github.pass(1);
    assert_eq!(github.server.world(|world, _| world.scale_sets()), Vec::<String>::new());
    let admin = Admin::connect(&github).await;
    assert_eq!(admin.call(Method::GET, &format!("{SETS}/{set}"), &Value::Null).await.status, 404);
}
