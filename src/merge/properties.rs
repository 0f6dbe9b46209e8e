//! Properties of a merge: whatever two copies suffer, what arrived at least once comes out, in the order of the source.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::testing::*;
use super::*;

/// How two copies suffer.
#[derive(Clone, Debug)]
struct Suffering {
    seed: u64,
    /// Of datagrams, on either path.
    loss_percent: u64,
    /// Datagrams in a row that a path loses at a time, at most.
    burst: u64,
    duplicates_percent: u64,
    /// Datagrams that are overtaken by the next.
    overtaken_percent: u64,
    skew_ms: i64,
    jitter_ms: u64,
    /// Packets of the source that look alike.
    fills: bool,
    /// The second path's datagrams begin so many packets earlier than the first one's.
    shift: usize,
    /// A path falls silent for so many datagrams, and comes back with another skew.
    cut: Option<(usize, usize)>,
    /// Datagrams may be lost on both paths.
    both: bool,
}

impl Suffering {
    /// Losses alone.
    fn of(seed: u64, loss_percent: u64, burst: u64) -> Self {
        Self {
            seed,
            loss_percent,
            burst,
            duplicates_percent: 0,
            overtaken_percent: 0,
            skew_ms: (seed % 500) as i64,
            jitter_ms: seed % 3,
            fills: false,
            shift: 0,
            cut: None,
            both: false,
        }
    }
}

fn suffering() -> impl Strategy<Value = Suffering> {
    let losses = (any::<u64>(), 0_u64..=30, 1_u64..=30, any::<bool>());
    let disorder = (0_u64..5, prop_oneof![Just(0_u64), 0..5_u64], 0_i64..=500, 0_u64..3);
    let source = (any::<bool>(), 0_usize..7, prop::option::of((0_usize..2, 300_usize..1_000)));
    (losses, disorder, source).prop_map(|(losses, disorder, source)| {
        let (seed, loss_percent, burst, both) = losses;
        let (duplicates_percent, overtaken_percent, skew_ms, jitter_ms) = disorder;
        let (fills, shift, cut) = source;
        Suffering {
            seed,
            loss_percent,
            burst,
            duplicates_percent,
            overtaken_percent,
            skew_ms,
            jitter_ms,
            fills,
            shift,
            cut,
            both,
        }
    })
}

/// Datagrams of a source.
const DATAGRAMS: usize = 3_000;
/// Datagrams of which all copies are whole, at the beginning.
const WHOLE: usize = 600;
/// A path that is found again needs some packets in common first: so many datagrams behind a cut the other one is whole.
const FOUND_WITHIN: usize = 40;
/// Where a cut begins.
const CUT: usize = 1_200;

/// A path's datagrams: the packets of the source they carry, and which are lost.
struct Leg {
    datagrams: Vec<Range<usize>>,
    lost: Vec<bool>,
}

impl Leg {
    fn new(packets: usize, shift: usize) -> Self {
        let cuts: Vec<usize> =
            (0..packets).filter(|n| *n == 0 || (n + shift).is_multiple_of(7)).chain([packets]).collect();
        let datagrams: Vec<_> = cuts.windows(2).map(|w| w[0]..w[1]).collect();
        let lost = vec![false; datagrams.len()];
        Self { datagrams, lost }
    }

    fn has(&self, packets: usize) -> Vec<bool> {
        let mut has = vec![false; packets];
        self.datagrams.iter().zip(&self.lost).filter(|(_, lost)| !**lost).for_each(|(d, _)| has[d.clone()].fill(true));
        has
    }
}

/// Both paths' datagrams. Unless `both`, each packet arrives at least once.
fn legs(packets: usize, how: &Suffering, chance: &mut Chance) -> [Leg; 2] {
    let mut legs = [Leg::new(packets, 0), Leg::new(packets, how.shift)];
    if let Some((path, length)) = how.cut {
        legs[path].lost[CUT..CUT + length].fill(true);
    }
    let spared = how.cut.map_or(0..0, |(_, length)| CUT - 2..CUT + length + FOUND_WITHIN);
    for path in 0..2 {
        let other = legs[1 - path].has(packets);
        let mut n = WHOLE;
        while n < legs[path].lost.len() {
            let burst = 1 + chance.below(how.burst) as usize;
            if chance.below(100 * burst as u64) < how.loss_percent {
                let end = legs[path].lost.len().min(n + burst);
                for n in n..end {
                    let covered = legs[path].datagrams[n].clone().all(|packet| other[packet]);
                    if (covered || how.both) && !spared.contains(&n) {
                        legs[path].lost[n] = true;
                    }
                }
                n += burst;
            }
            n += 1;
        }
    }
    legs
}

