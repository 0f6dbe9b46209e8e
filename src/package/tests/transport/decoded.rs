//! What ffmpeg makes of transport streams and of the CMAF they are made of.

use super::*;

#[test]
fn ffmpeg_decodes_the_same_h264_and_sound() {
    let params = "keyint=50:min-keyint=50:scenecut=0:bframes=2:b-pyramid=none:open-gop=0";
    let by = ["-c:v", "libx264", "-preset", "veryfast", "-x264-params", params];
    ffmpeg_decodes_the_same(VideoEncoder::X264, &by, "h264_mp4toannexb,h264_metadata=aud=insert", "h264");
}

#[test]
fn ffmpeg_decodes_the_same_hevc_and_sound() {
    let params = "log-level=none:keyint=50:min-keyint=50:scenecut=0:bframes=2:open-gop=0:pools=1:frame-threads=1";
    let by = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", params];
    ffmpeg_decodes_the_same(VideoEncoder::X265, &by, "hevc_mp4toannexb,hevc_metadata=aud=insert", "hevc");
}

/// From the transport stream ffmpeg decodes what it decodes from the CMAF, and at the same times.
fn ffmpeg_decodes_the_same(encoder: VideoEncoder, by: &[&str], filter: &str, muxer: &str) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let Some(channel) = real(folder.path(), encoder, by, filter, muxer) else { return };
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(path(name), bytes).expect("file");
        path(name)
    };
    let (cmaf_video, cmaf_sound) = (write("v.mp4", &channel.joined(0)), write("a.mp4", &channel.joined(1)));
    let (segments, alone) = (channel.transport(0), channel.transport(1).concat());
    let (ts, ts_sound) = (write("v.ts", &segments.concat()), write("a.ts", &alone));
    let decoded = |file: &str, kind: &str, from: u32| {
        let (map, select) = (format!("0:{kind}"), format!("select=gte(n\\,{from})"));
        let picked: &[&str] = if from == 0 { &[] } else { &["-vf", &select] };
        let input = ["-err_detect", "explode", "-i", file, "-map", &map];
        let out = ffmpeg(&[&input[..], picked, &["-vsync", "passthrough", "-f", "md5", "-"]].concat());
        String::from_utf8_lossy(&out.expect("it ran before")).into_owned()
    };
    assert_eq!(decoded(&ts, "v", 0), decoded(&cmaf_video, "v", 0), "pictures");
    assert_eq!(decoded(&ts, "a", 0), decoded(&cmaf_sound, "a", 0), "sound beside pictures");
    assert_eq!(decoded(&ts_sound, "a", 0), decoded(&cmaf_sound, "a", 0), "sound alone");
    // A player may begin with any segment.
    let late = write("late.ts", &segments[1..].concat());
    assert_eq!(decoded(&late, "v", 0), decoded(&cmaf_video, "v", 50), "from the second segment on");

    // Samples: all of them, and each at its time.
    let samples = ffmpeg(&["-i", &ts, "-map", "0:a", "-f", "s16le", "-"]).expect("it ran before").len() / 4;
    let grid = channel.config.grid;
    let first_frame = |n| grid.first_audio_frame(SegmentNumber(n)).0;
    let (slot, frame) = (grid.first_slot(SegmentNumber(FIRST)).0, first_frame(FIRST));
    let frames = first_frame(FIRST + 3) - frame;
    assert_eq!(samples as u64, frames * 1024, "samples");
    let time = |kind, place| channel.layout.time_of(kind, place).ticks().rem_euclid(1 << 33);
    let shown: Vec<i64> = (slot..slot + 150).map(|place| time(Kind::Video, place)).collect();
    let heard: Vec<i64> = (frame..frame + frames).map(|place| time(Kind::Audio, place)).collect();
    assert_eq!(times(&ts, "v"), shown);
    assert_eq!(times(&ts, "a"), heard);
    assert_eq!(times(&ts_sound, "a"), heard);
    is_clean("real pictures", &segments.concat());
    is_clean("real sound", &alone);
    judged(&ts);
    judged(&ts_sound);
}

/// PTS of all decoded frames.
fn times(file: &str, kind: &str) -> Vec<i64> {
    let args = ["-v", "error", "-select_streams", kind, "-show_entries", "frame=pts", "-of", "csv=p=0", file];
    let out = Command::new("ffprobe").args(args).output().expect("ffprobe comes with ffmpeg");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let number = |line: &str| line.trim_end_matches(',').parse().expect("a number");
    String::from_utf8_lossy(&out.stdout).lines().filter(|line| !line.is_empty()).map(number).collect()
}

/// By a reader of TR 101 290 that shares nothing with ours, where it is at hand.
fn judged(file: &str) {
    let Some(script) = shared("validators/ts_check.py") else {
        eprintln!("skipped: ts_check.py is not beside the project");
        return;
    };
    match Command::new("python3").arg(script).arg(file).output() {
        Ok(out) => {
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.success() && !said.contains("advice") && !said.contains("syntax"), "{said}");
            eprintln!("{said}");
        }
        Err(e) => eprintln!("skipped: python3 does not run: {e}"),
    }
}
