#![allow(dead_code)] // Tests and benchmarks each use a part of it.
//! Plays the main process: makes coded input with ffmpeg, feeds encode processes, collects what they say.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tandem::child::frame::{read_message, write_message};
use tandem::config::Ladder;
use tandem::demux::{self, Demux};
use tandem::encode::ipc::{
    CodedUnit, Deinterlace, Filled, FromWorker, Heartbeat, Hello, InputLoss, Job, LoudnessReading, Slate, Standby,
    Thumbnail, ToWorker,
};
use tandem::encode::ladder::VideoFormat;
use tandem::media::{
    ChannelId, ChannelTime, Codec, FrameRate, Grid, Item, PipelineId, SegmentNumber, TrackId, TrackInfo, TrackKind,
    TrackSet, Unit, VideoShape,
};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

const VIDEO: TrackId = TrackId(256);
pub const AUDIO: TrackId = TrackId(257);

/// Coded media on its own timeline: what a demultiplexer hands on.
#[derive(Clone, Debug)]
pub struct Clip {
    pub tracks: Arc<TrackSet>,
    /// In transmission order; times in 90 kHz ticks.
    pub units: Vec<Unit<i64>>,
}

/// Runs a tool and returns what it prints.
pub fn output(command: &mut Command) -> Vec<u8> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().expect("the tool is installed");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Makes a transport stream with ffmpeg; `arguments` are inputs and codecs.
pub fn clip(arguments: &str, video: Codec, audio: Codec) -> Clip {
    let folder = tempfile::tempdir().expect("a folder");
    let ts = folder.path().join("clip.ts");
    output(
        Command::new("ffmpeg")
            .args(["-v", "error", "-y"])
            .args(arguments.split_whitespace())
            .args(["-f", "mpegts"])
            .arg(&ts),
    );
    read_clip(&ts, video, audio)
}

/// The first video and the first audio track of a file.
pub fn read_clip(file: &Path, video: Codec, audio: Codec) -> Clip {
    let track = |id, codec, shape| TrackInfo { id, codec, language: None, shape };
    let tracks = vec![track(VIDEO, video, shape(file)), track(AUDIO, audio, None)];
    let tracks = Arc::new(TrackSet { tracks });
    let mut units = packets(file, "v:0", VIDEO);
    units.extend(packets(file, "a:0", AUDIO));
    assert!(units.iter().any(|(_, unit)| unit.track == VIDEO), "no picture in {file:?}");
    // Decode order inside a track stays (the sort is stable per key of arrival).
    units.sort_by_key(|(order, _)| *order);
    Clip { tracks, units: units.into_iter().map(|(_, unit)| unit).collect() }
}

/// Sound alone, made with ffmpeg: `arguments` are an input and a codec. Its units belong to `track`.
pub fn sound(arguments: &str, codec: Codec, track: TrackId, language: Option<[u8; 3]>) -> Clip {
    let folder = tempfile::tempdir().expect("a folder");
    let ts = folder.path().join("sound.ts");
    let arguments = arguments.split_whitespace();
    output(Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).args(["-f", "mpegts"]).arg(&ts));
    let tracks = Arc::new(TrackSet { tracks: vec![TrackInfo { id: track, codec, language, shape: None }] });
    let units: Vec<_> = packets(&ts, "a:0", track).into_iter().map(|(_, unit)| unit).collect();
    assert!(!units.is_empty(), "no sound");
    Clip { tracks, units }
}

/// What the demultiplexer would find in the first sequence header.
fn shape(file: &Path) -> Option<VideoShape> {
    let mut demux = Demux::new(demux::Config::default());
    demux.push(&std::fs::read(file).expect("readable"));
    demux.flush();
    demux.tracks().and_then(|t| t.first(TrackKind::Video)).and_then(|t| t.shape)
}

