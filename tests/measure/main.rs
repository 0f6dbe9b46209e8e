//! The measuring stick measured: the signal is clean however it is packed, and each fault that ffmpeg plants into it is
//! found and named.

mod ground;
#[path = "../ports/mod.rs"]
mod ports;

use std::process::Command;

use ground::{Ground, Server, ffmpeg, inspect, signal, start};
use serde_json::Value;

/// The kinds of fault in a report, each once, sorted.
fn kinds(report: &Value) -> Vec<String> {
    report["counts"].as_object().expect("counts").keys().cloned().collect()
}

fn assert_clean(name: &str, (code, report): (i32, Value), pictures: u64) {
    assert_eq!(code, 0, "{name}: {report:#}");
    assert_eq!(report["faults"], Value::Array(vec![]), "{name}");
    for count in ["missing", "repeated", "reordered", "unreadable", "slate"] {
        assert_eq!(report["video"][count], 0, "{name}: {count}");
    }
    assert_eq!(report["video"]["frames"], pictures, "{name}");
    let span = report["video"]["last"].as_i64().expect("last") - report["video"]["first"].as_i64().expect("first");
    assert_eq!(span + 1, pictures as i64, "{name}");
    assert_eq!((&report["audio"]["missing"], &report["audio"]["repeated"]), (&0.into(), &0.into()), "{name}");
    assert!(report["audio"]["seconds"].as_u64() >= Some(pictures / 25 - 1), "{name}: {report:#}");
    for end in ["min", "max"] {
        let offset = report["av_offset_ms"][end].as_f64().expect("an offset");
        assert!(offset.abs() < 5.0, "{name}: sound {offset} ms off");
    }
}

#[test]
fn the_undisturbed_signal_is_clean_however_it_is_packed() {
    let ground = Ground::new();
    let source = ground.signal();
    for (name, file, how) in [
        ("as it is", "signal.ts", ""),
        ("160 rows at CRF 35", "small.ts", "-vf scale=284:160 -c:v libx264 -preset veryfast -crf 35 -c:a aac -b:a 64k"),
        ("HLS with TS segments", "ts.m3u8", "-c copy -f hls -hls_time 2 -hls_list_size 0"),
        (
            "HLS with fMP4 segments",
            "fmp4.m3u8",
            "-c copy -bsf:a aac_adtstoasc -f hls -hls_time 2 -hls_list_size 0 -hls_segment_type fmp4",
        ),
        (
            "one fragmented MP4",
            "f.mp4",
            "-c copy -bsf:a aac_adtstoasc -tag:v avc1 -movflags +frag_keyframe+delay_moov+default_base_moof",
        ),
    ] {
        if !how.is_empty() {
            ffmpeg(&ground, &source, how, file);
        }
        assert_clean(name, inspect(ground.path(file), &[]), 300);
    }
}

#[test]
fn hls_and_dash_are_read_over_http() {
    let ground = Ground::new();
    let source = ground.signal();
    let dash = "-c copy -bsf:a aac_adtstoasc -tag:v avc1 -tag:a mp4a -f dash -seg_duration 2 -hls_playlist 1";
    ffmpeg(&ground, &source, dash, "manifest.mpd");
    let server = Server::start(&ground);
    for (name, path) in [("DASH", "manifest.mpd"), ("HLS with an audio group", "master.m3u8")] {
        let (code, report) = inspect(server.url(path), &[]);
        assert_eq!(report["renditions"].as_array().map(Vec::len), Some(2), "{name}");
        assert_clean(name, (code, report), 300);
    }

    // The same with one segment gone: the judge must say what was not there, by its status and by its pictures.
    std::fs::remove_file(ground.path("chunk-stream0-00003.m4s")).expect("the third segment of the pictures");
    for path in ["manifest.mpd", "master.m3u8"] {
        let (code, report) = inspect(server.url(path), &[]);
        assert_eq!(code, 1, "{path}");
        assert_eq!(report["counts"]["http"], 1, "{path}: {report:#}");
        assert!(report["faults"].to_string().contains("404"), "{path}: {report:#}");
        assert!(report["video"]["missing"].as_u64() >= Some(25), "{path}: {report:#}");
    }
}

