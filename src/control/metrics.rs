//! `/metrics`: OpenMetrics text, made from the same snapshots the page shows. Built anew for each scrape: there is no
//! second copy of a number that could disagree with the first.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::encode::ipc::Showing;
use crate::ingest::srt::GatewayStatus;
use crate::media::PipelineId;
use crate::monitor::{ChannelStatus, EventCount, PathAlarm, StandbyState};
use crate::origin::{Closed, Counters};

/// The media type that belongs to it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counts = Family<Labels, Counter<u64>>;
type Seconds = Family<Labels, Counter<f64, AtomicU64>>;

/// Everything as OpenMetrics text.
///
/// # Errors
/// The text cannot be formatted.
pub fn render(
    channels: &[Arc<ChannelStatus>],
    srt: &[GatewayStatus],
    events: &[EventCount],
    origin: Option<&Counters>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tandem");
    let build = gauges(&mut registry, "build_info", "Version of this program.", None);
    set(&build, vec![("version", env!("CARGO_PKG_VERSION").into())], 1.0);
    sources(&mut registry, channels);
    contents(&mut registry, channels);
    measurements(&mut registry, channels);
    merges(&mut registry, channels);
    pipelines(&mut registry, channels);
    publications(&mut registry, channels);
    outputs(&mut registry, channels);
    gateways(&mut registry, srt);
    let events_seen = counts(&mut registry, "events", "Events, whether their line was shown or summed.");
    for EventCount { channel, kind, severity, count } in events {
        let labels = vec![
            ("channel", channel.to_string()),
            ("kind", kind.as_str().into()),
            ("severity", severity.as_str().into()),
        ];
        add(&events_seen, labels, *count);
    }
    if let Some(counters) = origin {
        requests(&mut registry, counters);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn sources(registry: &mut Registry, channels: &[Arc<ChannelStatus>]) {
    let connected = gauges(registry, "source_connected", "The source's connection is up.", None);
    let flowing = gauges(registry, "source_flowing", "Media arrives from the source.", None);
    let on_air = gauges(registry, "source_on_air", "The pipeline takes this source.", None);
    let bitrate = gauges(registry, "source_bitrate", "Received over the last second.", bits_per_second());
    let continuity = counts(registry, "source_continuity_errors", "Continuity errors in the transport stream.");
    let drift = gauges(registry, "source_clock_drift_ppm", "By how much the source's clock is slow, millionths.", None);
    let rtt = gauges(registry, "source_round_trip", "Round-trip time of the link.", Some(Unit::Seconds));
    let latency = gauges(registry, "source_latency", "Negotiated latency of the link.", Some(Unit::Seconds));
    let packets = counts(registry, "source_received_packets", "Packets since the link came up.");
    let lost = counts(registry, "source_lost_packets", "Packets found missing, before recovery.");
    let resent = counts(registry, "source_retransmitted_packets", "Packets that came by retransmission.");
    let dropped = counts(registry, "source_dropped_packets", "Packets given up because they came too late.");
    let sealed = counts(registry, "source_undecrypted_packets", "Packets that could not be decrypted.");
    let recovered = counts(registry, "source_recovered_packets", "Packets that FEC restored.");
    let reordered = counts(registry, "source_reordered_packets", "Packets that came after a later one.");
    let doubled = counts(registry, "source_duplicate_packets", "Packets that came once more.");
    let jitter = gauges(registry, "source_jitter", "Interarrival jitter of the link (RFC 3550).", Some(Unit::Seconds));
    let refused = counts(registry, "source_refused_datagrams", "Datagrams of strangers, or without media.");
    let unread =
        counts(registry, "source_unread_datagrams", "Datagrams the kernel dropped, as nobody read them in time.");
    for (channel, source) in channels.iter().flat_map(|c| c.sources.iter().map(move |s| (c, s))) {
        let labels = || vec![("channel", channel.id.to_string()), ("source", source.name.to_string())];
        set(&connected, labels(), flag(source.connected));
        set(&flowing, labels(), flag(source.flowing));
        for pipeline in PipelineId::BOTH {
            let mut labels = labels();
            labels.push(("pipeline", pipeline.to_string()));
            set(&on_air, labels, flag(source.on_air.contains(&pipeline)));
        }
        set(&bitrate, labels(), source.bitrate as f64);
        add(&continuity, labels(), source.continuity_errors);
        if let Some(ppm) = source.drift_ppm {
            set(&drift, labels(), ppm);
        }
        let paths = || source.merge.iter().flat_map(|merge| &merge.paths);
        for path in paths() {
            let labels = || vec![("channel", channel.id.to_string()), ("source", path.name.to_string())];
            set(&connected, labels(), flag(path.connected));
            set(&bitrate, labels(), path.bitrate as f64);
        }
        let links = [(&source.name, &source.link)].into_iter().chain(paths().map(|path| (&path.name, &path.link)));
        for (name, link) in links.filter_map(|(name, link)| Some((name, link.as_ref()?))) {
            let labels = || vec![("channel", channel.id.to_string()), ("source", name.to_string())];
            set(&rtt, labels(), link.rtt_ms / 1000.0);
            set(&latency, labels(), f64::from(link.latency_ms) / 1000.0);
            add(&packets, labels(), link.packets);
            add(&lost, labels(), link.lost);
            add(&resent, labels(), link.retransmitted);
            add(&dropped, labels(), link.dropped);
            add(&sealed, labels(), link.undecrypted);
            add(&recovered, labels(), link.recovered);
            add(&reordered, labels(), link.reordered);
            add(&doubled, labels(), link.duplicates);
            set(&jitter, labels(), link.jitter_ms / 1000.0);
            add(&refused, labels(), link.refused);
            add(&unread, labels(), link.unread);
        }
    }
}

fn merges(registry: &mut Registry, channels: &[Arc<ChannelStatus>]) {
    let given = counts(registry, "merge_given_packets", "Packets a merged source gave out (datagrams, by number).");
    let unrecovered = counts(registry, "merge_unrecovered_packets", "Packets that no path had in time.");
    let overflows = counts(registry, "merge_overflow_packets", "Packets given out early for want of room.");
    let numbered = gauges(registry, "merge_by_sequence", "Copies are recognised by RTP sequence number.", None);
    let window = gauges(registry, "merge_window", "How long a packet waits for copies.", Some(Unit::Seconds));
    let merged = gauges(registry, "path_merged", "The path takes part.", None);
    let alarm = gauges(registry, "path_alarm", "1 for why the path does not take part.", None);
    let skew = gauges(registry, "path_skew", "How much later than the earliest path it is.", Some(Unit::Seconds));
    let packets = counts(registry, "path_packets", "Packets of a path (datagrams, by number), by what became of them.");
    for (channel, source) in channels.iter().flat_map(|c| c.sources.iter().map(move |s| (c, s))) {
        let Some(merge) = &source.merge else { continue };
        let labels = || vec![("channel", channel.id.to_string()), ("source", source.name.to_string())];
        add(&given, labels(), merge.given);
        add(&unrecovered, labels(), merge.unrecovered);
        add(&overflows, labels(), merge.overflows);
        set(&numbered, labels(), flag(merge.by_sequence));
        set(&window, labels(), merge.window_ms as f64 / 1000.0);
        for path in &merge.paths {
            let labels = || {
                let mut labels = labels();
                labels.push(("path", path.name.to_string()));
                labels
            };
            let labelled = |name: &'static str, value: &str| {
                let mut labels = labels();
                labels.push((name, value.to_owned()));
                labels
            };
            set(&merged, labels(), flag(path.merged));
            for it in PathAlarm::ALL {
                set(&alarm, labelled("alarm", it.as_str()), flag(path.alarm == Some(it)));
            }
            if let Some(ms) = path.skew_ms {
                set(&skew, labels(), ms / 1000.0);
            }
            for (fate, count) in [
                ("arrived", path.packets),
                ("contributed", path.contributed),
                ("saved", path.saved),
                ("lost", path.lost),
                ("late", path.late),
                ("duplicate", path.duplicates),
                ("unusable", path.unusable),
            ] {
                add(&packets, labelled("fate", fate), count);
            }
        }
    }
}

/// What is seen in pictures and heard in sound, and what that costs. What nobody looks at has no line.
fn contents(registry: &mut Registry, channels: &[Arc<ChannelStatus>]) {
    let black = gauges(registry, "source_black", "The source's picture is black.", None);
    let frozen = gauges(registry, "source_frozen", "The source's picture stands still.", None);
    let silent = gauges(registry, "source_silent", "The source's sound is silence.", None);
    let level = gauges(registry, "source_sound_level", "RMS of the loudest channel.", other("dbfs"));
    let errors = counts(registry, "source_decoder_errors", "Pictures that could not be decoded whole.");
    for (channel, source) in channels.iter().flat_map(|c| c.sources.iter().map(move |s| (c, s))) {
        let labels = || vec![("channel", channel.id.to_string()), ("source", source.name.to_string())];
        let Some(content) = &source.content else { continue };
        for (family, state) in [(&black, content.black), (&frozen, content.frozen), (&silent, content.silent)] {
            if let Some(state) = state {
                set(family, labels(), flag(state));
            }
        }
        if let Some(dbfs) = content.level {
            set(&level, labels(), dbfs);
        }
        add(&errors, labels(), content.decoder_errors);
    }
    let running = gauges(registry, "probe_running", "The process that looks into pictures and sound is up.", None);
    let starts = counts(registry, "probe_starts", "Starts of that process.");
    let cpu: Seconds = Family::default();
    register(registry, "probe_cpu", "CPU time of the running process.", Some(Unit::Seconds), &cpu);
    let memory = gauges(registry, "probe_resident_memory", "Resident memory.", Some(Unit::Bytes));
    let skipped = counts(registry, "probe_skipped_units", "Units left out because their decoder was behind.");
    for channel in channels {
        let labels = || vec![("channel", channel.id.to_string())];
        let Some(probe) = &channel.probe else { continue };
        set(&running, labels(), flag(probe.running));
        add(&starts, labels(), u64::from(probe.starts));
        cpu.get_or_create(&labels()).inc_by(probe.cpu_seconds);
        set(&memory, labels(), probe.rss_bytes as f64);
        add(&skipped, labels(), probe.skipped);
    }
}

fn measurements(registry: &mut Registry, channels: &[Arc<ChannelStatus>]) {
    let score = gauges(registry, "source_health_score", "How well the source is, 0 to 100.", None);
    let packets = counts(registry, "source_ts_packets", "Packets of the transport stream, null packets included.");
    let nulls = gauges(registry, "source_null", "Share of null packets over the last second.", other("ratio"));
    let jitter = gauges(registry, "source_pcr_jitter", "Of arrival, over ten seconds.", Some(Unit::Seconds));
    let drift = gauges(registry, "source_pcr_drift_ppm", "By how much the PCR is slow, millionths.", None);
    let errors = counts(registry, "source_tr101290_errors", "Counts of ETSI TR 101 290, first and second priority.");
    let active = gauges(registry, "source_tr101290_active", "The indicator was counted within the last 5 s.", None);
    let pids = gauges(registry, "source_pid_bitrate", "Of a PID over the last second.", bits_per_second());
    let captions = counts(registry, "source_caption_pictures", "Pictures that carry caption data.");
    let splices = counts(registry, "source_splice_messages", "SCTE 35 messages.");
    for (channel, source) in channels.iter().flat_map(|c| c.sources.iter().map(move |s| (c, s))) {
        let labels = || vec![("channel", channel.id.to_string()), ("source", source.name.to_string())];
        let labelled = |name: &'static str, value: String| {
            let mut labels = labels();
            labels.push((name, value));
            labels
        };
        let measured = &source.measured;
        set(&score, labels(), f64::from(source.health.score));
        add(&packets, labels(), measured.packets);
        set(&nulls, labels(), measured.null_ratio);
        if let Some(ms) = measured.pcr_jitter_ms {
            set(&jitter, labels(), ms / 1000.0);
        }
        if let Some(ppm) = measured.pcr_drift_ppm {
            set(&drift, labels(), ppm);
        }
        for status in &measured.indicators {
            let name = || status.indicator.as_str().to_owned();
            add(&errors, labelled("indicator", name()), status.count);
            set(&active, labelled("indicator", name()), flag(status.active));
        }
        for status in &measured.pids {
            let mut labels = labelled("pid", format!("{:#06x}", status.pid));
            labels.push(("kind", status.kind.as_str().into()));
            set(&pids, labels, status.bitrate as f64);
        }
        for track in measured.tracks.iter().filter(|t| t.caption_pictures > 0) {
            add(&captions, labelled("pid", format!("{:#06x}", track.id.0)), track.caption_pictures);
        }
        for splice in &measured.scte35 {
            add(&splices, labelled("pid", format!("{:#06x}", splice.pid)), splice.messages);
        }
    }
}

