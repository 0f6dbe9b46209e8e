//! The whole of one channel on virtual time: the real cores (demux, timeline, failover, channel, packager; in the model
//! encode processes the slot and sound grids), simulated sources, and a seeded script of what goes wrong.
//!
//! After every event the promises are checked ([`judge`], [`viewer`]). *Single* scripts do one thing at a time and give the
//! channel time to recover: no viewer may notice, so every published segment must show exactly the frames of its slots.
//! *Chaos* scripts do anything: then numbers still only rise, nothing listed ever changes, nothing stops, nothing panics.
//!
//! A failure prints its seed and what happened last. `TANDEM_SIM_SEED=17 cargo nextest run --test sim` runs that seed in
//! both modes, `TANDEM_SIM_SEEDS=5000` so many seeds. A seed that failed stays in `seeds.txt`, with what it found.

#![allow(clippy::unwrap_used)] // a test's helpers may fail as its assertions do

mod encoder;
mod hosts;
mod judge;
mod probe;
mod programme;
mod rng;
mod script;
mod ts;
mod viewer;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rng::Rng;
use script::{Fault, Mode, Script};
use tandem::channel::{Action, Channel, Generation, Input};
use tandem::clock;
use tandem::config::{Condition, Limits, Redundancy};
use tandem::encode::ipc::{FromWorker, Hello};
use tandem::media::PipelineId;
use tandem::monitor::EventKind;
use tandem::probe::ipc::{FromProbe, Heartbeat, PictureSeen, Seen, SoundSeen};
use world::Outcome;

/// Seeds of each mode that run every time: half a minute of CPU without optimisation.
const SEEDS: u64 = 16;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs one seed; what went wrong, for people.
fn try_seed(mode: Mode, redundancy: Redundancy, seed: u64) -> Result<Outcome, String> {
    let script = Script::new(mode, redundancy, seed);
    let text = format!("{script:#?}");
    let ran = catch_unwind(AssertUnwindSafe(|| world::run(script)));
    let broken = match ran {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(broken)) => broken,
        Err(_) => "panic, see above".to_owned(),
    };
    Err(format!("{text}\n{}\n{mode:?} {redundancy:?} seed {seed}: {broken}", judge::trace()))
}

fn run_seeds(mode: Mode, redundancy: Redundancy, seeds: impl Iterator<Item = u64>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut failed = Vec::new();
    let mut first = None;
    for seed in setting("TANDEM_SIM_SEED").map_or_else(|| seeds.collect(), |only| vec![only]) {
        match try_seed(mode, redundancy, seed) {
            Ok(outcome) => outcomes.push(outcome),
            Err(text) => {
                failed.push((seed, text.lines().last().unwrap().to_owned()));
                first.get_or_insert(text);
            }
        }
    }
    if let Some(text) = first {
        panic!("{text}\n\n{} failed: {failed:#?}", failed.len());
    }
    outcomes
}

/// A quarter of the seeds, so that the quarters run side by side.
fn quarter(of: u64) -> impl Iterator<Item = u64> {
    (0..setting("TANDEM_SIM_SEEDS").unwrap_or(SEEDS)).filter(move |seed| seed % 4 == of)
}

fn single(of: u64, redundancy: Redundancy) {
    let outcomes = run_seeds(Mode::Single, redundancy, quarter(of));
    // The faults did happen, and the comparison did compare.
    assert!(outcomes.iter().map(|o| o.switches + o.deaths).sum::<u64>() > outcomes.len() as u64);
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert_eq!(sum(|o| o.gaps), 0);
    assert!(sum(|o| o.equal) > sum(|o| o.segments) / 2, "{outcomes:#?}");
    if redundancy == Redundancy::Warm {
        // That is what it is for: between the faults, one encodes. Overlaps and what had to be made twice are in it.
        let once = outcomes.len() as u64 * 90 * 25;
        assert!(sum(|o| o.pictures) < once * 3 / 2, "{} pictures in place of {once}", sum(|o| o.pictures));
        assert!(sum(|o| o.calls) >= outcomes.len() as u64, "{} calls in {} runs", sum(|o| o.calls), outcomes.len());
    }
}

