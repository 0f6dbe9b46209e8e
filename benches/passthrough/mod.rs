//! A stand-in for a rung that passes its source through: units of a transport stream get places on the grid. It can do so because it made the
//! stream: closed GOPs of exactly a segment, at exactly the channel's rate.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tandem::clock::{self, Now};
use tandem::config::Serve;
use tandem::demux::{self, Demux};
use tandem::encode::ipc::{CodedUnit, Filled, Material, RenditionIndex, SegmentEnd};
use tandem::encode::ladder::{AudioRung, RateControl, VideoRung};
use tandem::media::{
    ChannelId, FrameRate, Grid, Item, PipelineId, RenditionId, SegmentNumber, SourceTime, TrackKind, Unit,
};
use tandem::package::{Config, Lookup, Packager};

pub const FILE: &str = "package-5m.ts";
pub const SEGMENT: Duration = Duration::from_secs(2);
/// Segments that playlists list.
pub const LISTED: usize = 15;
const FPS: u32 = 25;
/// Long enough that sound is a whole number of frames, and so are nine of it.
const LOOP_SECONDS: usize = 64;
const LOOPS: usize = 9;
pub const CLIP_SECONDS: usize = LOOP_SECONDS * LOOPS;
/// Read at a time, bytes.
const PORTION: usize = 128 * 1024;

/// Makes the stream, unless it is there.
pub fn clip(folder: &Path) -> PathBuf {
    // Through MP4: a transport stream that is read again from its start loses the first picture of each round.
    let (file, one) = (folder.join(FILE), folder.join("package-once.mp4"));
    if file.exists() {
        return file;
    }
    let ffmpeg = |arguments: &str, to: &Path| {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y"]).args(arguments.split_whitespace()).arg(to);
        assert!(command.stdin(Stdio::null()).status().is_ok_and(|status| status.success()), "{command:?}");
    };
    let gop = u64::from(FPS) * SEGMENT.as_secs();
    let coding = format!(
        "-f lavfi -i testsrc2=s=1280x720:r={FPS},noise=alls=16:allf=t,format=yuv420p -f lavfi -i anoisesrc=a=0.2:c=pink:r=48000 \
         -t {LOOP_SECONDS} -c:v libx264 -preset ultrafast -bf 2 -g {gop} -keyint_min {gop} -b:v 4700k -maxrate 4700k -bufsize 4700k \
         -x264-params open-gop=0:scenecut=0 -c:a aac -ac 2 -b:a 128k"
    );
    ffmpeg(&coding, &one);
    let whole = folder.join("package-whole.ts");
    let again = format!("-stream_loop {} -i {} -c copy -f mpegts", LOOPS - 1, one.display());
    ffmpeg(&again, &whole);
    std::fs::rename(&whole, &file).unwrap();
    file
}

/// Takes the file apart.
pub fn demux(file: &Path, mut each: impl FnMut((TrackKind, Unit<SourceTime>))) {
    let (mut demux, mut file) = (Demux::new(demux::Config::default()), File::open(file).unwrap());
    let mut portion = vec![0; PORTION];
    loop {
        let read = file.read(&mut portion).unwrap();
        if read == 0 {
            demux.flush();
        } else {
            demux.push(&portion[..read]);
        }
        while let Some(item) = demux.pop() {
            if let Item::Unit(unit) = item {
                let kind = demux.tracks().unwrap().get(unit.track).unwrap().codec.kind();
                each((kind, unit));
            }
        }
        if read == 0 {
            break;
        }
    }
    let stats = demux.stats();
    assert_eq!((stats.sync_losses, stats.pes_errors, stats.items_dropped), (0, 0, 0), "{stats:?}");
}

/// In which forms it goes out, and from how many pipelines it comes.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    serve: Serve,
    pipelines: &'static [PipelineId],
}

impl Form {
    pub fn named(name: &str) -> Option<Self> {
        let none = Serve::default();
        let (serve, pipelines) = match name {
            "hls" => (Serve { hls: true, ..none }, &[PipelineId::A][..]),
            "dash" => (Serve { dash: true, ..none }, &[PipelineId::A][..]),
            "both" => (Serve { hls: true, dash: true, ..none }, &[PipelineId::A][..]),
            "pair" => (Serve { hls: true, dash: true, ..none }, &PipelineId::BOTH[..]),
            "low" => {
                let all = Serve { hls: true, low_latency_hls: true, dash: true, low_latency_dash: true, ..none };
                (all, &[PipelineId::A][..])
            }
            _ => return None,
        };
        Some(Self { serve, pipelines })
    }
}

/// What a packager keeps at the end.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub media_kb: u64,
    pub other_kb: u64,
}

/// Packages the whole file; time is that of the media.
pub fn package(file: &Path, form: Form) -> Memory {
    let before = anonymous_kb();
    let mut track = Track::new(form);
    demux(file, |(kind, unit)| match kind {
        TrackKind::Video => track.picture(unit),
        _ => track.frame(unit),
    });
    let status = track.packager.status();
    let segments = CLIP_SECONDS as u64 / SEGMENT.as_secs();
    assert!((segments - 1..=segments).contains(&status.segments), "{status:?}");
    assert_eq!((status.gaps, status.differs), (0, 0), "{status:?}");
    let snapshot = track.packager.snapshot();
    let listed = if form.serve.hls { "v720/index.m3u8" } else { "manifest.mpd" };
    assert!(matches!(snapshot.lookup(listed), Lookup::Found(_)), "{listed}");
    Memory { media_kb: slabs_kb(), other_kb: anonymous_kb().saturating_sub(before) }
}

