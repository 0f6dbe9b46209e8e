//! Conditions, hold-down, equal sources, orders; and that flapping never flaps the output.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::{Failover as Config, Limits, Revert};

const LOSS: Duration = Duration::from_millis(200);
const STEP: u64 = 20;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn start() -> Now {
    Now { mono: Instant::now(), utc: Duration::from_secs(1_795_262_400) }
}

/// Each condition after 1 s, clear after 1 s, hold-down of 10 s.
fn config(conditions: &[Condition]) -> Config {
    let limits = |&condition| Limits { after: ms(1000), clear: ms(1000), per_second: 5, ..Limits::usual(condition) };
    Config { conditions: conditions.iter().map(limits).collect(), ..Config::new(LOSS, ms(4000), Revert::Never) }
}

/// What a source does at a time: whether media comes, and what is wrong with it.
#[derive(Clone, Copy)]
struct Does {
    flows: bool,
    video: bool,
    audio: bool,
    state: Option<Condition>,
    errors: Option<(Condition, u64)>,
}

const WELL: Does = Does { flows: true, video: true, audio: true, state: None, errors: None };
const GONE: Does = Does { flows: false, ..WELL };
const BLACK: Does = Does { state: Some(Condition::Black), ..WELL };

/// Runs sources as `does(source, ms)` says. Returns the switches with their time in ms.
fn run(config: &Config, sources: usize, until: u64, does: impl Fn(usize, u64) -> Does) -> Vec<(u64, Switch)> {
    run_with(config, sources, until, does, |_, _, _| {})
}

fn run_with(
    config: &Config,
    sources: usize,
    until: u64,
    does_of: impl Fn(usize, u64) -> Does,
    mut operator: impl FnMut(u64, &mut Failover, &[Health]),
) -> Vec<(u64, Switch)> {
    let (t0, mut failover) = (start(), Failover::new(config.clone()));
    let mut judges = vec![Judge::new(&config.conditions); sources];
    let mut health = vec![Health { joinable: true, ..Health::default() }; sources];
    let mut switches = Vec::new();
    for at in (0..until).step_by(STEP as usize) {
        let now = t0.after(ms(at));
        for (i, (judge, health)) in judges.iter_mut().zip(&mut health).enumerate() {
            let does = does_of(i, at);
            if at == 0 {
                judge.tell(now, Evidence::Tracks { video: true, audio: true });
            }
            if at % 40 == 0 && does.flows {
                health.media(now, LOSS);
                for (comes, evidence) in [(does.video, Evidence::Video), (does.audio, Evidence::Audio)] {
                    if comes {
                        judge.tell(now, evidence);
                    }
                }
                for state in Condition::ALL.into_iter().filter(|c| !c.is_rate()) {
                    if !matches!(state, Condition::NoVideo | Condition::NoAudio) {
                        judge.tell(now, Evidence::State(state, does.state == Some(state)));
                    }
                }
            }
            if at % 1000 == 0 {
                for condition in Condition::ALL.into_iter().filter(|c| c.is_rate()) {
                    // Of the second that is over.
                    let past = does_of(i, at.saturating_sub(STEP));
                    let count = past.errors.filter(|(c, _)| *c == condition).map_or(0, |(_, count)| count);
                    judge.tell(now, Evidence::Errors(condition, count));
                }
            }
            judge.settle(now);
            *health = judge.health(*health);
        }
        operator(at, &mut failover, &health);
        switches.extend(failover.decide(now, &health).map(|s| (at, s)));
    }
    switches
}

#[test]
fn each_condition_switches_after_its_duration_and_not_sooner() {
    for condition in Condition::ALL {
        let bad = match condition {
            Condition::NoVideo => Does { video: false, ..WELL },
            Condition::NoAudio => Does { audio: false, ..WELL },
            rate if rate.is_rate() => Does { errors: Some((rate, 5)), ..WELL },
            state => Does { state: Some(state), ..WELL },
        };
        let does = |i: usize, at: u64| if i == 0 && at >= 3000 { bad } else { WELL };
        let switches = run(&config(&[condition]), 2, 10_000, does);
        let [(_, first), (at, second)] = switches[..] else { panic!("{condition:?}: {switches:?}") };
        assert_eq!((first.why, second), (Why::First, Switch { to: 1, why: Why::Fault(condition) }));
        // The last picture came at 2960.
        assert!((3940..=4300).contains(&at), "{condition:?} after {} ms", at - 3000);
        assert_eq!(run(&config(&[]), 2, 10_000, does).len(), 1, "{condition:?}: the config does not name it");
        let brief = |i: usize, at: u64| if i == 0 && (3000..3900).contains(&at) { bad } else { WELL };
        assert_eq!(run(&config(&[condition]), 2, 10_000, brief).len(), 1, "{condition:?} for less than its duration");
    }
}

#[test]
fn fewer_errors_than_the_limit_are_no_fault() {
    let few = |i: usize, _| if i == 0 { Does { errors: Some((Condition::Continuity, 4)), ..WELL } } else { WELL };
    assert_eq!(run(&config(&[Condition::Continuity]), 2, 20_000, few).len(), 1);
}