fn chaos(of: u64, redundancy: Redundancy) {
    let outcomes = run_seeds(Mode::Chaos, redundancy, quarter(of));
    assert!(outcomes.iter().map(|o| o.switches + o.deaths).sum::<u64>() > 3 * outcomes.len() as u64);
}

macro_rules! quarters {
    ($($name:ident: $run:ident($of:expr, $redundancy:ident);)*) => {
        $(#[test]
        fn $name() {
            $run($of, Redundancy::$redundancy);
        })*
    };
}

quarters! {
    no_viewer_notices_a_single_fault_0: single(0, Hot);
    no_viewer_notices_a_single_fault_1: single(1, Hot);
    no_viewer_notices_a_single_fault_2: single(2, Hot);
    no_viewer_notices_a_single_fault_3: single(3, Hot);
    whatever_happens_the_numbers_go_on_0: chaos(0, Hot);
    whatever_happens_the_numbers_go_on_1: chaos(1, Hot);
    whatever_happens_the_numbers_go_on_2: chaos(2, Hot);
    whatever_happens_the_numbers_go_on_3: chaos(3, Hot);
    warm_no_viewer_notices_a_single_fault_0: single(0, Warm);
    warm_no_viewer_notices_a_single_fault_1: single(1, Warm);
    warm_no_viewer_notices_a_single_fault_2: single(2, Warm);
    warm_no_viewer_notices_a_single_fault_3: single(3, Warm);
    warm_whatever_happens_the_numbers_go_on_0: chaos(0, Warm);
    warm_whatever_happens_the_numbers_go_on_1: chaos(1, Warm);
    warm_whatever_happens_the_numbers_go_on_2: chaos(2, Warm);
    warm_whatever_happens_the_numbers_go_on_3: chaos(3, Warm);
}

/// `single 17  what it found`, one a line.
#[test]
fn seeds_that_failed_once_stay() {
    for line in include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split_whitespace();
        let (mode, redundancy) = match words.next() {
            Some("single") => (Mode::Single, Redundancy::Hot),
            Some("chaos") => (Mode::Chaos, Redundancy::Hot),
            Some("warm-single") => (Mode::Single, Redundancy::Warm),
            Some("warm-chaos") => (Mode::Chaos, Redundancy::Warm),
            other => panic!("{other:?}: write `single` or `chaos`, with `warm-` in front where redundancy is"),
        };
        let seed = words.next().unwrap().parse().unwrap();
        if let Err(text) = try_seed(mode, redundancy, seed) {
            panic!("{text}\n\n{line}");
        }
    }
}

#[test]
fn a_seed_means_the_same_every_time() {
    for mode in [Mode::Single, Mode::Chaos] {
        for redundancy in [Redundancy::Hot, Redundancy::Warm] {
            assert_eq!(try_seed(mode, redundancy, 3), try_seed(mode, redundancy, 3));
        }
    }
}

/// After a panic of its core a channel begins anew while words of its old encode processes still wait in queues.
#[test]
fn a_word_of_a_killed_process_is_not_taken_for_its_successors() {
    let script = Script::new(Mode::Single, Redundancy::Hot, 1);
    let t0 = clock::now();
    let starts = |actions: Vec<Action>| -> Vec<Generation> {
        let start = |action| match action {
            Action::StartEncoder(_, generation, _) => Some(generation),
            _ => None,
        };
        actions.into_iter().filter_map(start).collect()
    };
    let mut old = Channel::new(world::config(&script), false, t0);
    // Without a picture it starts with the slate.
    let first = starts(old.apply(t0.after(Duration::from_secs(2)), Input::Tick));
    assert_eq!(first.len(), 2);
    let mut new = old.anew(t0.after(Duration::from_secs(3)));
    let second = starts(new.apply(t0.after(Duration::from_secs(5)), Input::Tick));
    assert_eq!(second.len(), 2);
    assert!(second.iter().all(|new| first.iter().all(|old| new > old)), "{first:?} {second:?}");
    let word = FromWorker::Hello(Hello::default());
    let greets = |channel: &mut Channel, generation, word: &FromWorker| {
        let input = Input::Encoder(PipelineId::A, generation, word.clone());
        let actions = channel.apply(t0.after(Duration::from_secs(5)), input);
        actions.iter().any(|a| matches!(a, Action::Event(e) if e.kind == EventKind::EncoderStarted))
    };
    assert!(!greets(&mut new, first[0], &word), "it is not there any more");
    assert!(greets(&mut new, second[0], &word));
}