/// One track's packets with their place in time of arrival. A packet without PTS belongs to the one before it, as in a PES.
fn packets(ts: &Path, stream: &str, track: TrackId) -> Vec<(i64, Unit<i64>)> {
    let table = output(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", stream, "-of", "csv=p=0"])
            .args(["-show_entries", "packet=pts,dts,size,flags"])
            .arg(ts),
    );
    if table.is_empty() {
        return Vec::new();
    }
    let bytes = output(
        Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(ts).args(["-map", &format!("0:{stream}")]).args([
            "-c",
            "copy",
            "-copyinkf",
            "-f",
            "data",
            "-",
        ]),
    );
    let mut bytes = Bytes::from(bytes);
    let mut units: Vec<(i64, Unit<i64>)> = Vec::new();
    for line in String::from_utf8(table).expect("text").lines() {
        // Side data have lines of their own.
        let fields: Vec<&str> = line.split(',').collect();
        let [pts, dts, size, flags, ..] = fields[..] else { continue };
        let size: usize = size.parse().expect("a size");
        // Of damaged streams one tool lists packets that the other leaves out.
        if size > bytes.len() {
            break;
        }
        let data = bytes.split_to(size);
        match (pts.parse(), units.last_mut()) {
            (Ok(pts), _) => {
                let order = dts.parse().unwrap_or(pts);
                let key = flags.starts_with('K');
                units.push((order, Unit { track, pts, key, damaged: false, whole: false, data }));
            }
            (Err(_), Some((_, last))) => last.data = [last.data.clone(), data].concat().into(),
            (Err(_), None) => {}
        }
    }
    units
}

/// The usual clip: 640×360p25 H.264 with B-frames, closed GOPs of 1 s, AAC with a beep of 50 ms at each full second.
pub fn usual_clip(seconds: u32) -> Clip {
    let beep = "aevalsrc=exprs=lt(mod(t\\,1)\\,0.05)*0.5*sin(2*PI*1000*t):s=48000:c=stereo";
    clip(
        &format!(
            "-f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i {beep} -t {seconds} -c:v libx264 -preset veryfast -bf 2 -g 25 \
             -sc_threshold 0 -x264-params open-gop=0:aud=1 -b:v 1M -c:a aac -b:a 128k"
        ),
        Codec::H264,
        Codec::AacAdts,
    )
}

impl Clip {
    /// The earliest time in it.
    pub fn first(&self) -> i64 {
        self.units.iter().map(|u| u.pts).min().expect("not empty")
    }

    /// On the channel timeline, its first unit at `at`.
    pub fn at(&self, at: ChannelTime) -> Vec<Item<ChannelTime>> {
        let first = self.first();
        let units = self.units.iter().map(|u| Item::Unit(u.clone().at(at.offset(u.pts - first))));
        std::iter::once(Item::Tracks(Arc::clone(&self.tracks))).chain(units).collect()
    }
}

/// The unit in an item.
pub fn unit(item: &Item<ChannelTime>) -> Option<&Unit<ChannelTime>> {
    match item {
        Item::Unit(unit) => Some(unit),
        _ => None,
    }
}

pub fn grid(segment_ms: u64, num: u32, den: u32) -> Grid {
    Grid::new(Duration::from_millis(segment_ms), FrameRate::new(num, den).expect("a rate")).expect("a grid")
}

/// A job on the test ladder whose clock never steps in.
pub fn job(grid: Grid, start: SegmentNumber) -> Job {
    let ladder = Ladder::parse(std::path::Path::new("test.toml"), include_str!("../../pipelines/ladders/test.toml"))
        .expect("a good ladder");
    Job {
        channel: ChannelId::new("test").expect("a name"),
        pipeline: PipelineId::A,
        grid,
        start,
        hold: Duration::from_secs(86_400),
        loss: InputLoss {
            repeat_for: Duration::from_secs(2),
            black_for: Duration::ZERO,
            slate: Slate { text: "Back soon".to_owned(), picture: None },
        },
        deinterlace: Deinterlace::Auto,
        loudness: None,
        plan: Vec::new(),
        standby: Standby::Hot,
        video: ladder.video,
        audio: ladder.audio,
        template: None,
    }
}

