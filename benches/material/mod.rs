#![allow(dead_code)] // Each bench uses a part of it.
//! What the benches encode, and what processes cost.
//!
//! Natural pictures come from the folders in `TANDEM_BENCH_CLIPS` (scripts/clips.sh fetches some) and
//! `TANDEM_SHARED`/corpus. Where there are none, they are made by ffmpeg, and the bench says so: figures then tell little.

#[path = "../setting/mod.rs"]
mod setting;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use setting::setting;

/// A size and rate that clips are brought to.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub rate: u32,
    /// At most so long.
    pub seconds: u32,
}

pub const NEWS: Shape = Shape { name: "720p30", width: 1280, height: 720, rate: 30, seconds: 40 };
pub const SPORT: Shape = Shape { name: "1080p50", width: 1920, height: 1080, rate: 50, seconds: 14 };

/// File, height, and whether it consists of fields. All are public test material.
const NATURAL: [(&str, u32, bool); 7] = [
    ("h264_mp3_id3.ts", 720, false),
    ("pcr_verify_1080p30.ts", 1080, false),
    ("dvb_h264_1080i25_4xeac3_dvbsub.ts", 1080, true),
    ("mpeg2_1080p24_mp2.ts", 1080, false),
    ("bigbuckbunny.mp4", 720, false),
    ("h264_aac_576p.ts", 576, false),
    ("bikes.mp4", 272, false),
];

/// A natural clip as it was found.
#[derive(Clone, Debug)]
pub struct Natural {
    pub name: &'static str,
    pub file: PathBuf,
    pub height: u32,
    pub fields: bool,
}

/// The natural clips that are here.
pub fn natural() -> Vec<Natural> {
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(std::env::var_os("TANDEM_BENCH_CLIPS").map(PathBuf::from));
    let shared = std::env::var_os("TANDEM_SHARED").map(PathBuf::from);
    folders.push(shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")).join("corpus"));
    let found = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    NATURAL
        .iter()
        .filter_map(|(name, height, fields)| {
            Some(Natural { name, file: found(name)?, height: *height, fields: *fields })
        })
        .collect()
}

/// A filter that makes pictures of `shape` of a clip, one of each, so that movement stays natural at the new rate.
pub fn filter(clip: &Natural, shape: Shape) -> String {
    let fields = match (clip.fields, shape.rate >= 50) {
        (true, true) => "yadif=mode=send_field,",
        (true, false) => "yadif=mode=send_frame,",
        (false, _) => "",
    };
    let Shape { width, height, rate, .. } = shape;
    format!("{fields}setpts=N/{rate}/TB,scale={width}:{height}:flags=bicubic,setsar=1,format=yuv420p")
}

/// A contribution feed (H.264 with B-frames and closed GOPs of 1 s, AAC) of this shape in `folder`, and what is in it.
pub fn contribution(shape: Shape, folder: &Path) -> (PathBuf, String) {
    let Shape { name, width, height, rate, seconds } = shape;
    let file = folder.join(format!("{name}.ts"));
    let clips: Vec<Natural> = natural().into_iter().filter(|clip| clip.height * 5 >= height * 3).collect();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "fatal", "-y"]);
    let mut graph = String::new();
    for (i, clip) in clips.iter().enumerate() {
        command.args(["-t", "14", "-i"]).arg(&clip.file);
        let _ = write!(graph, "[{i}:v]{}[v{i}];", filter(clip, shape));
    }
    let what = if clips.is_empty() {
        let made = format!("s={width}x{height}:r={rate}");
        command.args(["-f", "lavfi", "-i", &format!("mandelbrot={made}:maxiter=400,noise=alls=4:allf=t")]);
        graph += "[0:v]format=yuv420p[v]";
        "no natural pictures here: made by ffmpeg".to_owned()
    } else {
        (0..clips.len()).for_each(|i| graph += &format!("[v{i}]"));
        let _ = write!(graph, "concat=n={}[v]", clips.len());
        clips.iter().map(|clip| clip.name).collect::<Vec<_>>().join(" + ")
    };
    let sound = clips.len().max(1);
    command.args(["-f", "lavfi", "-i", "anoisesrc=a=0.2:c=pink:r=48000", "-filter_complex", &graph]);
    command.args(["-map", "[v]", "-map", &format!("{sound}:a"), "-r", &rate.to_string(), "-t", &seconds.to_string()]);
    let coding = format!(
        "-shortest -c:v libx264 -preset veryfast -g {rate} -bf 2 -x264-params open-gop=0:scenecut=0 -b:v {}M -colorspace bt709 \
         -color_primaries bt709 -color_trc bt709 -c:a aac -b:a 128k -f mpegts",
        width * height * rate / 3_500_000
    );
    command.args(coding.split_whitespace()).arg(&file).stdin(Stdio::null());
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
    (file, what)
}

/// What a process has cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// User and system time.
    pub cpu: Duration,
    /// From start to end.
    pub wall: Duration,
    /// Highest resident memory.
    pub peak_bytes: u64,
}

impl Cost {
    pub fn seconds(self) -> f64 {
        self.cpu.as_secs_f64()
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s CPU, {:.1} s wall, {} MB", self.seconds(), self.wall.as_secs_f64(), self.peak_bytes >> 20)
    }
}

/// Waits until a child of ours has ended, and returns what it took: a process that was not waited for still has its times
/// in /proc (proc(5): utime and stime, fields 14 and 15, in ticks of 10 ms), and those of children it waited for behind them.
pub fn cost_at_end(id: u32, began: Instant) -> Cost {
    let mut peak_bytes = 0;
    loop {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("our child, not waited for");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("proc(5)").1.split_whitespace().collect();
        if fields[0] == "Z" {
            let ticks: u64 = (11..=14).map(|i| fields[i].parse::<u64>().expect("proc(5)")).sum();
            return Cost { cpu: Duration::from_millis(10 * ticks), wall: began.elapsed(), peak_bytes };
        }
        // The kernel keeps the highest mark; the last look sees it.
        peak_bytes = high_water(id).unwrap_or(0).max(peak_bytes);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn high_water(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Cost {
    let began = Instant::now();
    let mut child: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the tool is installed");
    let cost = cost_at_end(child.id(), began);
    assert!(child.wait().is_ok_and(|status| status.success()), "{command:?}");
    cost
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
