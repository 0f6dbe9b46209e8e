//! From what was measured to what the host carries. Arithmetic only.
//!
//! The rules, which `docs/capacity.md` explains:
//!
//! * No more than [`HEADROOM`] of all CPUs is planned for: the rest is for what comes in bursts (a process that
//!   starts anew and catches up, hard pictures) and for everything that is no encoding.
//! * What counts is the cost under full load, at the upper end of its spread: threads that share a core are slower than one
//!   that has it alone.
//! * One thread must do its part of a rung in [`HEADROOM`] of real time.

use serde::Serialize;

/// How much of the host may be planned for.
pub const HEADROOM: f64 = 0.7;

/// A ladder has up to so many chains a rung, and GOPs a segment.
const CHAINS_MAX: u32 = 8;

/// CPU seconds that a second of the channel costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Of one core.
    pub cores: f64,
    /// How far parts of the measurement lay from the whole, as a fraction of it; absent where it was too short to be cut in parts.
    pub spread: Option<f64>,
}

impl Cost {
    fn at_most(self) -> f64 {
        self.cores * (1.0 + self.spread.unwrap_or(0.0))
    }
}

/// One video rung, encoded by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rung {
    /// Its name.
    pub id: String,
    /// Width and height.
    pub size: (u32, u32),
    /// What scaling and encoding cost, without the decoding.
    pub cost: Cost,
    /// Chains the ladder gives it.
    pub chains: u32,
}

/// So many encode processes at once, each as fast as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// How many processes, each with the whole ladder.
    pub processes: u32,
    /// What a second of one channel cost then.
    pub cost: Cost,
    /// Seconds of channel made a second, all together: channels in real time with nothing left over.
    pub channels: f64,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// CPUs this process may use.
    pub cpus: u32,
    /// Memory of the host, bytes.
    pub memory: u64,
    /// Decoding the source.
    pub decode: Cost,
    /// All sound.
    pub sound: Cost,
    /// Video, in the ladder's order.
    pub rungs: Vec<Rung>,
    /// From one process to as many as there are CPUs.
    pub steps: Vec<Step>,
    /// Largest resident memory of one encode process, bytes.
    pub resident: u64,
    /// What other programs took of all CPUs meanwhile, as a fraction.
    pub others: f64,
}

/// What the host carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// CPU seconds a second of one pipeline, under full load and at the upper end of the spread.
    pub pipeline_cores: f64,
    /// Of a pipeline on warm standby: it decodes, and makes the sound.
    pub standby_cores: f64,
    /// How much dearer a second is under full load than alone: 1.0 is no dearer.
    pub slowdown: f64,
    /// Channels with one pipeline.
    pub single: u32,
    /// Channels with the second pipeline on warm standby.
    pub warm: u32,
    /// Channels with two pipelines that encode.
    pub hot: u32,
    /// What is used up first.
    pub limit: Limit,
    /// Rungs one thread cannot make in real time.
    pub heavy: Vec<Heavy>,
}

/// What is used up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
}

/// A rung one thread cannot make in real time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heavy {
    /// Its name.
    pub id: String,
    /// How much of real time one thread needs for its part.
    pub thread: f64,
    /// Chains it needs, and GOPs a segment so that each costs as little latency as can be; none if it is beyond them all.
    pub chains: Option<u32>,
}

/// What the host carries.
pub fn verdict(measured: &Measured) -> Verdict {
    let alone = measured.steps.iter().min_by_key(|step| step.processes).map_or(0.0, |step| step.cost.cores);
    let full = measured.steps.iter().max_by_key(|step| step.processes);
    let loaded = full.map_or(Cost::default(), |step| step.cost);
    // Less than alone can only be noise.
    let slowdown = if alone > 0.0 { (loaded.cores / alone).max(1.0) } else { 1.0 };
    let pipeline = loaded.at_most().max(alone);
    let standby = ((measured.decode.at_most() + measured.sound.at_most()) * slowdown).min(pipeline);
    let cpus = f64::from(measured.cpus);
    let by_cpu = |cost: f64| if cost > 0.0 { floor(cpus * HEADROOM / cost) } else { 0 };
    let by_memory = |processes: u64| {
        let resident = processes * measured.resident;
        if resident == 0 { u32::MAX } else { floor(measured.memory as f64 * HEADROOM / resident as f64) }
    };
    // If one A dies, its B encodes beside all the others; that must fit the host as a whole.
    let takeover = floor((cpus - (pipeline - standby)).max(0.0) / (pipeline + standby).max(f64::MIN_POSITIVE));
    let warm = by_cpu(pipeline + standby).min(takeover);
    let (single, hot) = (by_cpu(pipeline), by_cpu(2.0 * pipeline));
    let limit = if by_memory(1) < single || by_memory(2) < hot { Limit::Memory } else { Limit::Cpu };
    Verdict {
        pipeline_cores: pipeline,
        standby_cores: standby,
        slowdown,
        single: single.min(by_memory(1)),
        warm: warm.min(by_memory(2)),
        hot: hot.min(by_memory(2)),
        limit,
        heavy: measured.rungs.iter().filter_map(|rung| heavy(rung, slowdown)).collect(),
    }
}

/// Whole channels; a measurement is not so exact that a hair's breadth below one counts.
fn floor(channels: f64) -> u32 {
    (channels + 1e-9).floor() as u32
}

fn heavy(rung: &Rung, slowdown: f64) -> Option<Heavy> {
    let cores = rung.cost.at_most() * slowdown;
    let thread = cores / f64::from(rung.chains.max(1));
    (thread > HEADROOM).then(|| {
        let chains = (cores / HEADROOM).ceil() as u32;
        Heavy { id: rung.id.clone(), thread, chains: (chains <= CHAINS_MAX).then_some(chains) }
    })
}