fn pipelines(registry: &mut Registry, channels: &[Arc<ChannelStatus>]) {
    let running = gauges(registry, "pipeline_running", "The encode process is up.", None);
    let locked = gauges(registry, "pipeline_locked", "It delivers whole segments in step.", None);
    let on_air = gauges(registry, "pipeline_on_air", "The packager takes segments from it.", None);
    let showing = gauges(registry, "pipeline_showing", "1 for what the encoder shows.", None);
    let starts = counts(registry, "pipeline_starts", "Starts of the encode process.");
    let cpu: Seconds = Family::default();
    register(registry, "pipeline_cpu", "CPU time of the running process.", Some(Unit::Seconds), &cpu);
    let memory = gauges(registry, "pipeline_resident_memory", "Resident memory.", Some(Unit::Bytes));
    let lag = gauges(registry, "pipeline_lag", "How far the newest slot lies behind.", Some(Unit::Seconds));
    let repeated = counts(registry, "pipeline_repeated_slots", "Slots filled with repeats.");
    let black = counts(registry, "pipeline_black_slots", "Slots filled with black.");
    let slate = counts(registry, "pipeline_slate_slots", "Slots filled with slate.");
    let late = counts(registry, "pipeline_late_plans", "Plans that came too late for their segment.");
    let standby = gauges(registry, "pipeline_standby", "1 for its part in a warm pair.", None);
    let calls = counts(registry, "pipeline_standby_calls", "Times it was called to encode.");
    let made = counts(registry, "pipeline_standby_segments", "Segments it made when called.");
    let held = gauges(registry, "pipeline_held_pictures", "Raw pictures it keeps.", None);
    let held_bytes = gauges(registry, "pipeline_held_memory", "Memory of raw pictures it keeps.", Some(Unit::Bytes));
    let forgotten = counts(registry, "pipeline_forgotten_segments", "Segments it could not keep for want of room.");
    let ingest_bytes = counts(registry, "ingest_bytes", "Bytes that an encoder elsewhere published.");
    let ingest_segments = counts(registry, "ingest_segments", "Segments that it published, of all renditions.");
    let ingest_left = counts(registry, "ingest_samples_left_out", "Samples of it that were not taken, by the reason.");
    let ingest_refused = counts(registry, "ingest_refused_bodies", "Bodies that were refused.");
    let ingest_anew = counts(registry, "ingest_new_timelines", "Times that its time began anew.");
    let published = gauges(registry, "publish_connected", "Another host gets all renditions of the pipeline.", None);
    let published_bytes = counts(registry, "publish_bytes", "Bytes that it was sent.");
    let published_connections = counts(registry, "publish_connections", "Connections to it that came about.");
    let published_lost = counts(registry, "publish_lost_segments", "Segments that it was not sent whole.");
    for (channel, pipeline) in channels.iter().flat_map(|c| c.pipelines.iter().map(move |p| (c, p))) {
        let labels = || vec![("channel", channel.id.to_string()), ("pipeline", pipeline.id.to_string())];
        if let Some(part) = &pipeline.standby {
            for state in StandbyState::ALL {
                let mut labels = labels();
                labels.push(("state", state.as_str().into()));
                set(&standby, labels, flag(part.state == state));
            }
            add(&calls, labels(), part.calls);
            add(&made, labels(), part.made);
            set(&held, labels(), f64::from(part.held));
            set(&held_bytes, labels(), part.held_bytes as f64);
            add(&forgotten, labels(), part.forgotten);
        }
        if let Some(ingest) = &pipeline.ingest {
            add(&ingest_bytes, labels(), ingest.bytes);
            for (what, count) in [("whole", ingest.segments), ("incomplete", ingest.incomplete)] {
                let mut labels = labels();
                labels.push(("state", what.into()));
                add(&ingest_segments, labels, count);
            }
            for (why, count) in [
                ("duplicate", ingest.duplicates),
                ("no-use", ingest.dropped),
                ("off-grid", ingest.off_grid),
                ("astray", ingest.astray),
            ] {
                let mut labels = labels();
                labels.push(("why", why.into()));
                add(&ingest_left, labels, count);
            }
            add(&ingest_refused, labels(), ingest.refused);
            add(&ingest_anew, labels(), ingest.anew);
        }
        for to in &pipeline.publishing {
            let labels = || {
                let mut labels = labels();
                labels.push(("to", to.to.clone()));
                labels
            };
            set(&published, labels(), flag(to.connected));
            add(&published_bytes, labels(), to.bytes);
            add(&published_connections, labels(), to.connections);
            add(&published_lost, labels(), to.lost);
        }
        set(&running, labels(), flag(pipeline.running));
        set(&locked, labels(), flag(pipeline.locked));
        set(&on_air, labels(), flag(pipeline.on_air));
        for (state, name) in [
            (Showing::Nothing, "nothing"),
            (Showing::Source, "source"),
            (Showing::Repeat, "repeat"),
            (Showing::Black, "black"),
            (Showing::Slate, "slate"),
        ] {
            let mut labels = labels();
            labels.push(("showing", name.into()));
            set(&showing, labels, flag(pipeline.showing == state));
        }
        add(&starts, labels(), u64::from(pipeline.starts));
        cpu.get_or_create(&labels()).inc_by(pipeline.cpu_seconds);
        set(&memory, labels(), pipeline.rss_bytes as f64);
        set(&lag, labels(), pipeline.lag_ms as f64 / 1000.0);
        add(&repeated, labels(), pipeline.repeated);
        add(&black, labels(), pipeline.black);
        add(&slate, labels(), pipeline.slate);
        add(&late, labels(), pipeline.late_plans);
    }
}

