//! Seeded chaos: a larger world with every kind of fault, then a fair future. A failing seed is named, and repeats itself.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::exploration::ends_well;
use super::world::{Fault, Faults, Move, Rules, Violation, World};

const MOVES: usize = 400;

/// Every kind of fault. A second dispatcher and requests that arrive late take turns, because nobody can ask a guest in the
/// moment in which a late request stops it. A process without records believes Proxmox VE, so that lost records take turns with wrong lists, and
/// with a person who starts a used VM: nothing but a record shows that it was used.
fn faults(seed: u64) -> Faults {
    let faults = Faults::NONE
        .with(Fault::Pass, 60)
        .with(Fault::Crash, 4)
        .with(Fault::FailedCommit, 4)
        .with(Fault::LostReply, 8)
        .with(Fault::Refusal, 8)
        .with(Fault::Lasting, 2)
        .with(Fault::WrongGone, 2)
        .with(Fault::LateList, 4)
        .with(Fault::Ghost, 2)
        .with(Fault::HandOver, 2)
        .with(Fault::Silence, 1)
        .with(Fault::Cut, 1)
        .with(Fault::PowerLoss, 2)
        .with(Fault::Moved, 2)
        .with(Fault::Careless, 1);
    let faults = if seed.is_multiple_of(2) { faults.with(Fault::Rival, 2) } else { faults.with(Fault::Delay, 4) };
    if seed.is_multiple_of(3) {
        faults.with(Fault::StartedAgain, 2).with(Fault::WrongList, 3)
    } else {
        faults.with(Fault::LedgerLoss, 2)
    }
}

/// Runs a world. `kept` becomes true if a VM was in quarantine.
fn run(seed: u64, made: &mut Vec<Move>, kept: &mut bool) -> Result<(), Violation> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rules = Rules::new(1 + u32::try_from(seed % 3).unwrap(), 2, faults(seed));
    (rules.slow_disk, rules.slow_replies) = (seed % 4 < 2, seed.is_multiple_of(2));
    if seed % 5 < 2 {
        rules.pass = jiff::SignedDuration::from_secs(20);
    }
    if !seed.is_multiple_of(3) {
        rules = rules.with_quarantine(1);
    }
    let mut world = World::new(rules, 1 + seed % 6);
    for _ in 0..MOVES {
        let moves = world.moves();
        if moves.is_empty() || world.is_finished() {
            break;
        }
        // Faults are rarer than progress, or nothing would ever get anywhere.
        let chosen = &moves[random.random_range(0..moves.len())];
        if chosen.fault().is_none() || random.random_ratio(1, 12) {
            made.push(chosen.clone());
            world.make(chosen)?;
            world.check_rest()?;
            *kept |= world.fleet.records().any(|intent| intent.life.state == crate::State::Quarantined);
        }
    }
    ends_well(world)
}

/// I1 to I5, I7, I8, I10, I11 over many lives. `PXCI_SEEDS` asks for more seeds, `PXCI_SEED` for one.
#[test]
fn chaos_keeps_every_invariant_and_everything_ends() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PXCI_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PXCI_SEEDS").unwrap_or(300),
    };
    let (mut kept, is_one) = (false, seeds.end - seeds.start == 1);
    for seed in seeds {
        let mut made = Vec::new();
        if let Err(Violation(text)) = run(seed, &mut made, &mut kept) {
            panic!("seed {seed} fails; repeat it with PXCI_SEED={seed}: {text}, after {made:#?}");
        }
    }
    assert!(kept || is_one, "no VM was ever in quarantine");
}
