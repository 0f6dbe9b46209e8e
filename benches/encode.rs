//! CPU seconds of one encode process against `ffmpeg` making the same ladder with the same x264 settings from the same file.
//!
//! `TANDEM_BENCH_CLIP=file.ts` takes an H.264 + AAC transport stream of your own; otherwise 60 s of 720p25 are made.
//! Both are fed as fast as they read. What counts is user and system time of the process, as the kernel has it.

#[path = "../tests/encode/driver.rs"]
mod driver;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driver::{Clip, Worker, grid, job, read_clip};
use tandem::clock;
use tandem::config::Ladder;
use tandem::encode::ipc::{AUDIO_LEAD, ToWorker};
use tandem::encode::ladder::RateControl;
use tandem::media::{ChannelTime, Codec};

const RUNS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = std::env::var_os("TANDEM_BENCH_CLIP").map_or_else(|| make_clip(folder.path()), PathBuf::from);
    let ladder = Ladder::parse(Path::new("720p25.toml"), include_str!("../pipelines/ladders/720p25.toml"))
        .expect("a good ladder");
    let clip = read_clip(&file, Codec::H264, Codec::AacAdts);
    let mut ratios = Vec::new();
    for run in 1..=RUNS {
        // By turns, so that a noisy host disturbs both.
        let (theirs, their_wall) = ffmpeg(&file, &ladder);
        let (ours, our_wall, rss_mb) = tandem(&clip, &ladder);
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!(
            "run {run}: tandem {ours:.2?} CPU, {our_wall:.1?} wall, {rss_mb} MB; ffmpeg {theirs:.2?} CPU, {their_wall:.1?} wall; \
             ratio {ratio:.3}"
        );
        ratios.push((ratio, ours, theirs, rss_mb));
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, ours, theirs, rss_mb) = ratios[RUNS / 2];
    println!(
        "RESULT encode_cpu_ratio={ratio:.3} encode_cpu_s={:.2} ffmpeg_cpu_s={:.2} encode_rss_mb={rss_mb}",
        ours.as_secs_f64(),
        theirs.as_secs_f64()
    );
}

/// Motion, sharp edges, and a little noise as cameras have it.
fn make_clip(folder: &Path) -> PathBuf {
    let file = folder.join("bench.ts");
    let picture = "testsrc2=s=1280x720:r=25,noise=alls=6:allf=t";
    let arguments = format!(
        "-f lavfi -i {picture} -f lavfi -i anoisesrc=a=0.2:c=pink:r=48000 -t 60 -pix_fmt yuv420p -c:v libx264 -preset \
         veryfast -g 25 -bf 2 -b:v 6M -colorspace bt709 -color_primaries bt709 -color_trc bt709 -c:a aac -b:a 128k -f mpegts"
    );
    driver::output(Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments.split_whitespace()).arg(&file));
    file
}

fn ffmpeg(file: &Path, ladder: &Ladder) -> (Duration, Duration) {
    let count = ladder.video.len();
    let mut filter = format!("[0:v]split={count}");
    (0..count).for_each(|i| filter += &format!("[i{i}]"));
    for (i, rung) in ladder.video.iter().enumerate() {
        filter += &format!(";[i{i}]scale={}:{}:flags=bicubic[o{i}]", rung.width, rung.height);
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(file).args(["-filter_complex", &filter]);
    for (i, rung) in ladder.video.iter().enumerate() {
        let RateControl::CappedCrf { crf, .. } = rung.rate else { panic!("this bench is for capped CRF") };
        let kbps = rung.rate.max_bitrate() / 1000;
        let x264 = format!(
            "keyint=50:scenecut=0:open-gop=0:sync-lookahead=0:rc-lookahead={}:bframes={}:crf={}:vbv-maxrate={kbps}:vbv-bufsize={}",
            rung.lookahead,
            rung.bframes,
            crf,
            2 * kbps
        );
        command.args(["-map", &format!("[o{i}]"), "-c:v", "libx264", "-threads", "1", "-preset", &rung.preset]);
        command.args(["-x264-params", &x264, "-f", "null", "/dev/null"]);
    }
    command.args(["-map", "0:a", "-c:a", "aac", "-b:a", "128k", "-f", "null", "/dev/null"]).stdin(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().expect("ffmpeg is installed");
    let cpu = cpu_at_end(child.id());
    assert!(wait(&mut child), "ffmpeg");
    (cpu, began.elapsed())
}

fn tandem(clip: &Clip, ladder: &Ladder) -> (Duration, Duration, u64) {
    let grid = grid(2000, 25, 1);
    let hour_ago = clock::now().channel_time() - Duration::from_secs(3600);
    let at = ChannelTime::from_ticks(hour_ago.ticks() / 180_000 * 180_000) - AUDIO_LEAD;
    let mut job = job(grid, grid.segment_at(at + AUDIO_LEAD));
    (job.video, job.audio) = (ladder.video.clone(), ladder.audio.clone());
    let began = Instant::now();
    let mut worker = Worker::spawn(job);
    worker.feed(&clip.at(at));
    worker.say(&ToWorker::Finish);
    let cpu = cpu_at_end(worker.id());
    assert!(worker.hear_out().success(), "the worker");
    assert!(worker.whole(0).count() >= 2, "it made segments");
    let rss = worker.heartbeats.iter().map(|beat| beat.rss_bytes).max().unwrap_or(0);
    (cpu, began.elapsed(), rss >> 20)
}

fn wait(child: &mut Child) -> bool {
    child.wait().is_ok_and(|status| status.success())
}

/// Waits until a child of ours has ended and returns the CPU time it took: a process that was not waited for still has its
/// figures in /proc (proc(5): utime and stime, fields 14 and 15, in ticks of 10 ms).
fn cpu_at_end(id: u32) -> Duration {
    loop {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("our child, not waited for");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("proc(5)").1.split_whitespace().collect();
        if fields[0] == "Z" {
            let ticks = |i: usize| fields[i].parse::<u64>().expect("proc(5)");
            return Duration::from_millis(10 * (ticks(11) + ticks(12)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