fn publications(registry: &mut Registry, channels: &[Arc<ChannelStatus>]) {
    let newest = gauges(registry, "channel_newest_segment", "Number of the newest segment.", None);
    let published = counts(registry, "channel_published_segments", "Segments published.");
    let gaps = counts(registry, "channel_gap_segments", "Segments no pipeline delivered.");
    let heard = gauges(registry, "other_host_heard", "The host that makes the other pipeline is heard.", None);
    let apart = gauges(registry, "other_host_apart", "Sources that lie on other slots there than here.", None);
    let moves = counts(registry, "other_host_moves", "Times that a source was moved to where that host has it.");
    let unheeded = counts(registry, "other_host_refused", "Times that what it says of its anchors was not followed.");
    let compared =
        counts(registry, "channel_compared_segments", "Segments of both pipelines, by what came of comparing them.");
    let transport = counts(
        registry,
        "channel_transport_segments",
        "Segments of transport stream asked for, by what came of making them.",
    );
    let average = gauges(registry, "rendition_average_bitrate", "Measured average.", bits_per_second());
    let peak = gauges(registry, "rendition_peak_bitrate", "Measured peak.", bits_per_second());
    let loudness = gauges(registry, "rendition_loudness", "Of the last minute, before the gain.", other("lufs"));
    let gain = gauges(registry, "rendition_gain", "Planned gain of the sound.", other("decibels"));
    let make_up =
        gauges(registry, "rendition_make_up", "Of the gain aimed at, for what the limiter takes.", other("decibels"));
    let taken =
        gauges(registry, "rendition_limited", "Loudness the limiter takes of the last minute.", other("decibels"));
    for channel in channels {
        for sound in &channel.loudness {
            let labels = || vec![("channel", channel.id.to_string()), ("rendition", sound.rendition.to_string())];
            if let Some(measured) = sound.measured {
                set(&loudness, labels(), measured);
            }
            set(&gain, labels(), sound.gain);
            set(&make_up, labels(), sound.make_up);
            set(&taken, labels(), sound.taken);
        }
        let labels = || vec![("channel", channel.id.to_string())];
        let publish = &channel.publish;
        if let Some(number) = publish.newest {
            set(&newest, labels(), number as f64);
        }
        if let Some(host) = &channel.other_host {
            set(&heard, labels(), flag(host.heard));
            set(&apart, labels(), f64::from(host.apart));
            add(&moves, labels(), host.moves);
            add(&unheeded, labels(), host.refused);
        }
        add(&published, labels(), publish.segments);
        add(&gaps, labels(), publish.gaps);
        for (verdict, count) in
            [("equal", publish.equal), ("differs", publish.differs), ("one-missing", publish.one_missing)]
        {
            let mut labels = labels();
            labels.push(("verdict", verdict.into()));
            add(&compared, labels, count);
        }
        for (verdict, count) in [("made", publish.transport_made), ("failed", publish.transport_failed)] {
            let mut labels = labels();
            labels.push(("verdict", verdict.into()));
            add(&transport, labels, count);
        }
        for rendition in &publish.renditions {
            let labels = || vec![("channel", channel.id.to_string()), ("rendition", rendition.id.to_string())];
            set(&average, labels(), rendition.average_bitrate as f64);
            set(&peak, labels(), rendition.peak_bitrate as f64);
        }
    }
}