/// A source whose pictures stop for two seconds, again and again, while its sound flows on.
#[test]
fn a_source_that_flaps_is_left_once_and_only_if_the_config_says_so() {
    let run = |conditions: &[Limits]| {
        let mut script = Script::new(Mode::Chaos, Redundancy::Hot, 1);
        script.sources = [vec![0, 1], vec![2, 3]];
        script.revert = Some(Duration::from_secs(1));
        script.hold_down = Some(Duration::from_secs(10));
        script.conditions = conditions.to_vec();
        script.faults = (0..18).map(|n| (10_000 + n * 4000, Fault::NoVideo { source: 0, ms: 2000 })).collect();
        world::run(script).unwrap()
    };
    let second = Duration::from_secs(1);
    let no_video = Limits { after: second, clear: second, ..Limits::usual(Condition::NoVideo) };
    // Each pipeline's first choice is one.
    assert_eq!(run(&[no_video]).switches, 3);
    assert_eq!(run(&[]).switches, 2);
}

const CONTENT: [Condition; 4] = [Condition::Black, Condition::Frozen, Condition::Silent, Condition::DecoderErrors];

/// Sources on two legs, left for all that is seen in them for two seconds; over when it has been away for one.
fn looked_at(faults: Vec<(u64, Fault)>) -> Script {
    let mut script = Script::new(Mode::Chaos, Redundancy::Hot, 1);
    script.sources = [vec![0, 1], vec![2, 3]];
    script.revert = None;
    script.hold_down = Some(Duration::from_secs(10));
    let (after, clear) = (Duration::from_secs(2), Duration::from_secs(1));
    script.conditions = CONTENT.map(|what| Limits { after, clear, ..Limits::usual(what) }).to_vec();
    script.faults = faults;
    script
}

#[test]
fn what_a_source_shows_is_left_within_its_duration_and_300_ms() {
    for what in CONTENT {
        let script = looked_at(vec![(20_000, Fault::Shows { source: 0, what, ms: 30_000 })]);
        let outcome = world::run(script.clone()).unwrap();
        let [_, _, switched] = outcome.switched_ms[..] else { panic!("{what:?}: {:?}", outcome.switched_ms) };
        // It begins with the next picture, or the next packet of sound.
        assert!((22_000..22_300).contains(&switched), "{what:?}: {} ms", switched - 20_000);
        let unnamed = Script { conditions: Vec::new(), ..script };
        assert_eq!(world::run(unnamed).unwrap().switches, 2, "{what:?}: the config does not name it");
        let brief = looked_at(vec![(20_000, Fault::Shows { source: 0, what, ms: 1800 })]);
        assert_eq!(world::run(brief).unwrap().switches, 2, "{what:?} for less than its duration");
    }
}

#[test]
fn what_all_sources_show_is_the_programme() {
    for what in CONTENT {
        let shows = |source| (20_000 + 300 * source as u64, Fault::Shows { source, what, ms: 20_000 });
        let outcome = world::run(looked_at((0..4).map(shows).collect())).unwrap();
        assert_eq!(outcome.switches, 2, "{what:?}: {:?}", outcome.switched_ms);
    }
}

#[test]
fn a_source_on_standby_is_looked_at_too() {
    let shows = |at, source, ms| (at, Fault::Shows { source, what: Condition::Black, ms });
    // The other one has been black for long, and still is: there is nowhere to go.
    let outcome = world::run(looked_at(vec![shows(10_000, 1, 40_000), shows(20_000, 0, 10_000)])).unwrap();
    assert_eq!(outcome.switches, 2, "{:?}", outcome.switched_ms);
}

#[test]
fn a_picture_that_flaps_every_two_seconds_costs_one_switch() {
    for what in CONTENT {
        let flaps = |n: u64| (10_000 + n * 4000, Fault::Shows { source: 0, what, ms: 2100 });
        let mut script = looked_at((0..18).map(flaps).collect());
        script.revert = Some(Duration::from_secs(1));
        assert_eq!(world::run(script).unwrap().switches, 3, "{what:?}");
    }
}

