//! The flight recorder: what is recorded can be played again, is bounded, and holds no secret.

use std::collections::BTreeSet;

use super::fixture::*;
use crate::*;

/// A fleet, its recorder, and the second of the clock.
struct Recording {
    fleet: Fleet,
    recorder: Recorder,
    now: i64,
    drawn: u32,
    /// States of the fleet, one a second.
    states: Vec<serde_json::Value>,
}

impl Recording {
    fn new(limit: usize) -> Self {
        Self { fleet: Fleet::default(), recorder: Recorder::new(limit), now: 1000, drawn: 0, states: Vec::new() }
    }

    fn take(&mut self, input: Input) {
        self.recorder.take(&mut self.fleet, input, at(self.now));
    }

    fn pass(&mut self) -> Vec<Effect> {
        let drawn = &mut self.drawn;
        let mut nonce = || {
            *drawn += 1;
            format!("n{drawn:05}").parse().unwrap()
        };
        let pass = self.recorder.pass(&mut self.fleet, &config(2), &mut nonce, at(self.now));
        if pass.commit.is_some() {
            self.take(Input::Committed);
        }
        pass.start.into_iter().chain(pass.start_after_commit).collect()
    }

    /// Serves a job, with a registration that is refused once.
    fn life(&mut self, job_id: u64) {
        let begin = self.now;
        for second in 0..40 {
            self.now = begin + second;
            let vms: Vec<ownership::RunnerName> = self.fleet.records().map(|intent| intent.name.clone()).collect();
            let guests = vms.iter().filter(|name| self.fleet.record(name).unwrap().life.state.has_guest());
            let guests: Vec<(u32, GuestSeen)> = guests.map(|name| self.seen(name, second)).collect();
            let jobs = vec![JobSeen { created_at: Some(at(begin)), ..job(job_id, JobPhase::Queued, None) }];
            let facts = observed(self.now, &guests, if second < 20 { jobs } else { vec![] }, vec![]);
            self.take(Input::Guests(facts.guests.unwrap()));
            for (name, seen) in facts.repositories {
                self.take(Input::Repository(name, seen));
            }
            for effect in self.pass() {
                let outcome = answer(&effect.step, second);
                self.take(Input::Ended(effect.name, outcome));
            }
            self.states.push(serde_json::to_value(Snapshot::of(&self.fleet)).unwrap());
        }
        self.now = begin + 60;
    }

    fn seen(&self, name: &ownership::RunnerName, second: i64) -> (u32, GuestSeen) {
        let power = if second > 25 { Power::Off } else { Power::Running };
        let claim = Claim::Ours { name: name.clone(), pool: "ubuntu".parse().unwrap() };
        (name.vmid().get(), GuestSeen { claim, ..guest(name.vmid().get(), power).1 })
    }

    fn text(&self) -> Vec<String> {
        self.recorder.lines().map(|line| line.to_string()).collect()
    }
}

fn answer(step: &Step, second: i64) -> Outcome {
    match step {
        Step::Configure if second < 6 => {
            Err(Failure { kind: FailureKind::Passing, message: "timed out".into(), retry_at: None })
        }
        Step::Mint { .. } => Ok(Success::Minted { runner_id: 7 }),
        Step::Watch => Ok(Success::Watched { is_off: false }),
        _ => Ok(Success::Done),
    }
}

fn play(lines: &[String]) -> Replay {
    replay(lines.iter().map(String::as_str)).unwrap()
}

#[test]
fn a_recording_leads_to_the_same_decisions() {
    let mut recording = Recording::new(1 << 20);
    recording.life(1);
    assert!(recording.fleet.records().any(|intent| intent.life.state == State::Gone), "{:?}", recording.fleet.records);
    let replay = play(&recording.text());
    assert_eq!(replay.diverged_at, None);
    let steps: BTreeSet<String> = replay
        .passes
        .iter()
        .flat_map(|pass| &pass.effects)
        .map(|effect| format!("{:?}", effect.step).split([' ', '{']).next().unwrap().to_owned())
        .collect();
    let expected = ["Clone", "Configure", "Start", "AwaitAgent", "Mint", "Arm", "Destroy"].map(str::to_owned);
    assert!(expected.iter().all(|step| steps.contains(step)), "{steps:?}");
    assert!(replay.passes.iter().any(|pass| !pass.waiting.is_empty() && !pass.events.is_empty()));
}

#[test]
fn a_changed_line_is_named() {
    let mut recording = Recording::new(1 << 20);
    recording.life(1);
    let mut lines = recording.text();
    let minted = lines.iter().position(|line| line.contains("\"Minted\"")).unwrap();
    lines[minted] = lines[minted].replace("\"runner_id\":7", "\"runner_id\":8");
    let next_pass = minted + 1 + lines[minted + 1..].iter().position(|line| line.contains("\"pass\"")).unwrap();
    assert_eq!(play(&lines).diverged_at, Some(next_pass + 1), "the event of the next pass has another number");
    lines.remove(minted);
    assert!(play(&lines).diverged_at.is_some());
}