fn outputs(registry: &mut Registry, channels: &[Arc<ChannelStatus>]) {
    let failed = gauges(registry, "output_failed", "The output cannot do its work.", None);
    let bitrate = gauges(registry, "output_bitrate", "Handed to the output over the last second.", bits_per_second());
    let sent = Counts::default();
    register(registry, "output_sent", "Sent or written; over SRT to all readers.", Some(Unit::Bytes), &sent);
    let packets = counts(registry, "output_sent_packets", "Datagrams or SRT messages.");
    let dropped = counts(registry, "output_dropped_packets", "TS packets not taken in time, and left out.");
    let errors = counts(registry, "output_errors", "Sendings and writes that failed.");
    let switches = counts(registry, "output_switches", "Times the output went on with another source.");
    let readers = gauges(registry, "output_readers", "SRT readers that are connected.", None);
    let rtt = gauges(registry, "output_reader_round_trip", "Round-trip time of an SRT reader.", Some(Unit::Seconds));
    let lost = counts(registry, "output_reader_lost_packets", "SRT packets a reader missed, before recovery.");
    let resent = counts(registry, "output_reader_retransmitted_packets", "SRT packets sent to a reader again.");
    let missed = counts(registry, "output_reader_dropped_packets", "TS packets a reader did not take in time.");
    let files = gauges(registry, "output_recorded_files", "Files that a recording keeps.", None);
    let kept = gauges(registry, "output_recorded_files_size", "What they take.", Some(Unit::Bytes));
    let deleted = counts(registry, "output_deleted_files", "Files deleted to keep within the limits.");
    for (channel, output) in channels.iter().flat_map(|c| c.outputs.iter().map(move |o| (c, o))) {
        let labels = || {
            let name = ("output", output.name.to_string());
            vec![("channel", channel.id.to_string()), name, ("transport", output.transport.clone())]
        };
        let figures = &output.figures;
        set(&failed, labels(), flag(output.alarm.is_some()));
        set(&bitrate, labels(), output.bitrate as f64);
        add(&sent, labels(), figures.bytes);
        add(&packets, labels(), figures.packets);
        add(&dropped, labels(), figures.dropped);
        add(&errors, labels(), figures.errors);
        add(&switches, labels(), output.switches);
        if output.transport == "srt" {
            set(&readers, labels(), figures.readers.len() as f64);
        }
        for reader in &figures.readers {
            let labels = || [labels(), vec![("peer", reader.peer.clone())]].concat();
            set(&rtt, labels(), reader.rtt_ms / 1000.0);
            add(&lost, labels(), reader.lost);
            add(&resent, labels(), reader.retransmitted);
            add(&missed, labels(), reader.dropped);
        }
        if let Some(recording) = &figures.recording {
            set(&files, labels(), recording.files as f64);
            set(&kept, labels(), recording.kept_bytes as f64);
            add(&deleted, labels(), recording.deleted);
        }
    }
}