/// Which paths have RTP sequence numbers, of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    None,
    Both,
    /// Beside a path that keeps the order.
    Second,
}

/// What arrives.
fn arrivals(source: &[Bytes], legs: &[Leg; 2], how: &Suffering, numbers: Numbers, chance: &mut Chance) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for (path, leg) in legs.iter().enumerate() {
        let (mut last, mut late) = (0, None);
        for (n, packets) in leg.datagrams.iter().enumerate().filter(|(n, _)| !leg.lost[*n]) {
            let again = how.cut.is_some_and(|(cut, length)| cut == path && n >= CUT + length);
            let skew_ms = if path == 1 { how.skew_ms } else { 0 };
            let skew = 1_000 * if again { skew_ms * 2 / 3 + 10 * (1 - path as i64) } else { skew_ms };
            let sent = packets.start as i64 * PACKET_MICROS;
            let at = (sent + skew + chance.below(how.jitter_ms * 1000 + 1) as i64).max(last);
            last = at;
            let numbered = numbers == Numbers::Both || numbers == Numbers::Second && path == 1;
            let header = numbered.then(|| rtp(7, n + 65_000)).flatten();
            // SRT keeps the order.
            let may = numbered || numbers == Numbers::None;
            let data = Bytes::from(source[packets.clone()].concat());
            if late.is_none() && n > WHOLE && chance.percent(how.overtaken_percent) && may {
                late = Some((header, data));
                continue;
            }
            arrivals.push((at, path, header, data.clone()));
            if chance.percent(how.duplicates_percent) {
                arrivals.push((at, path, header, data));
            }
            if let Some((header, data)) = late.take() {
                arrivals.push((at, path, header, data));
            }
        }
        arrivals.extend(late.map(|(header, data)| (last, path, header, data)));
    }
    arrivals
}

/// What the merge made of two copies of a source, and what it should have.
fn suffer(how: &Suffering, numbers: Numbers) -> (Outcome, Vec<Bytes>) {
    let mut source = Source::new(how.seed);
    source.fills = how.fills;
    let packets = source.packets(7 * DATAGRAMS);
    let mut chance = Chance::new(how.seed ^ 0x5555);
    let legs = legs(packets.len(), how, &mut chance);
    let (first, second) = (legs[0].has(packets.len()), legs[1].has(packets.len()));
    let outcome = run(2, 600, arrivals(&packets, &legs, how, numbers, &mut chance));
    let arrived = packets.into_iter().zip(first.iter().zip(&second)).filter(|(_, (a, b))| **a || **b);
    (outcome, arrived.map(|(packet, _)| packet).collect())
}

fn apart(packets: &[Bytes]) -> Vec<Bytes> {
    packets.iter().filter(|p| told_apart(p)).cloned().collect()
}

fn per_pid(packets: &[Bytes]) -> BTreeMap<u16, Vec<Bytes>> {
    let mut lists = BTreeMap::<u16, Vec<Bytes>>::new();
    packets.iter().for_each(|p| lists.entry(pid(p)).or_default().push(p.clone()));
    lists
}

/// No null packet more than the source had, and no table twice.
fn loose_packets_are_no_more(got: &[Bytes], want: &[Bytes]) -> Result<(), String> {
    let (got, want) = (per_pid(got), per_pid(want));
    for (pid, list) in &got {
        if list.len() > want.get(pid).map_or(0, Vec::len) {
            let counters: Vec<u8> = list.iter().map(|p| p[3] & 15).collect();
            let breaks = counters.windows(2).filter(|w| w[1] != (w[0] + 1) & 15).collect::<Vec<_>>();
            let of = want.get(pid).map_or(0, Vec::len);
            return Err(format!(
                "{} packets of PID {pid:#x} of {of}, {:?}",
                list.len(),
                &breaks[..breaks.len().min(5)]
            ));
        }
    }
    Ok(())
}

/// The exact source comes out of copies that are told by content.
fn is_kept(how: &Suffering, numbers: Numbers) -> Result<(), String> {
    let (outcome, want) = suffer(how, numbers);
    let got = outcome.packets();
    if let Some(difference) = difference(&apart(&got), &apart(&want)) {
        return Err(difference);
    }
    // To the packet, null packets and tables as well, where both paths have the same datagrams.
    if how.shift == 0
        && how.cut.is_none()
        && numbers == Numbers::None
        && let Some(difference) = difference(&got, &want)
    {
        return Err(format!("loose packets: {difference}"));
    }
    // A path that comes back, or whose second copies are told by their numbers, may bring a few null packets twice.
    if how.cut.is_some() || numbers != Numbers::None { Ok(()) } else { loose_packets_are_no_more(&got, &want) }
}