#[test]
fn a_ladder_with_separate_sound_is_read_in_the_renditions_asked_for() {
    let ground = Ground::new();
    let source = ground.signal();
    let ladder = "-filter_complex '[0:v]split[a][b];[b]scale=284:160[c]' -map [a] -map [c] -map 0:a \
        -c:v libx264 -preset ultrafast -g 50 -b:v:0 900k -b:v:1 150k -c:a aac \
        -f dash -seg_duration 2 -adaptation_sets 'id=0,streams=v id=1,streams=a' -hls_playlist 1";
    ffmpeg(&ground, &source, &ladder.split_whitespace().collect::<Vec<_>>().join(" "), "ladder.mpd");
    for manifest in ["ladder.mpd", "master.m3u8"] {
        for (rendition, pictures, size) in
            [("all", 600, "640x360"), ("top", 300, "640x360"), ("lowest", 300, "284x160"), ("284x160", 300, "284x160")]
        {
            let (code, report) = inspect(ground.path(manifest), &["--rendition", rendition]);
            assert_eq!(code, 0, "{manifest} {rendition}: {report:#}");
            assert_eq!(report["video"]["frames"], pictures, "{manifest} {rendition}");
            let name = report["renditions"][0]["name"].as_str().expect("a name");
            assert!(name.contains(size), "{manifest} {rendition}: {name}");
            assert!(report["audio"]["seconds"].as_u64() >= Some(11), "{manifest} {rendition}: {report:#}");
            assert!(report["av_offset_ms"]["max"].as_f64().expect("an offset").abs() < 5.0, "{report:#}");
        }
    }
}

#[test]
fn each_planted_fault_is_found_and_named() {
    let ground = Ground::new();
    let source = ground.signal();
    let path = source.display();
    let pictures = "-c:v libx264 -preset ultrafast -c:a copy";
    let retimed = "setpts=N/25/TB";
    for (name, how, count, faults) in [
        (
            "a picture cut out, its time left empty",
            format!("-vf select='not(eq(n\\,77))' -fps_mode passthrough {pictures}"),
            ("video", "missing", 1),
            &["video-missing", "video-timestamp"][..],
        ),
        (
            "a picture cut out, the rest moved up",
            format!("-vf select='not(eq(n\\,77))',{retimed} {pictures}"),
            ("video", "missing", 1),
            &["av-offset", "video-missing", "video-offset"],
        ),
        (
            "a picture doubled",
            format!("-vf loop=loop=1:size=1:start=77,{retimed} {pictures}"),
            ("video", "repeated", 1),
            &["av-offset", "video-offset", "video-repeated"],
        ),
        (
            "two pictures swapped",
            format!("-vf shuffleframes='{}' {pictures}", shown(300, |order| order.swap(77, 78))),
            ("video", "reordered", 1),
            &["video-reordered"],
        ),
        (
            "a picture replaced by the one before",
            format!("-vf shuffleframes='{}' {pictures}", shown(300, |order| order[77] = 76)),
            ("video", "repeated", 1),
            &["video-missing", "video-repeated"],
        ),
        (
            "ten pictures black",
            format!("-vf drawbox=c=black:t=fill:enable='between(n\\,100\\,109)' {pictures}"),
            ("video", "slate", 10),
            &["video-missing", "video-slate"],
        ),
        (
            "half of the code painted over",
            format!("-vf drawbox=x=iw/3:w=iw/4:y=0.8*ih:h=0.2*ih:c=white:t=fill:enable='eq(n\\,100)' {pictures}"),
            ("video", "unreadable", 1),
            &["video-missing", "video-unreadable"],
        ),
        (
            "sound 40 ms late",
            format!("-itsoffset 0.04 -i {path} -map 0:v -map 1:a -c copy"),
            ("audio", "missing", 0),
            &["av-offset"],
        ),
        (
            "sound 40 ms early",
            format!("-itsoffset -0.04 -i {path} -map 0:v -map 1:a -c copy"),
            ("audio", "missing", 0),
            &["av-offset"],
        ),
        (
            "an AAC frame dropped, its time left empty",
            "-c copy -bsf:a noise=drop='eq(n\\,200)'".to_owned(),
            ("audio", "missing", 1),
            &["audio-missing", "audio-timestamp"],
        ),
        (
            "an AAC frame dropped, the rest moved up",
            "-c copy -bsf:a noise=drop='eq(n\\,200)',setts=pts=STARTPTS+N*1920:dts=STARTPTS+N*1920".to_owned(),
            ("audio", "missing", 1),
            &["audio-missing", "av-offset"],
        ),
        (
            "1,024 samples heard twice",
            "-c:v copy -af aloop=loop=1:size=1024:start=200000,asetpts=STARTPTS+N/SR/TB -c:a aac".to_owned(),
            ("audio", "repeated", 1),
            &["audio-repeated", "av-offset"],
        ),
        (
            "half a second muted",
            "-c:v copy -af volume=0:enable='between(t\\,5.3\\,5.8)' -c:a aac".to_owned(),
            ("audio", "missing", 0),
            &["audio-silent"],
        ),
    ] {
        ffmpeg(&ground, &source, &how, "planted.ts");
        let (code, report) = inspect(ground.path("planted.ts"), &[]);
        assert_eq!(code, 1, "{name}");
        assert_eq!(report[count.0][count.1], count.2, "{name}: {report:#}");
        assert_eq!(kinds(&report), faults, "{name}: {report:#}");
    }
    // What the offset was, to the millisecond.
    ffmpeg(&ground, &source, &format!("-itsoffset 0.04 -i {path} -map 0:v -map 1:a -c copy"), "late.ts");
    let (_, report) = inspect(ground.path("late.ts"), &["--allow", "av-offset"]);
    assert!((report["av_offset_ms"]["min"].as_f64().expect("min") - 40.0).abs() < 1.0, "{report:#}");
    assert_eq!(report["faults"], Value::Array(vec![]), "what is allowed is no fault");
}