fn gateways(registry: &mut Registry, gateways: &[GatewayStatus]) {
    let listening = gauges(registry, "gateway_listening", "Its ports are open.", None);
    let starts = counts(registry, "gateway_starts", "Starts of this SRT gateway; more than one: it died.");
    let memory = gauges(registry, "gateway_resident_memory", "Memory it takes.", Some(Unit::Bytes));
    let open = gauges(registry, "gateway_connections", "Publishers and readers connected.", None);
    let refused = counts(registry, "gateway_refused_callers", "Callers turned away since its start.");
    let unread =
        counts(registry, "gateway_unread_datagrams", "Datagrams the kernel dropped, as it did not read in time.");
    let dropped =
        counts(registry, "gateway_dropped_portions", "Portions of media dropped between it and the channels.");
    for gateway in gateways {
        let labels = || vec![("gateway", gateway.name.clone())];
        let health = &gateway.health;
        set(&listening, labels(), flag(gateway.listening));
        add(&starts, labels(), gateway.starts.into());
        set(&memory, labels(), health.rss_bytes as f64);
        set(&open, labels(), health.connections.into());
        add(&refused, labels(), health.refused);
        add(&unread, labels(), health.udp_drops);
        add(&dropped, labels(), health.dropped_portions + gateway.undelivered);
    }
}

