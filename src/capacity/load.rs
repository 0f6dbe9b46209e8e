//! Encode processes at full speed, and what they use.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::CapacityError;
use super::clip::Clip;
use super::verdict::{Cost, cost};
use crate::child::{self, frame};
use crate::clock::{self, Now};
use crate::encode::ipc::{FromWorker, Job, ToWorker};
use crate::encode::video::THREAD;
use crate::media::{AUDIO_FRAME_SAMPLES, AUDIO_RATE, ChannelTime};

/// A process has so long until its first picture: a first start scans GStreamer's plugins.
const START_WITHIN: Duration = Duration::from_secs(30);
/// With fewer samples of a process there is no measurement.
const SAMPLES_MIN: usize = 3;
/// A measurement is cut into parts of about this length, which tell its spread.
const PART: Duration = Duration::from_millis(900);
/// Ticks a second of CPU times in /proc: 100 on every Linux.
const USER_HZ: f64 = 100.0;

/// What one or more processes with the same job did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Of one of them.
    pub cost: Cost,
    /// The part of it that the decoder's thread takes.
    pub decode: Cost,
    /// Seconds of channel made a second, all together.
    pub speed: f64,
    /// Largest resident memory of one, bytes.
    pub resident: u64,
}

/// One process at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Now,
    /// Seconds of the channel.
    media: f64,
    cpu: Duration,
    decode: Duration,
    resident: u64,
}

/// Runs `processes` encode processes with this job at full speed for `span`, counted from when all of them encode. `tell` is called
/// some times a second.
pub fn run(
    clip: &Arc<Clip>,
    job: &Job,
    begin: ChannelTime,
    processes: u32,
    span: Duration,
    tell: &mut dyn FnMut(),
) -> Result<Load, CapacityError> {
    let mut crew = (0..processes).map(|_| Process::start(clip, job, begin)).collect::<io::Result<Vec<_>>>()?;
    let started = clock::now();
    while !crew.iter().all(Process::encodes) {
        if clock::now().since(started) > START_WITHIN || crew.iter_mut().any(|process| process.is_gone()) {
            return Err(CapacityError::Encoder);
        }
        wait(tell);
    }
    let from = clock::now();
    // A process that gets no time to say how it fares is waited for: on a busy host heartbeats come late.
    let unheard = |process: &Process| process.samples(from).len() < SAMPLES_MIN;
    while clock::now().since(from) < span || crew.iter().any(unheard) && clock::now().since(from) < START_WITHIN {
        wait(tell);
    }
    if crew.iter_mut().any(|process| process.is_gone()) {
        return Err(CapacityError::Encoder);
    }
    let samples: Vec<Vec<Sample>> = crew.iter().map(|process| process.samples(from)).collect();
    drop(crew);
    Ok(load(&samples))
}

fn wait(tell: &mut dyn FnMut()) {
    std::thread::sleep(Duration::from_millis(100));
    tell();
}

/// The sum of what each process did.
fn load(samples: &[Vec<Sample>]) -> Load {
    let (mut all, mut decoded, mut load) = (Vec::new(), Vec::new(), Load::default());
    for of_one in samples {
        let parts = parts(of_one);
        all.extend(parts.iter().map(|p| (p.cpu, p.media)));
        decoded.extend(parts.iter().map(|p| (p.decode, p.media)));
        let sum = parts.iter().fold((0.0, 0.0), |(m, t), p| (m + p.media, t + p.time));
        load.speed += if sum.1 > 0.0 { sum.0 / sum.1 } else { 0.0 };
        load.resident = of_one.iter().map(|s| s.resident).fold(load.resident, u64::max);
    }
    Load { cost: cost(&all), decode: cost(&decoded), ..load }
}

/// What happened between two samples, in seconds.
struct Part {
    time: f64,
    media: f64,
    cpu: f64,
    decode: f64,
}

fn parts(samples: &[Sample]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let Some(mut from) = samples.first() else { return parts };
    for (at, to) in samples.iter().enumerate() {
        // What is left at the end and shorter than a part belongs to the last one.
        let last = at + 1 == samples.len();
        if to.at.since(from.at) < PART && !(last && parts.is_empty()) {
            continue;
        }
        let part = Part {
            time: to.at.since(from.at).as_secs_f64(),
            media: to.media - from.media,
            cpu: to.cpu.saturating_sub(from.cpu).as_secs_f64(),
            decode: to.decode.saturating_sub(from.decode).as_secs_f64(),
        };
        if part.time > 0.0 {
            parts.push(part);
        }
        from = to;
    }
    parts
}

/// A running encode process, its feeder and its reader. Dropping it ends all three.
struct Process {
    child: process::Child,
    socket: UnixStream,
    stops: Arc<AtomicBool>,
    encodes: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Process {
    fn start(clip: &Arc<Clip>, job: &Job, begin: ChannelTime) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(child::program())
            .args(["--log-level", "warn", "encode-worker"])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        let (stops, encodes, samples) = (Arc::default(), Arc::default(), Arc::default());
        let mut process = Self { child, socket: ours, stops, encodes, samples, threads: Vec::new() };
        process.feed(Arc::clone(clip), job.clone(), begin)?;
        process.read(job)?;
        Ok(process)
    }

    fn feed(&mut self, clip: Arc<Clip>, job: Job, begin: ChannelTime) -> io::Result<()> {
        let (mut socket, stops) = (self.socket.try_clone()?, Arc::clone(&self.stops));
        self.threads.push(std::thread::Builder::new().name("feeder".into()).spawn(move || {
            // A write fails when the process is gone; the reader sees that, too.
            if frame::write_message(&mut socket, &ToWorker::Job(Box::new(job))).is_err() {
                return;
            }
            for item in clip.endless(begin) {
                let sent = frame::write_message(&mut socket, &ToWorker::Item(item));
                if sent.is_err() || stops.load(Ordering::Relaxed) {
                    return;
                }
            }
        })?);
        Ok(())
    }