/// The cost of a whole measurement, with the spread of its parts: `parts` are (CPU seconds, media seconds), all of a kind.
pub fn cost(parts: &[(f64, f64)]) -> Cost {
    let (cpu, media) = parts.iter().fold((0.0, 0.0), |(c, m), part| (c + part.0, m + part.1));
    if media <= 0.0 {
        return Cost::default();
    }
    let cores = cpu / media;
    let whole = parts.iter().filter(|(_, media)| *media > 0.0);
    let off = whole.clone().map(|(cpu, media)| (cpu / media - cores).abs()).fold(0.0, f64::max);
    Cost { cores, spread: (whole.count() >= 2 && cores > 0.0).then(|| off / cores) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(cores: f64) -> Cost {
        Cost { cores, spread: Some(0.0) }
    }

    fn step(processes: u32, cores: f64) -> Step {
        Step { processes, cost: exact(cores), channels: 0.0 }
    }

    fn host(cpus: u32, steps: &[(u32, f64)]) -> Measured {
        Measured {
            cpus,
            memory: 64 << 30,
            decode: exact(0.1),
            sound: exact(0.02),
            steps: steps.iter().map(|&(n, cores)| step(n, cores)).collect(),
            resident: 200 << 20,
            ..Measured::default()
        }
    }

    #[test]
    fn channels_follow_from_cost_and_headroom() {
        for (name, measured, want) in [
            // 16 · 0.7 = 11.2 cores; a warm pair costs 1.12.
            ("16 cores, one core a pipeline", host(16, &[(1, 1.0), (16, 1.0)]), (11, 10, 5)),
            ("exactly full", host(10, &[(1, 0.7), (10, 0.7)]), (10, 8, 5)),
            ("two hyperthreads are not two cores", host(16, &[(1, 1.0), (8, 1.2), (16, 1.6)]), (7, 6, 3)),
            ("cheaper under load is noise", host(16, &[(1, 1.0), (16, 0.9)]), (11, 10, 5)),
            ("too small for one", host(1, &[(1, 1.0)]), (0, 0, 0)),
            // 1.1 · 0.7 allows one warm pair by headroom, and the takeover of its B does not fit.
            ("no room for a takeover", host(1, &[(1, 0.58)]), (1, 0, 0)),
            ("nothing measured", host(4, &[]), (0, 0, 0)),
        ] {
            let v = verdict(&measured);
            assert_eq!((v.single, v.warm, v.hot), want, "{name}: {v:?}");
            assert_eq!(v.limit, Limit::Cpu, "{name}");
        }
    }

    #[test]
    fn spread_and_memory_take_away() {
        let mut unsure = host(16, &[(1, 1.0), (16, 1.0)]);
        unsure.steps[1].cost.spread = Some(0.25);
        assert_eq!(verdict(&unsure).single, 8, "11.2 / 1.25");
        let small = Measured { memory: 2 << 30, ..host(16, &[(1, 1.0), (16, 1.0)]) };
        let v = verdict(&small);
        // 1,433 MB in processes of 200 MB.
        assert_eq!((v.single, v.warm, v.hot, v.limit), (7, 3, 3, Limit::Memory));
    }

    #[test]
    fn a_standby_costs_what_it_does_and_never_more_than_a_pipeline() {
        let v = verdict(&host(16, &[(1, 1.0), (16, 1.5)]));
        assert!((v.standby_cores - 0.18).abs() < 1e-9, "{v:?}");
        assert!((v.slowdown - 1.5).abs() < 1e-9);
        let odd = Measured { decode: exact(3.0), ..host(16, &[(1, 1.0), (16, 1.0)]) };
        assert!((verdict(&odd).standby_cores - 1.0).abs() < 1e-9);
    }

    #[test]
    fn heavy_rungs_get_the_chains_they_need() {
        for (name, cores, chains, slowdown, want) in [
            ("light", 0.5, 1, 1.0, None),
            ("at the limit", 0.7, 1, 1.0, None),
            ("just beyond", 0.71, 1, 1.0, Some(Some(2))),
            ("two chains already do", 1.3, 2, 1.0, None),
            ("light alone, heavy when all cores are busy", 0.5, 1, 1.6, Some(Some(2))),
            ("three", 1.5, 1, 1.0, Some(Some(3))),
            ("the most there is", 5.5, 1, 1.0, Some(Some(8))),
            ("beyond it", 6.0, 1, 1.0, Some(None)),
        ] {
            let mut measured = host(16, &[(1, 1.0), (16, slowdown)]);
            measured.rungs = vec![Rung { id: "v".into(), size: (1920, 1080), cost: exact(cores), chains }];
            let found = verdict(&measured).heavy;
            assert_eq!(found.first().map(|heavy| heavy.chains), want, "{name}: {found:?}");
        }
    }

    #[test]
    fn cost_is_that_of_the_whole_and_spread_that_of_the_parts() {
        for (name, parts, want) in [
            ("nothing", &[][..], Cost { cores: 0.0, spread: None }),
            ("no media", &[(1.0, 0.0)], Cost { cores: 0.0, spread: None }),
            ("one part has no spread", &[(1.0, 2.0)], Cost { cores: 0.5, spread: None }),
            ("even", &[(1.0, 2.0), (2.0, 4.0)], Cost { cores: 0.5, spread: Some(0.0) }),
            ("uneven", &[(1.0, 2.0), (3.0, 2.0)], Cost { cores: 1.0, spread: Some(0.5) }),
        ] {
            assert_eq!(cost(parts), want, "{name}");
        }
    }
}