/// A segment as it came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub units: Vec<CodedUnit>,
    /// Set once it is whole.
    pub filled: Option<Filled>,
}

impl Segment {
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for unit in &self.units {
            hash.update(unit.position.to_le_bytes());
            hash.update([u8::from(unit.key)]);
            hash.update((unit.data.len() as u64).to_le_bytes());
            hash.update(&unit.data);
        }
        hash.finalize().into()
    }
}

/// An encode process and what it has said so far.
pub struct Worker {
    child: Child,
    socket: Option<UnixStream>,
    messages: Receiver<FromWorker>,
    pub job: Job,
    pub hello: Option<Hello>,
    pub heartbeats: Vec<Heartbeat>,
    pub readings: Vec<LoudnessReading>,
    pub thumbnails: Vec<Thumbnail>,
    pub slate_failed: Vec<String>,
    /// By rendition and segment, in order of arrival inside.
    pub segments: BTreeMap<(u8, u64), Segment>,
}

impl Worker {
    pub fn spawn(job: Job) -> Self {
        let mut worker = Self::spawn_silent(job);
        let job = worker.job.clone();
        worker.say(&ToWorker::Job(Box::new(job)));
        worker
    }

    /// Without telling it its job.
    pub fn spawn_silent(job: Job) -> Self {
        Self::spawn_in(job, &[])
    }

    /// Like [`Self::spawn_silent`], with these environment variables.
    pub fn spawn_in(job: Job, environment: &[(&str, &str)]) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let child = Command::new(env!("CARGO_BIN_EXE_tandem"))
            .arg("encode-worker")
            .envs(tandem::encode::ipc::ENVIRONMENT)
            .envs(environment.iter().copied())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("the binary starts");
        let mut from = ours.try_clone().expect("a socket");
        let (to, messages) = channel();
        std::thread::spawn(move || {
            while let Ok(Some(message)) = read_message(&mut from) {
                if to.send(message).is_err() {
                    break;
                }
            }
        });
        let socket = Some(ours);
        Self {
            child,
            socket,
            messages,
            job,
            hello: None,
            heartbeats: Vec::new(),
            readings: Vec::new(),
            thumbnails: Vec::new(),
            slate_failed: Vec::new(),
            segments: BTreeMap::new(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, message: &ToWorker) {
        let socket = self.socket.as_mut().expect("not closed");
        if let Err(error) = write_message(socket, message) {
            panic!("the worker does not read ({error:?}): {:?}", self.child.wait());
        }
    }

    pub fn feed<'a>(&mut self, items: impl IntoIterator<Item = &'a Item<ChannelTime>>) {
        for item in items {
            self.say(&ToWorker::Item(item.clone()));
            self.listen();
        }
    }

