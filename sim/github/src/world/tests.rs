//! Changes of the world as time passes, without a front.

use jiff::{SignedDuration, Timestamp};

use super::World;
use super::listener::{Control, Message, Session};
use super::model::{EventKind, JobSpec, JobState, RunSpec, Scope};
use super::registration::NewRunner;
use crate::behaviour::Behaviour;

const REPOSITORY: &str = "acme/tools";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn world() -> World {
    let mut world = World::new(Behaviour::default(), 1);
    world.add_repository(REPOSITORY);
    world
}

fn queue(world: &mut World, labels: &[&str], now: i64) -> u64 {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    let job = JobSpec { name: "build".into(), labels, steps: vec!["true".into()] };
    let run = RunSpec { repository: REPOSITORY.into(), event: "push".into(), fork: None, jobs: vec![job] };
    world.queue_run(run, at(now))[0]
}

fn mint_in(world: &mut World, scope: Scope, name: &str, labels: &[&str], now: i64) -> u64 {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    let new = NewRunner {
        name: name.into(),
        labels,
        group: 1,
        scale_set: None,
        ephemeral: true,
        work_folder: "_work".into(),
    };
    world.mint(&scope, new, "http://sim", at(now)).unwrap().0
}

fn mint(world: &mut World, name: &str, labels: &[&str], now: i64) -> u64 {
    mint_in(world, Scope::Repository(REPOSITORY.into()), name, labels, now)
}

fn connect(world: &mut World, runner: u64, now: i64) -> String {
    match world.open_session(runner, "2.336.0", at(now)) {
        Session::Opened(session) => session,
        other => panic!("no session: {other:?}"),
    }
}

/// Returns a runner that is registered, connected and waiting.
fn listening(world: &mut World, name: &str, labels: &[&str], now: i64) -> (u64, String) {
    let runner = mint(world, name, labels, now);
    let session = connect(world, runner, now);
    assert_eq!(world.listen(runner, &session, at(now)), Message::Nothing);
    (runner, session)
}

#[test]
fn a_runner_needs_all_labels_of_a_job_in_any_case() {
    let mut world = world();
    let (poor, session) = listening(&mut world, "poor", &["linux"], 0);
    let (rich, rich_session) = listening(&mut world, "rich", &["Linux", "GPU", "x64"], 0);
    let job = queue(&mut world, &["LINUX", "gpu"], 1);
    assert_eq!(world.listen(poor, &session, at(1)), Message::Nothing);
    assert_eq!(world.listen(rich, &rich_session, at(1)), Message::Job(job));
}

#[test]
fn a_job_stays_in_its_repository_or_organization() {
    let mut world = world();
    let elsewhere = mint_in(&mut world, Scope::Repository("acme/other".into()), "a", &["linux"], 0);
    let organization = mint_in(&mut world, Scope::Organization("ACME".into()), "b", &["linux"], 0);
    let (one, two) = (connect(&mut world, elsewhere, 0), connect(&mut world, organization, 0));
    let job = queue(&mut world, &["linux"], 1);
    assert_eq!(world.listen(elsewhere, &one, at(1)), Message::Nothing);
    assert_eq!(world.listen(organization, &two, at(1)), Message::Job(job));
}

#[test]
fn a_minted_runner_gets_no_job_before_it_listens() {
    let mut world = world();
    let runner = mint(&mut world, "a", &["linux"], 0);
    let job = queue(&mut world, &["linux"], 0);
    world.step(at(1));
    assert_eq!(world.job(job).unwrap().state, JobState::Queued);
    let session = connect(&mut world, runner, 2);
    assert_eq!(world.listen(runner, &session, at(2)), Message::Job(job));
}

#[test]
fn a_registration_is_not_bound_to_a_job() {
    let mut world = world();
    let first = queue(&mut world, &["linux"], 0);
    let second = queue(&mut world, &["linux"], 1);
    let (a, b) = (mint(&mut world, "for-first", &["linux"], 2), mint(&mut world, "for-second", &["linux"], 2));
    let session = connect(&mut world, b, 3);
    assert_eq!(world.listen(b, &session, at(3)), Message::Job(first));
    let session = connect(&mut world, a, 4);
    assert_eq!(world.listen(a, &session, at(4)), Message::Job(second));
}

#[test]
fn an_assigned_job_that_is_not_fetched_is_queued_again_after_a_minute() {
    let mut world = world();
    let (lazy, session) = listening(&mut world, "lazy", &["linux"], 0);
    let job = queue(&mut world, &["linux"], 0);
    assert_eq!(world.listen(lazy, &session, at(0)), Message::Job(job));
    world.stop_listening(lazy, at(0));
    world.step(at(59));
    assert!(matches!(world.job(job).unwrap().state, JobState::Assigned { .. }));
    assert_eq!(world.next_deadline(), Some(at(60)));
    world.step(at(60));
    assert_eq!(world.job(job).unwrap().state, JobState::Queued);
    assert_eq!(world.job(job).unwrap().events.last().unwrap().kind, EventKind::Requeued("lazy".into()));
    assert!(!world.acquire(lazy, job, at(61)), "too late");
}