#[test]
fn what_all_sources_show_is_the_programme() {
    // The second one's picture goes black 500 ms later: it is suspect when the first one's duration is over.
    let dark = |i: usize, at: u64| if at >= 3000 + 500 * i as u64 { BLACK } else { WELL };
    assert_eq!(run(&config(&[Condition::Black]), 2, 20_000, dark).len(), 1);
}

#[test]
fn of_two_with_faults_the_clearly_better_is_taken() {
    let conditions = [Condition::NoVideo, Condition::Continuity, Condition::Black, Condition::Silent];
    let against = |other: Does| {
        let does = move |i: usize, at: u64| match i {
            0 if at >= 5000 => Does { video: false, ..WELL },
            0 => WELL,
            _ => other,
        };
        run(&config(&conditions), 2, 20_000, does).len() - 1
    };
    assert_eq!(against(Does { errors: Some((Condition::Continuity, 9)), ..WELL }), 1);
    assert_eq!(against(Does { video: false, ..WELL }), 0);
    let worse = Does { state: Some(Condition::Black), errors: Some((Condition::Continuity, 9)), ..WELL };
    assert_eq!(against(worse), 0, "60 points against 60");
}

#[test]
fn a_silent_source_is_left_at_once_even_within_the_hold_down() {
    let does = |i: usize, at: u64| match i {
        0 if at >= 3000 => BLACK,
        1 if at >= 6000 => GONE,
        _ => WELL,
    };
    let switches = run(&config(&[Condition::Black]), 3, 20_000, does);
    assert_eq!(
        switches[1..],
        [(4000, Switch { to: 1, why: Why::Fault(Condition::Black) }), (6160, Switch { to: 2, why: Why::Loss }),]
    );
}

#[test]
fn where_a_silent_one_is_left_the_one_without_faults_is_preferred() {
    let does = |i: usize, at: u64| match i {
        0 if at >= 5000 => GONE,
        1 if at >= 1000 => BLACK,
        _ => WELL,
    };
    assert_eq!(run(&config(&[Condition::Black]), 3, 9000, does)[1..], [(5160, Switch { to: 2, why: Why::Loss })]);
    let only = run(&config(&[Condition::Black]), 2, 9000, does);
    assert_eq!(only[1..], [(5160, Switch { to: 1, why: Why::Loss })], "black is better than nothing");
}

#[test]
fn a_preferred_source_is_gone_back_to_when_it_has_been_well_for_the_hold_down() {
    let config = Config { revert: Revert::After(ms(2000)), ..config(&[Condition::Black]) };
    let does = |i: usize, at: u64| if i == 0 && (3000..8000).contains(&at) { BLACK } else { WELL };
    let switches = run(&config, 2, 40_000, does);
    // Over at 9000, when it has been clear for a second; then 10 s of hold-down.
    assert_eq!(
        switches[1..],
        [(4000, Switch { to: 1, why: Why::Fault(Condition::Black) }), (19_000, Switch { to: 0, why: Why::Revert }),]
    );
}

#[test]
fn equal_sources_have_no_order_but_their_score() {
    let config = Config {
        order: SourceOrder::Equal,
        revert: Revert::After(ms(2000)),
        ..config(&[Condition::Black, Condition::Silent, Condition::NoAudio])
    };
    let does = |i: usize, at: u64| match i {
        0 if (3000..8000).contains(&at) => BLACK,
        _ => WELL,
    };
    assert_eq!(run(&config, 2, 60_000, does).len(), 2, "nobody is gone back to");
}

#[test]
fn an_operator_is_obeyed() {
    let order = |want: &'static [(u64, Order)]| {
        move |at: u64, failover: &mut Failover, health: &[Health]| {
            for (_, order) in want.iter().filter(|(when, _)| *when == at) {
                failover.order(start(), *order, health).unwrap();
            }
        }
    };
    let black = |i: usize, at: u64| if i == 1 && at >= 8000 { BLACK } else { WELL };
    let gone = |i: usize, at: u64| if i == 1 && at >= 8000 { GONE } else { WELL };
    let config = config(&[Condition::Black]);
    let taken = Switch { to: 1, why: Why::Order };
    let take = run_with(&config, 2, 30_000, black, order(&[(5000, Order::Take(1))]));
    let left = Switch { to: 0, why: Why::Fault(Condition::Black) };
    assert_eq!(take[1..], [(5000, taken), (15_000, left)], "a change by hand begins a hold-down");
    let lock = run_with(&config, 2, 30_000, gone, order(&[(5000, Order::Lock(1))]));
    assert_eq!(lock[1..], [(5000, taken)], "whatever becomes of it");
    let unlock = run_with(&config, 2, 30_000, gone, order(&[(5000, Order::Lock(1)), (20_000, Order::Unlock)]));
    assert_eq!(unlock[1..], [(5000, taken), (20_000, Switch { to: 0, why: Why::Loss })]);
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let now = start();
    let mut failover = Failover::new(config(&[]));
    let mut health = [Health { joinable: true, ..Health::default() }; 2];
    health[0].media(now, LOSS);
    failover.decide(now, &health);
    assert_eq!(failover.order(now, Order::Take(1), &health), Err(Refused::NotUsable));
    assert_eq!(failover.order(now, Order::Lock(2), &health), Err(Refused::Unknown));
    assert!(!failover.locked());
    assert_eq!(failover.order(now, Order::Lock(0), &health), Ok(()), "the one on air can always be kept");
    assert!(failover.locked());
}