fn requests(registry: &mut Registry, origin: &Counters) {
    let answered = counts(registry, "origin_requests", "Requests answered, by what was asked and how it ended.");
    for (kind, status, count) in origin.requests() {
        let status = if status == 0 { "other".to_owned() } else { status.to_string() };
        add(&answered, vec![("kind", kind.as_str().into()), ("status", status)], count);
    }
    let sent = Counter::<u64>::default();
    sent.inc_by(origin.sent_bytes());
    register(registry, "origin_sent", "Bytes written to sockets, heads included.", Some(Unit::Bytes), &sent);
    let open = gauges(registry, "origin_open_connections", "Connections open now.", None);
    set(&open, Labels::new(), origin.open() as f64);
    let accepted = counts(registry, "origin_accepted_connections", "Connections accepted.");
    add(&accepted, Labels::new(), origin.accepted());
    let closed = counts(registry, "origin_closed_connections", "Connections ended or refused by us.");
    for why in Closed::ALL {
        add(&closed, vec![("reason", why.as_str().into())], origin.closed(why));
    }
}

fn bits_per_second() -> Option<Unit> {
    other("bits_per_second")
}

fn other(unit: &str) -> Option<Unit> {
    Some(Unit::Other(unit.to_owned()))
}

fn gauges(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>) -> Gauges {
    let family = Gauges::default();
    register(registry, name, help, unit, &family);
    family
}

fn counts(registry: &mut Registry, name: &str, help: &str) -> Counts {
    let family = Counts::default();
    register(registry, name, help, None, &family);
    family
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, metric: &M) {
    // The encoder sets the full stop.
    let help = help.trim_end_matches('.');
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric.clone()),
        None => registry.register(name, help, metric.clone()),
    }
}

fn set(family: &Gauges, labels: Labels, value: f64) {
    family.get_or_create(&labels).set(value);
}

fn add(family: &Counts, labels: Labels, value: u64) {
    family.get_or_create(&labels).inc_by(value);
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}