#[test]
fn a_registration_that_is_deleted_before_its_job_is_fetched_returns_the_job() {
    let mut world = world();
    world.behaviour.deletes_busy = true;
    let (runner, session) = listening(&mut world, "a", &["linux"], 0);
    let job = queue(&mut world, &["linux"], 0);
    assert_eq!(world.listen(runner, &session, at(0)), Message::Job(job));
    world.delete_runner(&Scope::Repository(REPOSITORY.into()), runner, at(1)).unwrap();
    world.step(at(1));
    assert_eq!(world.job(job).unwrap().state, JobState::Queued);
    assert!(!world.acquire(runner, job, at(1)));
}

#[test]
fn one_registration_runs_one_job() {
    let mut world = world();
    let (runner, session) = listening(&mut world, "a", &["linux"], 0);
    let first = queue(&mut world, &["linux"], 0);
    queue(&mut world, &["linux"], 0);
    world.behaviour.removal_lag = SignedDuration::from_secs(5);
    assert_eq!(world.listen(runner, &session, at(1)), Message::Job(first));
    assert!(world.acquire(runner, first, at(1)));
    assert_eq!(world.renew(runner, first, at(2)), Control::GoOn);
    assert!(world.finish(runner, first, "success", at(3)));
    assert_eq!(world.listen(runner, &session, at(4)), Message::Nothing, "it is listed still but gets nothing");
    world.step(at(8));
    assert_eq!(world.leftovers(), Vec::<String>::new());
    assert_eq!(world.listen(runner, &session, at(9)), Message::Gone);
}

#[test]
fn a_job_without_a_runner_ends_after_a_day() {
    let mut world = world();
    let job = queue(&mut world, &["linux"], 0);
    world.step(at(24 * 3600));
    assert_eq!(world.job(job).unwrap().state, JobState::Completed { conclusion: "cancelled".into() });
}

#[test]
fn a_registration_without_a_runner_is_removed_after_a_day() {
    let mut world = world();
    mint(&mut world, "ghost", &["linux"], 0);
    world.step(at(24 * 3600 - 1));
    assert_eq!(world.runner_names(), ["ghost"]);
    world.step(at(24 * 3600));
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn an_idle_runner_may_be_evicted() {
    let mut world = world();
    world.behaviour.idle_eviction = Some(SignedDuration::from_mins(5));
    let (runner, session) = listening(&mut world, "a", &["linux"], 0);
    assert_eq!(world.listen(runner, &session, at(299)), Message::Nothing);
    assert_eq!(world.listen(runner, &session, at(300)), Message::Gone);
}

#[test]
fn a_silent_runner_goes_offline() {
    let mut world = world();
    let (runner, _) = listening(&mut world, "a", &["linux"], 0);
    world.stop_listening(runner, at(10));
    assert!(world.leftovers()[0].contains("online"));
    world.step(at(70));
    assert!(world.leftovers()[0].contains("offline"));
    connect(&mut world, runner, 71);
}

#[test]
fn a_runner_has_one_session_at_a_time() {
    let mut world = world();
    let (runner, _) = listening(&mut world, "a", &["linux"], 0);
    assert_eq!(world.open_session(runner, "2.336.0", at(1)), Session::Conflict);
    assert_eq!(world.open_session(runner, "2.328.9", at(1)), Session::Deprecated);
    assert_eq!(world.open_session(99, "2.336.0", at(1)), Session::Gone);
}

#[test]
fn busy_may_lag_behind_the_job() {
    let mut world = world();
    world.behaviour.busy_lag = SignedDuration::from_secs(30);
    let (runner, session) = listening(&mut world, "a", &["linux"], 0);
    let job = queue(&mut world, &["linux"], 0);
    assert_eq!(world.listen(runner, &session, at(0)), Message::Job(job));
    assert!(world.acquire(runner, job, at(0)));
    let busy = |world: &World, now| crate::shapes::runner(world, &world.runners[&runner], at(now))["busy"].clone();
    assert_eq!((busy(&world, 29), busy(&world, 30)), (false.into(), true.into()));
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let mut worlds = [World::new(Behaviour::default(), 7), World::new(Behaviour::default(), 7)];
    let [one, two] = worlds.each_mut().map(|world| world.add_token(crate::Token::default()));
    assert_eq!(one, two);
}