#[test]
fn while_nobody_looks_nothing_is_known() {
    let black = |at, ms| (at, Fault::Shows { source: 0, what: Condition::Black, ms });
    for dies in [Fault::ProbeDies, Fault::ProbeHangs] {
        // It is gone when the duration is over, and when it is up again it begins to count.
        let outcome = world::run(looked_at(vec![black(20_000, 20_000), (20_800, dies)])).unwrap();
        let [_, _, switched] = outcome.switched_ms[..] else { panic!("{dies:?}: {:?}", outcome.switched_ms) };
        assert!((22_700..27_000).contains(&switched), "{dies:?}: {switched}");
        let over = world::run(looked_at(vec![black(20_000, 1900), (20_800, dies)])).unwrap();
        assert_eq!(over.switches, 2, "{dies:?}: {:?}", over.switched_ms);
    }
}

/// Anything happens, to pictures and to the probe as well.
#[test]
fn whatever_is_seen_the_numbers_go_on() {
    for seed in 0..setting("TANDEM_SIM_SEEDS").unwrap_or(8) {
        let mut script = Script::new(Mode::Chaos, Redundancy::Hot, seed);
        let mut rng = Rng::new(seed ^ 0xb1ac);
        script.conditions = looked_at(Vec::new()).conditions;
        for _ in 0..30 {
            let at = rng.range(0, script.length_ms / script::STEP_MS) * script::STEP_MS;
            let (source, ms) = (rng.range(0, 4) as usize, rng.range(10, 900) * script::STEP_MS);
            let fault = match rng.range(0, 8) {
                0 => Fault::ProbeDies,
                1 => Fault::ProbeHangs,
                _ => Fault::Shows { source, what: rng.pick(&CONTENT), ms },
            };
            script.faults.push((at, fault));
        }
        script.faults.sort_by_key(|(at, _)| *at);
        let text = format!("{script:#?}");
        let outcome =
            world::run(script).unwrap_or_else(|broken| panic!("{text}\n{}\nseed {seed}: {broken}", judge::trace()));
        assert!(outcome.switches >= 2);
    }
}

#[test]
fn a_probe_that_speaks_nonsense_is_ended() {
    let script = looked_at(Vec::new());
    let t0 = clock::now();
    let soon = t0.after(Duration::from_secs(1));
    let seen = Seen { source: 3, session: 0, picture: None, sound: None };
    let picture = PictureSeen { at: 900_000, black_since: Some(800_000), ..PictureSeen::default() };
    let sound = SoundSeen { at: 900_000, silent_since: None, level: -2000 };
    let shows = |picture| FromProbe::Seen(Seen { picture: Some(picture), ..seen });
    let sounds = |sound| FromProbe::Seen(Seen { sound: Some(sound), ..seen });
    let beat = FromProbe::Heartbeat(Heartbeat::default());
    let before = PictureSeen { black_since: Some(900_001), ..picture };
    for (name, words, ends) in [
        ("well", vec![FromProbe::Hello, beat.clone(), shows(picture), sounds(sound)], false),
        ("no hello", vec![beat], true),
        ("two", vec![FromProbe::Hello, FromProbe::Hello], true),
        ("a source that is none", vec![FromProbe::Hello, FromProbe::Seen(Seen { source: 4, ..seen })], true),
        ("a time to come", vec![FromProbe::Hello, shows(PictureSeen { at: 9_000_000, ..picture })], true),
        ("black before it came", vec![FromProbe::Hello, shows(before)], true),
        ("above full scale", vec![FromProbe::Hello, sounds(SoundSeen { level: 1, ..sound })], true),
        ("another session", vec![FromProbe::Hello, FromProbe::Seen(Seen { session: 9, ..seen })], false),
    ] {
        let mut channel = Channel::new(world::config(&script), false, t0);
        channel.apply(t0, Input::Tick);
        let said = words.into_iter().flat_map(|word| channel.apply(soon, Input::Probe(Generation(1), word)));
        let killed = said.filter(|action| matches!(action, Action::KillProbe(Generation(1)))).count();
        assert_eq!(killed, usize::from(ends), "{name}");
    }
}