#[test]
fn the_recorder_keeps_a_bounded_number_of_bytes_that_can_be_played() {
    const LIMIT: usize = 64 * 1024;
    let mut recording = Recording::new(LIMIT);
    for job in 1..40 {
        recording.life(job);
        let bytes: usize = recording.recorder.lines().map(|line| line.len() + 1).sum();
        let snapshot = serde_json::to_string(&Snapshot::of(&recording.fleet)).unwrap().len();
        assert!(bytes < LIMIT.max(4 * snapshot) + 8 * 1024, "{bytes} bytes, of which a snapshot takes {snapshot}");
    }
    let lines = recording.text();
    let starts: Vec<usize> = (0..lines.len()).filter(|index| lines[*index].contains("\"start\"")).collect();
    assert_eq!((starts.len(), starts[0]), (2, 0));
    let replay = play(&lines);
    assert_eq!(replay.diverged_at, None, "the second snapshot is the state that the lines before it lead to");
    assert!(replay.passes.len() > 40);
    assert_eq!(play(&lines[starts[1] - 3..]).diverged_at, None, "lines before the first start are skipped");
}

#[test]
fn a_snapshot_in_the_middle_of_an_effect_is_complete() {
    let mut recording = Recording::new(1 << 20);
    recording.take(Input::Guests(observed(1000, &[], vec![], vec![]).guests.unwrap()));
    let jobs = vec![JobSeen { created_at: Some(at(999)), ..job(1, JobPhase::Queued, None) }];
    for (name, seen) in observed(1000, &[], jobs, vec![]).repositories {
        recording.take(Input::Repository(name, seen));
    }
    let vm = recording.pass().remove(0).name;
    for _ in 0..4 {
        recording.take(Input::Ended(vm.clone(), Ok(Success::Done)));
        recording.pass();
    }
    recording.take(Input::Ended(vm.clone(), Ok(Success::Minted { runner_id: 7 })));
    let fleet = &recording.fleet;
    assert!(fleet.record(&vm).unwrap().holds_registration && fleet.record(&vm).unwrap().life.started_at.is_some());
    let text = serde_json::to_string(&Snapshot::of(fleet)).unwrap();
    let read: Snapshot = serde_json::from_str(&text).unwrap();
    let again = read.into_fleet();
    assert_eq!(again.records, fleet.records);
    assert_eq!(again.under_way, fleet.under_way);
}

#[test]
fn a_torn_recording_says_what_is_wrong() {
    let mut recording = Recording::new(1 << 20);
    recording.life(1);
    let mut lines = recording.text();
    let last = lines.last_mut().unwrap();
    last.truncate(last.len() / 2);
    assert_eq!(play(&lines).diverged_at, None, "the last line was cut off");
    lines[5].truncate(10);
    let error = replay(lines.iter().map(String::as_str)).unwrap_err();
    assert!(matches!(error, ReplayError::Unreadable { line: 6, .. }), "{error}");
    assert!(matches!(replay(lines[2..4].iter().map(String::as_str)), Err(ReplayError::NoStart)));
    let without_config = lines.iter().take(5).chain(&lines[6..]).filter(|line| !line.contains("\"config\""));
    let error = replay(without_config.map(String::as_str)).unwrap_err();
    assert!(matches!(error, ReplayError::NoConfig { .. }), "{error}");
}

/// I6: a new field of a recorded type must be judged before it is added to this list.
#[test]
fn i6_a_recording_has_only_keys_that_hold_no_secret() {
    const KEYS: &str = include_str!("recorded_keys.txt");
    let known: BTreeSet<&str> = KEYS.lines().collect();
    let mut recording = Recording::new(1 << 20);
    recording.life(1);
    let mut found = BTreeSet::new();
    for line in recording.recorder.lines() {
        collect_keys(&serde_json::from_str(line).unwrap(), &mut found);
    }
    recording.states.iter().for_each(|state| collect_keys(state, &mut found));
    let unknown: Vec<&String> = found.iter().filter(|key| !known.contains(key.as_str())).collect();
    assert!(unknown.is_empty(), "these keys are new: {unknown:?}");
    let unused: Vec<&&str> = known.iter().filter(|key| !found.contains(**key)).collect();
    assert!(unused.is_empty(), "these keys are not used: {unused:?}");
}

/// Adds the keys of all objects. Names, VMIDs and repositories are keys as well.
fn collect_keys(value: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                let is_name =
                    key.parse::<ownership::RunnerName>().is_ok() || key.parse::<u32>().is_ok() || key.contains('/');
                if !is_name {
                    keys.insert(key.clone());
                }
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}