    /// Takes in what has been said without waiting.
    pub fn listen(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.hear(message);
        }
    }

    /// Listens until `done`, or fails.
    pub fn listen_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !done(self) {
            match self.messages.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => panic!("{what}: waited for {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{what}: the worker is gone"),
            }
        }
    }

    /// Says `Finish`, hears the rest, and returns how the process ended.
    pub fn finish(&mut self) -> ExitStatus {
        self.say(&ToWorker::Finish);
        self.hear_out()
    }

    /// Kills it, and hears what it had said by then.
    pub fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.hear_out();
    }

    /// Closes the socket, as a main process does that dies.
    pub fn abandon(&mut self) -> ExitStatus {
        if let Some(socket) = self.socket.take() {
            // The reading thread holds a clone.
            socket.shutdown(std::net::Shutdown::Both).expect("shuts");
        }
        self.hear_out()
    }

    pub fn hear_out(&mut self) -> ExitStatus {
        let limit = Instant::now() + PATIENCE;
        loop {
            match self.messages.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the worker does not end"),
            }
        }
        self.child.wait().expect("our child")
    }

    fn hear(&mut self, message: FromWorker) {
        match message {
            FromWorker::Hello(hello) => self.hello = Some(hello),
            FromWorker::Heartbeat(beat) => self.heartbeats.push(beat),
            FromWorker::Loudness(reading) => self.readings.push(reading),
            FromWorker::Thumbnail(thumbnail) => self.thumbnails.push(thumbnail),
            FromWorker::SlateFailed(why) => self.slate_failed.push(why),
            FromWorker::Coded(unit) => {
                let segment = self.segments.entry((unit.rendition.0, unit.segment.0)).or_default();
                assert_eq!(segment.filled, None, "a unit behind its segment's end: {unit:?}");
                segment.units.push(unit);
            }
            FromWorker::SegmentEnd(end) => {
                let segment = self.segments.entry((end.rendition.0, end.segment.0)).or_default();
                assert_eq!(segment.filled, None, "ended twice: {end:?}");
                assert_eq!(segment.units.len(), end.units as usize, "{end:?}");
                segment.filled = Some(end.filled);
                self.check(end.rendition.0, end.segment);
            }
        }
    }

    /// What holds for every whole segment, whatever the input was.
    fn check(&self, rendition: u8, number: SegmentNumber) {
        let segment = &self.segments[&(rendition, number.0)];
        let is_video = usize::from(rendition) < self.job.video.len();
        let range = if is_video { self.job.grid.slots(number) } else { self.job.grid.audio_frames(number) };
        let mut positions: Vec<u64> = segment.units.iter().map(|u| u.position).collect();
        if is_video {
            assert!(segment.units[0].key && segment.units[0].position == range.start, "begins with its IDR picture");
            let gops = usize::from(self.job.video[usize::from(rendition)].gops);
            assert_eq!(segment.units.iter().filter(|u| u.key).count(), gops, "one key picture a GOP");
            positions.sort_unstable();
        }
        assert_eq!(positions, range.collect::<Vec<u64>>(), "rendition {rendition}, segment {number}");
        if number > self.job.start && (!is_video || self.job.standby != Standby::StandsBy) {
            let before = self.segments.get(&(rendition, number.0 - 1)).and_then(|s| s.filled);
            assert!(before.is_some(), "rendition {rendition}: segment before {number} is not whole");
        }
    }

    /// Whole segments of a rendition, in order.
    pub fn whole(&self, rendition: u8) -> impl Iterator<Item = (u64, &Segment, Filled)> {
        self.segments
            .range((rendition, 0)..=(rendition, u64::MAX))
            .filter_map(|((_, number), segment)| Some((*number, segment, segment.filled?)))
    }

    pub fn renditions(&self) -> u8 {
        (self.job.video.len() + self.job.audio.len()) as u8
    }

    /// Index of the first audio rendition.
    pub fn audio(&self) -> u8 {
        self.job.video.len() as u8
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A failed test must not leave its process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many pictures a decoder of another make finds in a stream, all of the given size.
pub fn decode_pictures(format: VideoFormat, stream: &[u8], width: u32, height: u32) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stream");
    std::fs::write(&file, stream).expect("writes");
    let format = match format {
        VideoFormat::H264 => "h264",
        VideoFormat::Hevc => "hevc",
        VideoFormat::Av1 => "obu",
    };
    let arguments = ["-v", "error", "-xerror", "-f", format, "-i"];
    let raw = ["-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"];
    let pixels = output(Command::new("ffmpeg").args(arguments).arg(&file).args(raw));
    let picture = (width * height * 3 / 2) as usize;
    assert_eq!(pixels.len() % picture, 0, "pictures of another size");
    pixels.len() / picture
}

/// Kind of an item's track, for messages.
pub fn kind(item: &Item<ChannelTime>) -> Option<TrackKind> {
    unit(item).map(|u| if u.track == VIDEO { TrackKind::Video } else { TrackKind::Audio })
}
