//! How many channels of a ladder this host carries.
//!
//! In:    a ladder, a source or the test signal, the host as it is.
//! Out:   a [`Report`]: what each rung costs, how the host behaves under load, how many channels follow from it.
//! Never: edits a file, or calls a guess a measurement: what it says was run here, with its spread.
//!
//! Real encode processes are run at full speed: first one for each rung alone, then one with the whole ladder, then more
//! until every CPU is busy. What they used is read from the kernel; [`verdict`] does the arithmetic, [`picture`] draws it.

mod clip;
mod load;
mod picture;
mod verdict;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{self, Now};
use crate::config::{self, Ladder};
use crate::encode::ipc::{Deinterlace, InputLoss, Job, Slate, Standby};
use crate::encode::ladder::VideoRung;
use crate::media::{ChannelId, ChannelTime, FrameRate, Grid, PipelineId};
use clip::Clip;
use load::Load;
use verdict::{Cost, Measured, Rung, Step, Verdict};

/// Media lies so far in the past that no clock steps in and nothing is ahead of it, however fast a host is.
const PAST: Duration = Duration::from_secs(86_400);
/// Part of the time for rungs by themselves; the rest is for the whole ladder.
const FOR_RUNGS: f64 = 0.4;

/// `tandem plan`: measures how many channels this host carries.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The ladder file.
    #[arg(long, value_name = "FILE")]
    pub ladder: PathBuf,
    /// Frames a second of the channel.
    #[arg(long, default_value = "25", value_parser = FrameRate::parse)]
    pub rate: FrameRate,
    /// A transport stream of yours in place of the test signal; its first 64 MB are looped.
    #[arg(long, value_name = "FILE.ts")]
    pub source: Option<PathBuf>,
    /// How long to measure, 1 to 600; the starts of the processes come on top.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Draw the result into this file, too.
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CapacityError {
    /// The ladder file has mistakes.
    #[error("{0}")]
    Ladder(config::Report),
    /// A file could not be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The source holds nothing to measure with.
    #[error("{0}: no two pictures in a row behind a key frame; is it MPEG-TS?")]
    NoMedia(PathBuf),
    /// The test signal's process.
    #[error("the test signal could not be made; its message is above")]
    Signal,
    /// An encode process.
    #[error("an encode process did not start, or ended; its message is above")]
    Encoder,
    /// A process or thread could not be started.
    #[error("the host's own means")]
    Io(#[from] io::Error),
    /// The result cannot be written.
    #[error("JSON")]
    Json(#[from] serde_json::Error),
}

/// What was measured, and what follows from it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The ladder's file.
    ladder: PathBuf,
    /// Frames a second of the channel, as a fraction.
    rate: FrameRate,
    /// The source's file; the test signal where there is none.
    source: Option<PathBuf>,
    /// The source's picture.
    source_size: Option<(u32, u32)>,
    /// Seconds of measuring.
    seconds: u32,
    measured: Measured,
    verdict: Verdict,
}

/// Measures, and prints the result.
///
/// # Errors
/// A ladder or a source that cannot be used, a process that does not run, a file that cannot be written.
pub fn run(options: &Options) -> Result<(), CapacityError> {
    let report = measure(options)?;
    if let Some(path) = &options.svg {
        let written = std::fs::write(path, picture::svg(&report));
        written.map_err(|source| CapacityError::File { path: path.clone(), source })?;
    }
    let text = if options.json { serde_json::to_string(&report)? + "\n" } else { report.to_string() };
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough is no fault.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn measure(options: &Options) -> Result<Report, CapacityError> {
    let ladder = ladder(&options.ladder)?;
    let mut progress = Progress::new(options.seconds);
    progress.phase("making the source");
    let clip = Arc::new(match &options.source {
        Some(file) => Clip::file(file)?,
        None => {
            let size = |rung: &VideoRung| (rung.width, rung.height);
            Clip::signal(ladder.video.first().map_or((320, 180), size), options.rate)?
        }
    });
    let (began, busy, own) = (clock::now(), load::host_busy(), load::own_busy());
    let bench = Bench { clip: &clip, job: job(&ladder, options.rate), seconds: f64::from(options.seconds) };
    let mut measured = bench.run(&mut progress)?;
    let passed = clock::now().since(began).as_secs_f64();
    let others = (load::host_busy() - busy) - (load::own_busy() - own);
    measured.others = (others / (passed * f64::from(measured.cpus))).clamp(0.0, 1.0);
    progress.end();
    Ok(Report {
        ladder: options.ladder.clone(),
        rate: options.rate,
        source: options.source.clone(),
        source_size: clip.shape().map(|shape| (shape.width, shape.height)),
        seconds: options.seconds,
        verdict: verdict::verdict(&measured),
        measured,
    })
}

fn ladder(path: &Path) -> Result<Ladder, CapacityError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| CapacityError::File { path: path.to_owned(), source })?;
    Ladder::parse(path, &text).map_err(CapacityError::Ladder)
}

