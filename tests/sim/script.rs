//! What a seed means: how the world is built, and what goes wrong in it when.

use std::time::Duration;

use tandem::config::{Condition, Limits, Redundancy};

use super::encoder::Nature;
use super::programme::Manner;
use super::rng::Rng;

/// How much may go wrong at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One fault, and time to recover before the next. No viewer may notice any of them.
    Single,
    /// Anything. What holds then is less, but it holds.
    Chaos,
}

/// One thing that goes wrong. Sources by their place 0 to 3, pipelines 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connected, but nothing comes for so long; what was sent meanwhile is lost.
    Silent { source: usize, ms: u64 },
    /// The connection ends, and is there again after so long.
    Down { source: usize, ms: u64 },
    /// The same with an encoder that counts from somewhere else.
    NewTimeline { source: usize, ms: u64, by_s: i64 },
    /// The timestamps jump in the midst of the connection.
    Jump { source: usize, by_s: i64 },
    /// No pictures come for so long; sound does.
    NoVideo { source: usize, ms: u64 },
    /// For so long its picture or sound shows this, and flows.
    Shows { source: usize, what: Condition, ms: u64 },
    /// The probe dies.
    ProbeDies,
    /// The probe stops doing anything.
    ProbeHangs,
    /// Held back for so long, then all at once.
    Burst { source: usize, ms: u64 },
    /// For so long one packet in twenty is lost.
    Loss { source: usize, ms: u64 },
    /// For so long one packet in twenty arrives with a wrong bit, marked by the receiver or not.
    WrongBits { source: usize, ms: u64 },
    /// All sources are held back for so long, then come all at once.
    Stall { ms: u64 },
    /// All sources are silent for so long.
    AllSilent { ms: u64 },
    /// The main process gets no time for so long; what arrives meanwhile waits with its time of arrival.
    MainStall { ms: u64 },
    /// Nothing on this host gets any time.
    HostStall { ms: u64 },
    /// The encode process dies.
    Kill { pipeline: usize },
    /// It dies and the next so many starts fail.
    FailsToStart { pipeline: usize, times: u32 },
    /// It stops doing anything.
    Hang { pipeline: usize },
    /// For so long it delivers segments that cannot be used. Warm pairs only: a hot one is covered by the packager's tests.
    Garbage { pipeline: usize, ms: u64 },
    /// It is late by so much for so long.
    Slow { pipeline: usize, lag_ms: u64, ms: u64 },
}

impl Fault {
    /// How long it lasts.
    pub fn ms(self) -> u64 {
        match self {
            Self::Silent { ms, .. }
            | Self::NoVideo { ms, .. }
            | Self::Shows { ms, .. }
            | Self::Down { ms, .. }
            | Self::NewTimeline { ms, .. }
            | Self::Burst { ms, .. }
            | Self::Loss { ms, .. }
            | Self::WrongBits { ms, .. }
            | Self::Stall { ms }
            | Self::AllSilent { ms }
            | Self::MainStall { ms }
            | Self::HostStall { ms }
            | Self::Garbage { ms, .. }
            | Self::Slow { ms, .. } => ms,
            Self::Jump { .. } | Self::Kill { .. } | Self::FailsToStart { .. } | Self::Hang { .. } => 0,
            Self::ProbeDies | Self::ProbeHangs => 0,
        }
    }
}

/// What a seed means.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    pub mode: Mode,
    /// Sources of each pipeline in the order of preference.
    pub sources: [Vec<usize>; 2],
    /// How late each source is, ms; whole steps.
    pub delays_ms: [u64; 4],
    pub manner: Manner,
    /// PTS of frame 0, 33 bits.
    pub base: u64,
    pub segment: Duration,
    pub revert: Option<Duration>,
    /// What sources are left for, beside silence, and the hold-down then; no seed has any.
    pub conditions: Vec<Limits>,
    pub hold_down: Option<Duration>,
    pub natures: [Nature; 2],
    pub video_rungs: usize,
    pub redundancy: Redundancy,
    /// When, in ms, and what; rising.
    pub faults: Vec<(u64, Fault)>,
    pub length_ms: u64,
}

/// A step of the world, ms.
pub const STEP_MS: u64 = 10;
/// Frame times before the world began, so that a late source has something to be late with.
pub const HEAD_FRAMES: u64 = 1000;
/// In single mode there is so much time between a fault and the next.
const REST_MS: u64 = 16_000;

impl Script {
    /// Segments go out part by part: every other seed.
    pub fn parts(&self) -> bool {
        self.seed % 2 == 1
    }