const VIDEO: RenditionIndex = RenditionIndex(0);
const AUDIO: RenditionIndex = RenditionIndex(1);

/// Where its units stand.
struct Track {
    packager: Packager,
    pipelines: &'static [PipelineId],
    grid: Grid,
    first: SegmentNumber,
    begins: Now,
    /// The segment whose pictures come, when its key picture is shown, and how many came.
    pictures: Option<(SegmentNumber, SourceTime, u64)>,
    /// The segment whose sound comes, and the next frame.
    sound: (SegmentNumber, u64),
}

impl Track {
    fn new(form: Form) -> Self {
        let grid = Grid::new(SEGMENT, FrameRate::new(FPS, 1).unwrap()).unwrap();
        let begins = clock::now();
        let first = grid.segment_at(begins.channel_time());
        let rate = RateControl::Cbr { bitrate: 5_000_000 };
        let config = Config {
            channel: ChannelId::new("bench").unwrap(),
            grid,
            part: Duration::from_millis(200),
            serve: form.serve,
            window: SEGMENT * LISTED as u32,
            pipelines: form.pipelines.to_vec(),
            video: vec![VideoRung::new(RenditionId::new("v720").unwrap(), 1280, 720, rate)],
            audio: vec![AudioRung {
                id: RenditionId::new("audio").unwrap(),
                bitrate: 128_000,
                channels: 2,
                language: None,
            }],
            language: "und".to_owned(),
            time_uri: "/time".to_owned(),
            deterministic: true,
            disk: false,
            profiles: Vec::new(),
            save: false,
        };
        let mut packager = Packager::new(config, begins).unwrap();
        form.pipelines.iter().for_each(|&pipeline| packager.pipeline(begins, pipeline, true));
        let sound = (first, grid.first_audio_frame(first).0);
        Self { packager, pipelines: form.pipelines, grid, first, begins, pictures: None, sound }
    }

    fn picture(&mut self, unit: Unit<SourceTime>) {
        let (segment, key, count) = match self.pictures {
            Some((segment, key, count)) if !unit.key => (segment, key, count),
            None if !unit.key => return,
            Some((segment, ..)) => (segment.next(), unit.pts, 0),
            None => (self.first, unit.pts, 0),
        };
        self.pictures = Some((segment, key, count + 1));
        let slots = self.grid.slots(segment);
        let apart = 90_000 / i64::from(FPS);
        let place = (unit.pts.ticks() - key.ticks() + apart / 2).div_euclid(apart);
        let position = slots.start + u64::try_from(place).unwrap();
        // When an encoder would have it: its place in decode order.
        let now = self.now(slots.start + count);
        self.coded(
            now,
            CodedUnit {
                rendition: VIDEO,
                segment,
                position,
                key: unit.key,
                material: Material::Source,
                data: unit.data,
            },
        );
        if count + 1 == slots.end - slots.start {
            self.end(now, SegmentEnd { rendition: VIDEO, segment, units: count as u32 + 1, filled: Filled::default() });
        }
        self.poll(now);
    }

    fn frame(&mut self, unit: Unit<SourceTime>) {
        let Some((picture, key, count)) = self.pictures else { return };
        let (segment, position) = self.sound;
        if unit.pts < key && position == self.grid.first_audio_frame(self.first).0 {
            return;
        }
        let frames = self.grid.audio_frames(segment);
        let now = self.now(self.grid.slots(picture).start + count);
        // ISO/IEC 13818-7 §6.2: protection_absent, or two bytes of CRC behind the header of seven.
        let header = if unit.data[1] & 1 == 1 { 7 } else { 9 };
        let data: Bytes = unit.data.slice(header..);
        self.coded(
            now,
            CodedUnit {
                rendition: AUDIO,
                segment,
                position,
                key: position == frames.start,
                material: Material::Source,
                data,
            },
        );
        self.sound.1 += 1;
        if position + 1 == frames.end {
            self.sound.0 = segment.next();
            let units = (frames.end - frames.start) as u32;
            self.end(now, SegmentEnd { rendition: AUDIO, segment, units, filled: Filled::default() });
        }
        self.poll(now);
    }

    fn coded(&mut self, now: Now, unit: CodedUnit) {
        for &pipeline in self.pipelines {
            self.packager.coded(now, pipeline, unit.clone());
        }
    }

    fn end(&mut self, now: Now, end: SegmentEnd) {
        for &pipeline in self.pipelines {
            self.packager.segment_end(now, pipeline, end);
        }
    }

    fn poll(&mut self, now: Now) {
        drop(self.packager.poll(now));
    }

    fn now(&self, slot: u64) -> Now {
        let slots = u32::try_from(slot - self.grid.first_slot(self.first).0).unwrap();
        self.begins.after(SEGMENT.mul_f64(f64::from(slots) / f64::from(FPS) / SEGMENT.as_secs_f64()))
    }
}

/// Memory of our own, kB.
fn anonymous_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// What all slabs take, kB.
fn slabs_kb() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let slab = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().contains("memfd:tandem-slab"))
    };
    files.filter(slab).map(|entry| std::fs::metadata(entry.path()).unwrap().blocks() / 2).sum()
}