/// A job that no clock steps into.
fn job(ladder: &Ladder, rate: FrameRate) -> Job {
    let grid = Grid::new(Duration::from_secs(2), rate).expect("two seconds are within a grid's range");
    let start = grid.segment_at(clock::now().channel_time() - PAST);
    Job {
        channel: ChannelId::new("plan").expect("a good name"),
        pipeline: PipelineId::A,
        grid,
        start,
        hold: 3 * PAST,
        loss: InputLoss { repeat_for: Duration::from_secs(1), black_for: Duration::ZERO, slate: Slate::default() },
        deinterlace: Deinterlace::default(),
        loudness: None,
        plan: Vec::new(),
        standby: Standby::Hot,
        video: ladder.video.clone(),
        audio: ladder.audio.clone(),
        template: None,
    }
}

/// All measurements, one after the other.
struct Bench<'c> {
    clip: &'c Arc<Clip>,
    job: Job,
    seconds: f64,
}

impl Bench<'_> {
    fn run(&self, progress: &mut Progress) -> Result<Measured, CapacityError> {
        let cpus = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        let mut measured = Measured { cpus, memory: load::host_memory(), ..Measured::default() };
        let (pictures, sound) = (!self.job.video.is_empty(), !self.job.audio.is_empty());
        let alone = self.job.video.len() as f64 + if sound { 0.5 } else { 0.0 };
        let each = self.seconds * FOR_RUNGS / alone.max(1.0);
        let mut decode = Vec::new();
        for rung in &self.job.video {
            progress.phase(&format!("{} alone", rung.id));
            let job = Job { video: vec![rung.clone()], audio: Vec::new(), ..self.job.clone() };
            let load = self.load(&job, 1, each, progress)?;
            decode.push((load.decode.cores, 1.0));
            measured.rungs.push(Rung {
                id: rung.id.to_string(),
                size: (rung.width, rung.height),
                cost: Cost { cores: (load.cost.cores - load.decode.cores).max(0.0), ..load.cost },
                chains: u32::from(rung.chains),
            });
        }
        measured.decode = verdict::cost(&decode);
        if sound {
            progress.phase("sound alone");
            let job = Job { video: Vec::new(), ..self.job.clone() };
            measured.sound = self.load(&job, 1, if pictures { each / 2.0 } else { each }, progress)?.cost;
        }
        let steps = steps(cpus);
        let each = self.seconds * (1.0 - FOR_RUNGS) / steps.len() as f64;
        for processes in steps {
            // A host whose memory would not hold them all is not brought down to find out.
            if u64::from(processes) * measured.resident > measured.memory / 2 {
                break;
            }
            progress.phase(&format!("{processes} × the whole ladder"));
            let load = self.load(&self.job, processes, each, progress)?;
            measured.resident = measured.resident.max(load.resident);
            measured.steps.push(Step { processes, cost: load.cost, channels: load.speed });
        }
        Ok(measured)
    }

    fn load(&self, job: &Job, processes: u32, seconds: f64, progress: &mut Progress) -> Result<Load, CapacityError> {
        let begin: ChannelTime = job.grid.segment_start(job.start);
        let span = Duration::from_secs_f64(seconds);
        load::run(self.clip, job, begin, processes, span, &mut || progress.tick())
    }
}

/// One process, half as many as CPUs (one a core, where two CPUs share one), and as many.
fn steps(cpus: u32) -> Vec<u32> {
    let mut steps = vec![1, cpus.div_ceil(2), cpus];
    steps.dedup();
    steps
}

/// One line on a terminal; nothing elsewhere.
struct Progress {
    shown: bool,
    began: Now,
    seconds: u32,
    phase: String,
}

impl Progress {
    fn new(seconds: u32) -> Self {
        Self { shown: io::stderr().is_terminal(), began: clock::now(), seconds, phase: String::new() }
    }

    fn phase(&mut self, name: &str) {
        name.clone_into(&mut self.phase);
        self.tick();
    }

    fn tick(&self) {
        if self.shown {
            let passed = clock::now().since(self.began).as_secs();
            // Erase the line, write it anew (ECMA-48: EL 2).
            eprint!("\r\x1b[2K{passed:>3} s of about {}: {}", self.seconds + 10, self.phase);
        }
    }

    fn end(&self) {
        if self.shown {
            eprint!("\r\x1b[2K");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        picture::text(f, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_up_to_all_cpus() {
        for (cpus, want) in [(1, &[1][..]), (2, &[1, 2]), (3, &[1, 2, 3]), (4, &[1, 2, 4]), (64, &[1, 32, 64])] {
            assert_eq!(steps(cpus), want, "{cpus} CPUs");
        }
    }
}