    pub fn new(mode: Mode, redundancy: Redundancy, seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ if mode == Mode::Chaos { 0xc4a0_5000 } else { 0 });
        let b_pictures = rng.one_in(2);
        let manner = Manner { b_pictures, states_length: !rng.one_in(3), sound_in_pes: rng.range(1, 6) };
        let length_ms = 90_000;
        let base = if rng.one_in(3) {
            // The 33 bits wrap in the middle of it.
            (1 << 33) - (HEAD_FRAMES + rng.range(5, 70) * 25) * 3600
        } else {
            rng.range(0, 1 << 33)
        };
        let skew_max = if mode == Mode::Single { 100 } else { 600 };
        let delays_ms = [(); 4].map(|()| 100 + rng.range(0, skew_max / STEP_MS + 1) * STEP_MS);
        let sources = if rng.one_in(3) { [vec![0, 1], vec![1, 0]] } else { [vec![0, 1], vec![2, 3]] };
        let depth = rng.range(if b_pictures { 2 } else { 0 }, 4) as usize;
        let lookahead = rng.range(0, 11) as usize;
        let nature = |rng: &mut Rng| Nature {
            starts_in: Duration::from_millis(rng.range(100, 600)),
            latency: Duration::from_millis(rng.range(20, 200)),
            decoder_depth: depth,
            lookahead,
        };
        let mut script = Self {
            seed,
            mode,
            sources,
            delays_ms,
            manner,
            base,
            segment: Duration::from_secs(rng.range(1, 3)),
            revert: rng.one_in(3).then(|| Duration::from_secs(3)),
            conditions: Vec::new(),
            hold_down: None,
            natures: [nature(&mut rng), nature(&mut rng)],
            video_rungs: rng.range(1, 3) as usize,
            redundancy,
            faults: Vec::new(),
            length_ms,
        };
        script.faults = match mode {
            Mode::Single => script.single(&mut rng),
            Mode::Chaos => script.chaos(&mut rng),
        };
        script
    }

    fn single(&self, rng: &mut Rng) -> Vec<(u64, Fault)> {
        let mut faults = Vec::new();
        let mut at = 10_000 + rng.range(0, 200) * STEP_MS;
        while at + REST_MS < self.length_ms {
            let fault = self.fault(rng);
            faults.push((at, fault));
            at += fault.ms() + REST_MS + rng.range(0, 100) * STEP_MS;
        }
        faults
    }

    fn chaos(&self, rng: &mut Rng) -> Vec<(u64, Fault)> {
        let count = rng.range(5, 40);
        let mut faults: Vec<_> =
            (0..count).map(|_| (rng.range(0, self.length_ms / STEP_MS) * STEP_MS, self.fault(rng))).collect();
        faults.sort_by_key(|(at, _)| *at);
        faults
    }

    fn fault(&self, rng: &mut Rng) -> Fault {
        let chaos = self.mode == Mode::Chaos;
        let used = if self.sources[1].contains(&2) { 4 } else { 2 };
        let (source, pipeline) = (rng.range(0, used) as usize, rng.range(0, 2) as usize);
        let mut ms = |from: u64, to: u64| rng.range(from / STEP_MS, to / STEP_MS) * STEP_MS;
        let (short, long, brief) = (ms(50, 500), ms(300, 6000), ms(50, 310));
        let by_s = rng.pick(&[15, -15, 3600, -3600, 40_000]);
        let small = rng.pick(&[-5, -2, 1, 2, 3, 5, 9]);
        let by_s = if chaos && rng.one_in(2) { small } else { by_s };
        // What a seed means for a hot pair stays as it was.
        if self.redundancy == Redundancy::Warm {
            match rng.range(0, 6) {
                0 => return Fault::Kill { pipeline },
                1 => return Fault::Hang { pipeline },
                2 => return Fault::Garbage { pipeline, ms: long },
                _ => {}
            }
        }
        // Without drawing lots once more, so that seeds keep their meaning.
        let jumps_by_s = if !chaos && (long / STEP_MS).is_multiple_of(2) { small } else { by_s };
        match rng.range(0, 18) {
            0..3 => Fault::Silent { source, ms: long },
            3 => Fault::Silent { source, ms: short },
            4 | 5 => Fault::Down { source, ms: long },
            6 => Fault::NewTimeline { source, ms: long, by_s },
            7 => Fault::Jump { source, by_s: jumps_by_s },
            8 => Fault::Burst { source, ms: if chaos { long } else { short } },
            9 => Fault::Loss { source, ms: long },
            10 if chaos => Fault::WrongBits { source, ms: long },
            10 | 11 => Fault::Stall { ms: if chaos { long } else { brief } },
            12 => Fault::AllSilent { ms: long },
            13 => Fault::MainStall { ms: if rng.one_in(2) { long / 2 } else { brief } },
            14 => Fault::HostStall { ms: if rng.one_in(2) { long / 2 } else { brief } },
            15 => Fault::Kill { pipeline },
            16 if rng.one_in(2) => Fault::FailsToStart { pipeline, times: rng.range(1, 4) as u32 },
            16 => Fault::Hang { pipeline },
            _ => Fault::Slow { pipeline, lag_ms: short * 3, ms: long },
        }
    }
}