#[test]
fn the_score_tells_why() {
    let (t0, mut judge) = (start(), Judge::new(&[]));
    assert_eq!(judge.score(true), Score { points: 100, reasons: vec![] });
    assert_eq!(judge.score(false).points, 0);
    judge.tell(t0, Evidence::State(Condition::Black, true));
    let later = t0.after(ms(5000));
    assert_eq!(judge.score(true).points, 80, "half, until it has lasted");
    judge.settle(later);
    judge.tell(later, Evidence::State(Condition::Silent, true));
    let score = judge.score(true);
    assert_eq!(score.points, 100 - 40 - 15);
    let reasons: Vec<_> = score.reasons.iter().map(|r| (r.condition, r.since, r.points, r.lasts)).collect();
    assert_eq!(
        reasons,
        [(Some(Condition::Black), Some(t0), 40, true), (Some(Condition::Silent), Some(later), 15, false)]
    );
    assert_eq!(judge.health(Health::default()).fault, None, "the config names nothing");
    judge.tell(later, Evidence::Reconnected);
    judge.settle(later.after(ms(5000)));
    assert_eq!(judge.score(true).points, 100);
}

#[test]
fn it_asks_to_be_woken_when_something_becomes_a_fault() {
    let (t0, config) = (start(), config(&[Condition::NoVideo, Condition::Black]));
    let mut judge = Judge::new(&config.conditions);
    assert_eq!(judge.wake_at(t0), None);
    judge.tell(t0, Evidence::Tracks { video: true, audio: false });
    judge.tell(t0, Evidence::Video);
    assert_eq!(judge.wake_at(t0), Some(t0.after(ms(1000))));
    judge.tell(t0.after(ms(40)), Evidence::State(Condition::Black, true));
    judge.settle(t0.after(ms(1000)));
    assert_eq!(judge.health(Health::default()).fault, Some(Condition::NoVideo));
    assert_eq!(judge.wake_at(t0.after(ms(1000))), Some(t0.after(ms(1040))));
}

/// A source that flaps: when its phases begin, and what it does in every other one.
fn flaps(longest: u64) -> impl Strategy<Value = (Vec<u64>, usize)> {
    (proptest::collection::vec(200..longest, 1..120), 0usize..4)
}

fn phase((phases, kind): &(Vec<u64>, usize), at: u64) -> Does {
    let total: u64 = phases.iter().sum();
    let mut rest = at % total.max(1);
    for (n, length) in phases.iter().enumerate() {
        if rest < *length {
            let bad = [
                GONE,
                BLACK,
                Does { video: false, ..WELL },
                Does { errors: Some((Condition::Continuity, 50)), ..WELL },
            ][*kind];
            return if n % 2 == 1 { bad } else { WELL };
        }
        rest -= length;
    }
    WELL
}

const ARMED: [Condition; 3] = [Condition::Black, Condition::NoVideo, Condition::Continuity];

#[test]
fn a_source_that_flaps_every_two_seconds_costs_one_switch() {
    for (kind, revert) in (0..4).flat_map(|kind| [(kind, Revert::Never), (kind, Revert::After(ms(1000)))]) {
        let config = Config { revert, ..config(&ARMED) };
        let flapping = (vec![2000, 2000], kind);
        let switches = run(&config, 2, 120_000, |i, at| if i == 0 { phase(&flapping, at) } else { WELL });
        assert_eq!(switches.len(), 2, "{kind} {revert:?}: {switches:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One source flaps in any way and the other is well: at most one switch in any hold-down.
    #[test]
    fn flapping_never_flaps_the_output(flapping in flaps(4000), place in 0usize..2, revert in any::<bool>()) {
        let revert = if revert { Revert::After(ms(500)) } else { Revert::Never };
        let config = Config { revert, ..config(&ARMED) };
        let switches = run(&config, 2, 60_000, |i, at| if i == place { phase(&flapping, at) } else { WELL });
        for pair in switches[1..].windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= 10_000, "{:?}", switches);
        }
    }

    /// All sources flap in any way: nothing but silence shortens the hold-down.
    #[test]
    fn only_silence_is_left_within_the_hold_down(a in flaps(8000), b in flaps(8000), c in flaps(8000)) {
        let config = Config { revert: Revert::After(ms(500)), ..config(&ARMED) };
        let all = [a, b, c];
        let switches = run(&config, 3, 60_000, |i, at| phase(&all[i], at));
        for pair in switches[1..].windows(2) {
            let held = pair[1].0 - pair[0].0 >= 10_000;
            prop_assert!(held || pair[1].1.why == Why::Loss, "{:?}", switches);
        }
    }
}