    fn read(&mut self, job: &Job) -> io::Result<()> {
        let (mut socket, pid) = (io::BufReader::new(self.socket.try_clone()?), self.child.id());
        let (encodes, samples) = (Arc::clone(&self.encodes), Arc::clone(&self.samples));
        let pictures = job.grid.rate().as_f64();
        let (has_video, sounds) = (!job.video.is_empty(), job.audio.len().max(1) as f64);
        self.threads.push(std::thread::Builder::new().name("reader".into()).spawn(move || {
            let mut decoder = None;
            let mut frames = 0u64;
            while let Ok(Some(word)) = frame::read_message::<FromWorker>(&mut socket) {
                match word {
                    FromWorker::Coded(_) => {
                        frames += 1;
                        encodes.store(true, Ordering::Relaxed);
                    }
                    FromWorker::Heartbeat(beat) => {
                        // Pictures decoded and CPU time are of one moment, and smoother than what leaves the encoders.
                        let sound = frames as f64 / sounds * f64::from(AUDIO_FRAME_SAMPLES) / f64::from(AUDIO_RATE);
                        let sample = Sample {
                            at: clock::now(),
                            media: if has_video { beat.decoded as f64 / pictures } else { sound },
                            cpu: beat.cpu,
                            decode: thread_cpu(pid, &mut decoder),
                            resident: beat.rss_bytes,
                        };
                        samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                    }
                    _ => {}
                }
            }
        })?);
        Ok(())
    }

    fn encodes(&self) -> bool {
        self.encodes.load(Ordering::Relaxed)
    }

    fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn samples(&self, from: Now) -> Vec<Sample> {
        let all = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|sample| sample.at.mono >= from.mono).copied().collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.socket.shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// CPU time of the decoder's thread; `id` remembers which one it is.
fn thread_cpu(pid: u32, id: &mut Option<String>) -> Duration {
    if id.is_none() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
        *id = tasks.filter_map(|task| task.ok()?.file_name().into_string().ok()).find(|task| {
            fs::read_to_string(format!("/proc/{pid}/task/{task}/comm")).is_ok_and(|name| name.trim_end() == THREAD)
        });
    }
    let Some(task) = id else { return Duration::ZERO };
    let ticks = fs::read_to_string(format!("/proc/{pid}/task/{task}/stat")).ok().and_then(|text| stat_ticks(&text));
    Duration::from_secs_f64(ticks.unwrap_or(0) as f64 / USER_HZ)
}

/// proc(5): the command in brackets may hold blanks; utime and stime are fields 14 and 15.
fn stat_ticks(text: &str) -> Option<u64> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// CPU seconds of the whole host since it started: all that was not idle.
pub fn host_busy() -> f64 {
    // proc(5): user nice system idle iowait irq softirq steal …; guest time is in user already.
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        text.lines().next().unwrap_or("").split_whitespace().filter_map(|f| f.parse().ok()).collect();
    let busy: u64 =
        fields.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, ticks)| ticks).sum();
    busy as f64 / USER_HZ
}

/// CPU seconds of this process and of all its children that have ended.
pub fn own_busy() -> f64 {
    // proc(5): utime, stime, cutime and cstime are fields 14 to 17.
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = text.rsplit_once(')').map_or(0, |(_, fields)| {
        fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
    });
    ticks as f64 / USER_HZ
}

/// Memory of the host, bytes.
pub fn host_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|kib| kib.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn samples(rows: &[(u64, f64, u64)]) -> Vec<Sample> {
        let began = Now { mono: Instant::now(), utc: Duration::ZERO };
        let ms = Duration::from_millis;
        let sample = |&(at, media, cpu): &(u64, f64, u64)| Sample {
            at: began.after(ms(at)),
            media,
            cpu: ms(cpu),
            decode: ms(cpu / 10),
            resident: 1,
        };
        rows.iter().map(sample).collect()
    }

    #[test]
    fn two_processes_make_twice_as_much_at_the_same_cost() {
        // A second of channel in half a second, for 0.8 s of CPU.
        let one =
            samples(&[(0, 10.0, 100), (500, 11.0, 900), (1000, 12.0, 1700), (1500, 13.0, 2500), (2000, 14.0, 3300)]);
        let load = load(&[one.clone(), one]);
        assert!((load.cost.cores - 0.8).abs() < 1e-9, "{load:?}");
        assert!((load.decode.cores - 0.08).abs() < 1e-9, "{load:?}");
        assert!((load.speed - 4.0).abs() < 1e-9, "{load:?}");
        assert!(load.cost.spread.is_some_and(|spread| spread < 1e-9));
    }

    #[test]
    fn short_measurements_have_one_part_and_no_spread() {
        let load = load(&[samples(&[(0, 0.0, 0), (400, 1.0, 300)])]);
        assert!((load.cost.cores - 0.3).abs() < 1e-9, "{load:?}");
        assert_eq!(load.cost.spread, None);
        assert!(parts(&samples(&[(0, 0.0, 0)])).is_empty());
    }

    #[test]
    fn this_host_can_be_read() {
        assert!(host_memory() > 1 << 20);
        assert!(host_busy() > 0.0);
        assert_eq!(stat_ticks("1 (a b) c) S 1 1 1 0 -1 4194304 100 0 0 0 17 4 0 0 20"), Some(21));
    }
}
