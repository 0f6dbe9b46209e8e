//! Two copies of what real multiplexers send, of which each loses a fifth: nothing is missing in what comes out.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::mux::{Division, Shape, Stream, Way, arrivals, compare};
use super::testing::{pid, run};
use crate::wire::ts::NULL_PID;

const WAY: Way = Way {
    shape: Shape::Bursts,
    loss: 20,
    division: Division::Same,
    skew_ms: 300,
    jitter_micros: 300,
    cut: None,
    seconds: 8,
};

/// However many null packets are missing.
const ANY: usize = usize::MAX / 2;

/// Seeds that are looked at; MERGE_SEEDS looks at more.
fn seeds(least: u64) -> std::ops::Range<u64> {
    let more = std::env::var("MERGE_SEEDS").ok().and_then(|more| more.parse().ok());
    0..more.unwrap_or(least)
}

fn holds(ways: &[(&str, Way)], least: u64, nulls_fewer: usize) {
    let mut failures = Vec::new();
    for (name, way) in ways {
        for seed in seeds(least) {
            let stream = Stream::new(way.shape, seed, way.seconds);
            let outcome = run(2, 600, arrivals(&stream, way, seed));
            if let Err(difference) = compare(&outcome.packets(), &stream.packets, nulls_fewer) {
                failures.push(format!("{name}, seed {seed}: {difference}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        ways.len() as u64 * seeds(least).end,
        failures.join("\n")
    );
}

#[test]
fn the_same_datagrams_on_both_paths() {
    let of = |shape, jitter_micros| Way { shape, jitter_micros, ..WAY };
    let ways = [
        ("bursts", of(Shape::Bursts, 300)),
        ("bursts, much jitter", of(Shape::Bursts, 30_000)),
        ("nulls", of(Shape::Nulls, 300)),
        ("filler", of(Shape::Filler, 300)),
    ];
    // Two datagrams of null packets may go while it is found out that the paths have the same ones.
    holds(&ways, 4, 14);
}

#[test]
fn the_same_datagrams_and_null_packets_that_jitter_mixes_up() {
    holds(&[("nulls, much jitter", Way { shape: Shape::Nulls, jitter_micros: 10_000, ..WAY })], 4, ANY);
}

#[test]
fn other_datagrams_on_the_second_path() {
    let of = |shape, size, jitter_micros| Way { shape, division: Division::Of(size), jitter_micros, ..WAY };
    let ways = [
        ("bursts in sevens", of(Shape::Bursts, 7, 300)),
        ("bursts in fives, jitter", of(Shape::Bursts, 5, 5_000)),
        ("bursts one by one", of(Shape::Bursts, 1, 300)),
        ("nulls in sevens", of(Shape::Nulls, 7, 300)),
        ("nulls in fours, jitter", of(Shape::Nulls, 4, 5_000)),
        ("nulls one by one", of(Shape::Nulls, 1, 300)),
    ];
    holds(&ways, 4, ANY);
}

#[test]
fn a_payloader_that_divides_anew_what_is_left() {
    let of = |shape, jitter_micros| Way { shape, division: Division::Anew(7), jitter_micros, ..WAY };
    holds(&[("bursts", of(Shape::Bursts, 300)), ("nulls, jitter", of(Shape::Nulls, 3_000))], 4, ANY);
}

#[test]
fn losses_go_on_behind_the_return_of_a_path() {
    let of = |shape, division, cut| Way { shape, division, cut: Some(cut), ..WAY };
    let (same, fives, sevens) = (Division::Same, Division::Of(5), Division::Of(7));
    let ways = [
        ("the first", of(Shape::Bursts, same, (0, 100))),
        ("the second", of(Shape::Bursts, same, (1, 150))),
        ("the second, otherwise divided", of(Shape::Bursts, fives, (1, 150))),
        ("the first, nulls", of(Shape::Nulls, same, (0, 40))),
        ("the second, nulls", of(Shape::Nulls, sevens, (1, 340))),
    ];
    holds(&ways, 4, ANY);
}

/// Any stream, division, loss, skew and jitter for which bytes and times leave one answer.
fn ways() -> impl Strategy<Value = (Way, u64)> {
    let stream = prop_oneof![
        (Just(Shape::Bursts), division(), 0_u64..=30_000),
        (Just(Shape::Nulls), division(), 0_u64..=5_000),
        // Filler looks alike after 16 packets, or datagrams: nothing but arrival tells how many both paths lost in turns.
        (Just(Shape::Filler), Just(Division::Same), 0_u64..=300),
    ];
    let cut = prop::option::of((0_usize..2, 0_i64..=450));
    (stream, 0_u64..=25, 0_i64..=450, cut, any::<u32>()).prop_map(|(stream, loss, skew_ms, cut, seed)| {
        let (shape, division, jitter_micros) = stream;
        // Filler beside a return is not promised.
        let cut = cut.filter(|_| shape != Shape::Filler);
        (Way { shape, loss, division, skew_ms, jitter_micros, cut, seconds: 8 }, u64::from(seed))
    })
}

fn division() -> impl Strategy<Value = Division> {
    prop_oneof![Just(Division::Same), (1_usize..=7).prop_map(Division::Of), (4_usize..=7).prop_map(Division::Anew)]
}

/// MERGE_CASES looks at more.
fn cases() -> u32 {
    std::env::var("MERGE_CASES").ok().and_then(|more| more.parse().ok()).unwrap_or(32)
}

proptest! {
    // The same cases on each run: by content one in some hundreds is not kept yet (see the module's promise), and a run that fails by chance says
    // nothing about a change. PROPTEST_RNG_SEED and MERGE_CASES look at others.
    #![proptest_config(ProptestConfig { cases: cases(), rng_seed: RngSeed::Fixed(20_227), ..ProptestConfig::default() })]

    #[test]
    fn each_pid_is_exact_whatever_the_multiplexer_and_the_division((way, seed) in ways()) {
        let stream = Stream::new(way.shape, seed, way.seconds);
        let outcome = run(2, 600, arrivals(&stream, &way, seed));
        // How many null packets both paths lost in turns is told by arrival alone.
        let nulls = way.jitter_micros < 500 && way.division == Division::Same;
        let kept = |list: &[Bytes]| -> Vec<Bytes> {
            list.iter().filter(|packet| nulls || pid(packet) != NULL_PID).cloned().collect()
        };
        prop_assert_eq!(compare(&kept(&outcome.packets()), &kept(&stream.packets), ANY), Ok(()));
    }
}
