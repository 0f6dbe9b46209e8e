//! Two copies of what real multiplexers send, of which each loses a fifth: nothing is missing in what comes out.

use super::mux::{Division, Shape, Stream, Way, arrivals, compare};
use super::testing::run;

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