/// A mapping for `shuffleframes` over `total` pictures, in order but for what `change` does.
fn shown(total: usize, change: impl Fn(&mut [usize])) -> String {
    let mut order: Vec<usize> = (0..total).collect();
    change(&mut order);
    order.iter().map(usize::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn two_processes_agree_on_numbers_and_times() {
    let ground = Ground::new();
    // The second begins 3 s later, with other settings, and at no whole number of AAC frames.
    for (file, from, bitrate, bframes) in [("a.ts", 0, "900k", "2"), ("b.ts", 3, "400k", "0")] {
        let at = (start() + from).to_string();
        let args = ["--start", &at, "--for", "6", "--bitrate", bitrate, "--bframes", bframes, "--rate", "29.97"];
        signal(&ground, &args, file);
    }
    for stream in ["v", "a"] {
        let times = |file: &str| -> Vec<i64> {
            let out = Command::new("ffprobe")
                .args(["-v", "error", "-select_streams", stream, "-show_entries", "packet=pts", "-of", "csv=p=0"])
                .arg(ground.path(file))
                .output()
                .expect("ffprobe runs");
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let mut times: Vec<i64> = text.split([',', '\n']).filter_map(|t| t.trim().parse().ok()).collect();
            times.sort_unstable();
            times
        };
        let (a, b) = (times("a.ts"), times("b.ts"));
        let shared = b.iter().filter(|t| a.contains(t)).count();
        let overlap = b.iter().filter(|&t| t <= a.last().expect("packets")).count();
        assert!(overlap > 80, "{stream}: {overlap} packets at the same time");
        assert_eq!(shared, overlap, "{stream}: every packet has its partner");
    }
    let first = |file| inspect(ground.path(file), &[]).1["video"]["first"].as_i64().expect("a number");
    let (a, b) = (first("a.ts"), first("b.ts"));
    // The first picture at or after each whole second: 3 s are 89.91 pictures.
    assert!((89..=90).contains(&(b - a)), "{a} and {b}");
}

#[test]
fn a_dead_destination_holds_up_nobody() {
    let ground = Ground::new();
    let port = ports::free_udp();
    let dead = format!("srt://127.0.0.1:{}", ports::free_udp());
    let peer = ground::srt_listener(port, &ground.path("received.ts"));
    let alive = format!("srt://127.0.0.1:{port}?streamid=demo/one");
    let args = ["--for", "8", "--to", &dead, "--to", &alive];
    let began = std::time::Instant::now();
    ground::signal_paced(&ground, &args, "kept.ts");
    assert!(began.elapsed().as_secs() < 30, "the dead one held the signal up for {:?}", began.elapsed());
    assert_clean("the file beside it", inspect(ground.path("kept.ts"), &[]), 200);
    peer.wait_until_grown(std::fs::metadata(ground.path("kept.ts")).expect("a file").len() / 2);
    let (_, report) = inspect(ground.path("received.ts"), &[]);
    assert_eq!(report["video"]["missing"], 0, "{report:#}");
    assert!(report["video"]["frames"].as_u64() > Some(100), "{report:#}");
}

#[test]
fn what_cannot_be_looked_at_ends_with_2() {
    let ground = Ground::new();
    std::fs::write(ground.path("empty.m3u8"), "#EXTM3U\n#EXT-X-TARGETDURATION:2\n").expect("a file");
    std::fs::write(ground.path("noise.bin"), [0x55; 4096]).expect("a file");
    let refused = format!("http://127.0.0.1:{}/x.m3u8", ports::free_tcp());
    for target in [&ground.path("nothing.ts"), &ground.path("empty.m3u8"), &ground.path("noise.bin"), &refused.into()] {
        assert_eq!(ground::inspect_code(target), 2, "{}", target.display());
    }
}