/// MERGE_CASES looks at more.
fn cases() -> u32 {
    std::env::var("MERGE_CASES").ok().and_then(|more| more.parse().ok()).unwrap_or(48)
}

/// Nothing is missing, and no more than so many packets come twice, wherever they stand.
fn is_all_there(how: &Suffering, twice: usize) -> Result<(), String> {
    let (outcome, want) = suffer(how, Numbers::None);
    let mut counts = BTreeMap::<Bytes, i64>::new();
    apart(&want).into_iter().for_each(|packet| *counts.entry(packet).or_default() += 1);
    apart(&outcome.packets()).into_iter().for_each(|packet| *counts.entry(packet).or_default() -= 1);
    let missing: i64 = counts.values().filter(|count| **count > 0).sum();
    let more: i64 = -counts.values().filter(|count| **count < 0).sum::<i64>();
    if missing > 0 || more > twice as i64 { Err(format!("{missing} missing, {more} twice")) } else { Ok(()) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn two_copies_by_sequence_number_give_the_exact_source(how in suffering()) {
        let how = Suffering { shift: 0, cut: None, ..how };
        let (outcome, want) = suffer(&how, Numbers::Both);
        prop_assert!(outcome.figures.by_sequence);
        prop_assert_eq!(difference(&outcome.packets(), &want), None);
    }

}

proptest! {
    // The same cases on each run: by content one in some hundreds is not kept yet (see the module's promise), and a run that fails by chance says
    // nothing about a change. PROPTEST_RNG_SEED and MERGE_CASES look at others.
    #![proptest_config(ProptestConfig { cases: cases(), rng_seed: RngSeed::Fixed(20_227), ..ProptestConfig::default() })]

    #[test]
    fn two_copies_by_content_give_the_exact_source(how in suffering()) {
        // What was overtaken may come out in another place: see the module's promise.
        prop_assert_eq!(is_kept(&Suffering { overtaken_percent: 0, both: false, ..how }, Numbers::None), Ok(()));
    }

    #[test]
    fn a_copy_with_rtp_numbers_may_be_overtaken(how in suffering()) {
        // By no more than the path waits for.
        let how = Suffering { both: false, fills: false, burst: 1 + how.burst % 4, ..how };
        prop_assert_eq!(is_kept(&how, Numbers::Second), Ok(()));
    }

    #[test]
    fn nothing_is_missing_nor_comes_twice_but_what_both_paths_lost(how in suffering()) {
        prop_assert_eq!(is_all_there(&Suffering { fills: false, overtaken_percent: 0, ..how }, 0), Ok(()));
    }
}

proptest! {
    // The same cases on each run: where nothing numbers them, a datagram that was overtaken comes twice in about one case in thirty, most where it
    // comes behind a burst of losses (see the module's promise), and a run that fails by chance says nothing about a change.
    #![proptest_config(ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(20_227), ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missing_where_datagrams_were_overtaken(how in suffering()) {
        prop_assert_eq!(is_all_there(&Suffering { fills: false, ..how }, 14), Ok(()));
    }
}

#[test]
fn sources_that_were_once_not_kept_whole_are() {
    let of = |skew_ms, jitter_ms, seed, loss_percent, burst| Suffering {
        skew_ms,
        jitter_ms,
        ..Suffering::of(seed, loss_percent, burst)
    };
    for (name, how) in [
        ("losses beside each other", Suffering::of(5_831_389_445_387_941_276, 20, 2)),
        ("bursts beside each other", Suffering::of(3_038_382_149_379_628_995, 21, 28)),
        ("filling", Suffering { fills: true, ..Suffering::of(4_967_755_494_011_741_131, 13, 21) }),
        (
            "a datagram of filling comes twice",
            Suffering { fills: true, shift: 1, duplicates_percent: 1, ..of(0, 0, 987_905_514_744_783_825, 0, 1) },
        ),
        (
            "back with another skew before anybody noticed",
            Suffering { shift: 1, cut: Some((1, 322)), ..of(491, 1, 8_994_238_121_346_916_094, 3, 21) },
        ),
        (
            "a table beside a cut",
            Suffering { duplicates_percent: 3, cut: Some((1, 843)), ..of(241, 2, 14_825_074_739_858_927_313, 24, 5) },
        ),
    ] {
        assert_eq!(is_kept(&how, Numbers::None), Ok(()), "{name}");
    }
    let overtaken = Suffering { overtaken_percent: 4, shift: 2, ..of(378, 1, 1_643_049_250_578_944_319, 29, 10) };
    assert_eq!(is_all_there(&overtaken, 0), Ok(()), "overtaken by its copy");
}
