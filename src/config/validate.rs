//! Whether what is written makes sense. Notes every mistake, and goes on with a default to find the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checks::{Checks, Transport, read_text};
use super::determinism;
use super::document::{Document, Mark, Span};
use super::file::{
    ChannelFile, DvrFile, File, InstructionSetFile, LatencyFile, LoudnessFile, LoudnessPreset, PipelineFile,
    PipelinesFile, RedundancyFile, SrtFile,
};
use super::memory::encoder_memory;
use super::merge;
use super::output;
use super::report::Report;
use super::serve;
use super::slate;
use super::source::{self, Declared};
use super::spread;
use super::units::{Bytes, RevertText, Time, spell};
use super::{Channel, Config, Control, Dvr, Failover, Ladder, Origin, Pipeline, Redundancy, Revert, SrtListener};
use crate::encode::ipc::{Deinterlace, InputLoss, Loudness, Slate};
use crate::encode::template::Template;
use crate::media::{ChannelId, FrameRate, Grid, PipelineId, SourceName};

/// A longer window needs more memory than a host should be made to spend by one key.
const WINDOW_MAX: Duration = Duration::from_secs(3600);
/// On disk: what it costs in memory and time is measured up to here.
const DVR_WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// The ladder of a channel that only relays.
const RELAY_ONLY: &str = "none";
/// What depends on `latency` where the file does not say.
struct Habit {
    /// What a part lasts at most: hold-back is three of them.
    part_max: Duration,
    /// How long frames are awaited that the next source brings, once it has taken over.
    hold: Duration,
}

/// A source with a key frame every two seconds is decoded from there to its newest picture within `hold`, on a busy host, too.
const NORMAL: Habit = Habit { part_max: Duration::from_millis(500), hold: Duration::from_millis(400) };
/// Enough for a key frame each second on a host with room to spare.
const LOW: Habit = Habit { part_max: Duration::from_millis(200), hold: Duration::from_millis(200) };

/// The config, unless something is wrong; the mistakes are in the document and in the report returned.
pub(super) fn validate(document: &mut Document<'_>, file: &File, base: &Path) -> (Option<Config>, Report) {
    let mut checks = Checks::new(document, base);
    let config = checks.config(file);
    (config, checks.others)
}

impl Checks<'_, '_> {
    fn config(&mut self, file: &File) -> Option<Config> {
        let origin = Origin {
            listen: self.listen(file.origin.listen.as_ref(), "127.0.0.1:8080", Transport::Tcp),
            threads: self.threads(file.origin.threads.as_ref()),
        };
        let control = Control { listen: self.listen(file.control.listen.as_ref(), "127.0.0.1:8081", Transport::Tcp) };
        let srt = self.srt(&file.srt);
        if file.channel.is_empty() {
            self.document.missing(&(0..0), "channel", "add a [[channel]]; config/demo.toml shows one");
        }
        let mut ids = BTreeSet::new();
        let mut declared = Declared::default();
        let channels: Vec<_> =
            file.channel.iter().map(|channel| self.channel(channel, &mut ids, &mut declared)).collect();
        let signals: Vec<_> =
            file.signal.iter().map(|signal| source::signal(self, signal, srt.listen, &declared)).collect();
        let ingest = spread::ingest(self, &file.ingest, &file.channel);
        Some(Config {
            origin,
            control,
            srt,
            ingest,
            channels: channels.into_iter().collect::<Option<_>>()?,
            signals: signals.into_iter().collect::<Option<_>>()?,
        })
    }

    fn threads(&mut self, threads: Option<&Mark<usize>>) -> usize {
        match threads {
            Some(threads) if !(1..=64).contains(&threads.value) => {
                self.document.mistake(&threads.span, format!("{} threads", threads.value), "1 to 64 are possible");
                1
            }
            Some(threads) => threads.value,
            None => std::thread::available_parallelism().map_or(1, usize::from).min(4),
        }
    }

    fn srt(&mut self, srt: &SrtFile) -> SrtListener {
        let memory = srt.memory_max.as_ref().map_or(1_000_000_000, |memory| {
            if !(256_000_000..=64_000_000_000).contains(&memory.value.0) {
                self.document.mistake(&memory.span, "cannot hold a gateway", "256MB to 64GB are possible");
            }
            memory.value.0
        });
        SrtListener { listen: self.listen(srt.listen.as_ref(), "127.0.0.1:9710", Transport::Udp), memory_max: memory }
    }

    fn channel(
        &mut self,
        channel: &Mark<ChannelFile>,
        ids: &mut BTreeSet<String>,
        declared: &mut Declared,
    ) -> Option<Channel> {
        let (span, file) = (&channel.span, &channel.value);
        let id = self.channel_id(span, file.id.as_ref(), ids);
        let grid = self.grid(file);
        let low =
            file.latency.as_ref().filter(|latency| latency.value == LatencyFile::Low).map(|latency| &latency.span);
        let habit = if low.is_some() { LOW } else { NORMAL };
        let part = self.part(file.part.as_ref(), grid, &habit);
        let mut serve = serve::serve(self.document, file, low.is_some(), part);
        let dvr = file.dvr.as_ref().and_then(|dvr| self.dvr(dvr, declared));
        let window = self.window(file.window.as_ref(), grid, file.dvr.is_some());
        let room = serve::Room { window, segment: grid.segment() };
        serve.start = serve::start(self.document, file, room);
        let failover = self.failover(file);
        let hold = self.hold(file.hold.as_ref(), failover.loss_after, &habit);
        let loss = InputLoss {
            repeat_for: self.time(file.repeat_for.as_ref(), "1s", "0s", "1h"),
            // A second each is what MediaLive does where it is not told otherwise.
            black_for: self.time(file.black_for.as_ref(), "1s", "0s", "1h"),
            slate: self.slate(file),
        };
        let ladder = self.ladder(span, file.ladder.as_ref(), grid.rate(), low);
        let ladder = match file.instruction_set {
            InstructionSetFile::Host => ladder,
            InstructionSetFile::Avx2 => ladder.map(Ladder::portable),
        };
        if let Some(ladder) = &ladder {
            serve::names(self.document, file.serve.as_ref(), serve, ladder);
        }
        let profiles = self.profiles(&file.profile, serve, room, ladder.as_ref(), grid.rate());
        let memory_max = self.memory(file.memory_max.as_ref(), ladder.as_ref(), grid);
        let template = self.template(file.template.as_ref());
        let deterministic = file.deterministic.unwrap_or(true);
        if let (true, Some(name), Some(ladder)) = (deterministic, &file.ladder, &ladder) {
            determinism::check(self.document, name, ladder, template.as_deref());
        }
        // Sources are checked even where the channel's own name is no good.
        let name_for_now = id.clone().or_else(|| ChannelId::new("unnamed").ok())?;
        let sources = source::sources(self, span, &file.source, &name_for_now, declared);
        let relays = file.ladder.as_ref().filter(|ladder| ladder.value == RELAY_ONLY);
        let pipelines = match (relays, &file.pipelines) {
            (Some(_), None) => Some(Vec::new()),
            (_, pipelines) => self.pipelines(span, pipelines.as_ref(), &file.source),
        };
        let pipelines = spread::spread(self, file, pipelines, ladder.as_ref());
        if relays.is_some() {
            self.encodes_nothing(file);
        }
        let outputs = output::outputs(
            self,
            &file.output,
            &output::Surroundings {
                channel: &name_for_now,
                sources: sources.as_deref().unwrap_or_default(),
                source_names: file.source.iter().filter_map(|s| s.value.id()).map(|id| &*id.value).collect(),
                pipelines: pipelines.iter().flatten().filter(|p| !p.elsewhere).map(|p| p.id.as_str()).collect(),
            },
        );
        let redundancy =
            self.redundancy(file.redundancy.as_ref(), pipelines.as_deref(), ladder.as_ref(), deterministic);
        let id = id?;
        Some(Channel {
            title: file.title.clone().unwrap_or_else(|| id.to_string()),
            id,
            grid,
            part,
            serve,
            profiles: profiles?,
            window,
            dvr,
            hold,
            loss,
            memory_max,
            deinterlace: self.deinterlace(file.deinterlace.as_ref()),
            loudness: file.loudness.as_ref().map(|loudness| self.loudness(&loudness.value)),
            redundancy,
            deterministic,
            sources: sources?,
            pipelines: pipelines?,
            failover,
            ladder: ladder?,
            outputs: outputs?,
            template,
        })
    }

    /// Of a channel that only relays, keys of encoding and serving are mistakes: who writes them expects more.
    fn encodes_nothing(&mut self, file: &ChannelFile) {
        let spans = [
            file.part.as_ref().map(|key| &key.span),
            file.window.as_ref().map(|key| &key.span),
            file.serve.as_ref().map(|key| &key.span),
            file.dash_patch.as_ref().map(|key| &key.span),
            file.start_offset.as_ref().map(|key| &key.span),
            file.dvr.as_ref().map(|key| &key.span),
            file.hold.as_ref().map(|key| &key.span),
            file.latency.as_ref().map(|key| &key.span),
            file.slate.as_ref().map(|key| &key.span),
            file.slate_text.as_ref().map(|key| &key.span),
            file.redundancy.as_ref().map(|key| &key.span),
            file.loudness.as_ref().map(|key| &key.span),
            file.deinterlace.as_ref().map(|key| &key.span),
            file.memory_max.as_ref().map(|key| &key.span),
            file.template.as_ref().map(|key| &key.span),
        ];
        for span in spans.into_iter().flatten().chain(file.profile.iter().map(|profile| &profile.span)) {
            let mend = "remove it, or give the channel a ladder";
            self.document.mistake(span, "means nothing where nothing is encoded (ladder = \"none\")", mend);
        }
    }

    /// Warm standby rests on equal bytes: a segment of B must continue one of A.
    fn redundancy(
        &mut self,
        redundancy: Option<&Mark<RedundancyFile>>,
        pipelines: Option<&[Pipeline]>,
        ladder: Option<&Ladder>,
        deterministic: bool,
    ) -> Redundancy {
        let Some(Mark { span, value: RedundancyFile::Warm }) = redundancy else { return Redundancy::Hot };
        if pipelines.is_some_and(|list| list.len() < 2) {
            self.document.mistake(span, "there is no pipeline b to stand by", "list its sources: b = [\"…\"]");
        }
        if !deterministic {
            let wrong = "warm standby rests on equal bytes, and deterministic = false gives them up";
            self.document.mistake(span, wrong, "write redundancy = \"hot\", or take deterministic = false out");
        }
        if ladder.is_some_and(|ladder| ladder.audio.is_empty()) {
            let wrong = "the ladder has no sound, by which a pipeline that stands by shows that it is well";
            self.document.mistake(span, wrong, "write redundancy = \"hot\", or add an audio rung");
        }
        Redundancy::Warm
    }

    fn deinterlace(&mut self, key: Option<&Mark<String>>) -> Deinterlace {
        let Some(key) = key else { return Deinterlace::default() };
        match key.value.as_str() {
            "auto" => Deinterlace::Auto,
            "bob" => Deinterlace::Bob,
            "blend" => Deinterlace::Blend,
            "top" => Deinterlace::Top,
            other => {
                let what = format!("`{other}` is no way to make pictures of fields");
                self.document.mistake(&key.span, &what, "write \"auto\", \"bob\", \"blend\" or \"top\"");
                Deinterlace::default()
            }
        }
    }

    fn channel_id(&mut self, span: &Span, id: Option<&Mark<String>>, ids: &mut BTreeSet<String>) -> Option<ChannelId> {
        let Some(id) = id else {
            self.document.missing(span, "id", "add id = \"news\", or another name for URLs and stream ids");
            return None;
        };
        if !ids.insert(id.value.clone()) {
            self.document.mistake(&id.span, "another channel has this id", "give each its own; it is part of the URL");
        }
        ChannelId::new(&id.value).map_err(|error| self.document.refuse(&id.span, &error)).ok()
    }

    fn grid(&mut self, file: &ChannelFile) -> Grid {
        let rate = file.frame_rate.as_ref().map_or_else(default_rate, |rate| rate.value.0);
        let segment = file.segment.as_ref().map_or(Duration::from_secs(2), |segment| segment.value.0);
        Grid::new(segment, rate).unwrap_or_else(|error| {
            if let Some(segment) = &file.segment {
                self.document.refuse(&segment.span, &error);
            }
            Grid::new(Duration::from_secs(2), rate).expect("two seconds are within a grid's range")
        })
    }

    /// A whole number of slots, given to the millisecond: 400 ms means 400.4 ms at 29.97.
    fn part(&mut self, part: Option<&Mark<Time>>, grid: Grid, habit: &Habit) -> Duration {
        let rate = grid.rate();
        let usual = default_part(grid, habit.part_max);
        let Some(part) = part else { return usual };
        let asked = part.value.0;
        let slots = (asked.as_secs_f64() * rate.as_f64()).round() as u64;
        let (below, near) = (slots_duration(slots.saturating_sub(1), rate), slots_duration(slots, rate));
        if asked > grid.segment() {
            let wrong = format!("{} is longer than a segment of {}", spell(asked), spell(grid.segment()));
            self.document.mistake(&part.span, wrong, format!("write {}, or leave it out", spell(usual)));
        } else if slots == 0 {
            let wrong = format!("shorter than a frame of {}", spell(slots_duration(1, rate)));
            self.document.mistake(&part.span, wrong, format!("write {}, or leave it out", spell(usual)));
        } else if near.abs_diff(asked) > Duration::from_millis(1) {
            let other = if near > asked { below } else { slots_duration(slots + 1, rate) };
            let wrong = format!("{} is no whole number of frames at {rate} frames a second", spell(asked));
            let [low, high] = if near > asked { [other, near] } else { [near, other] };
            let mend = if low.is_zero() {
                format!("write {}", spell(high))
            } else {
                format!("write {} or {}", spell(low), spell(high))
            };
            self.document.mistake(&part.span, wrong, mend);
        }
        near
    }

    fn dvr(&mut self, dvr: &Mark<DvrFile>, declared: &mut Declared) -> Option<Dvr> {
        let size_max = dvr.value.size_max.as_ref().map_or(50_000_000_000, |size| {
            if !(100_000_000..=100_000_000_000_000).contains(&size.value.0) {
                self.document.mistake(&size.span, "is no size for a window on disk", "100MB to 100TB are possible");
            }
            size.value.0
        });
        let Some(folder) = &dvr.value.folder else {
            self.document.missing(
                &dvr.span,
                "folder",
                "name a folder of this channel's own: folder = \"/var/lib/tandem/news\"",
            );
            return None;
        };
        let path = self.path(&folder.value);
        if !declared.folders.insert(path.clone()) {
            self.document.mistake(
                &folder.span,
                "two channels cannot share it",
                "give each channel a folder of its own",
            );
        }
        Some(Dvr { folder: path, size_max })
    }

    fn window(&mut self, window: Option<&Mark<Time>>, grid: Grid, dvr: bool) -> Duration {
        let Some(window) = window else { return Duration::from_secs(60) };
        // RFC 8216 §6.2.2: a live playlist should list at least three target durations.
        let least = 3 * grid.segment();
        let most = if dvr { DVR_WINDOW_MAX } else { WINDOW_MAX };
        if !(least..=most).contains(&window.value.0) {
            let on_disk = if dvr { "" } else { ", and more with a [channel.dvr] to keep it in" };
            let mend = format!("{} (3 segments) to {} are possible{on_disk}", spell(least), spell(most));
            self.document.mistake(&window.span, format!("a window of {}", spell(window.value.0)), mend);
        }
        window.value.0
    }

    fn failover(&mut self, file: &ChannelFile) -> Failover {
        let file = &file.failover;
        let loss_after = self.time(file.loss_after.as_ref(), "200ms", "50ms", "10s");
        let join_buffer = self.time(file.join_buffer.as_ref(), "4s", "500ms", "30s");
        let revert = match file.revert.as_ref().map(|r| r.value) {
            None | Some(RevertText::Never) => Revert::Never,
            Some(RevertText::After(well)) => Revert::After(well),
        };
        self.policy(file, Failover::new(loss_after, join_buffer, revert))
    }

    fn loudness(&mut self, file: &LoudnessFile) -> Loudness {
        let (target, true_peak) = match file.preset.as_ref().map(|p| p.value).unwrap_or_default() {
            LoudnessPreset::EbuR128 => (-23.0, -1.0),
            LoudnessPreset::AtscA85 => (-24.0, -2.0),
        };
        if let Some(target) = file.target.as_ref().filter(|target| !(-40.0..=-10.0).contains(&target.value.0)) {
            let wrong = format!("a loudness of {} LUFS", target.value.0);
            self.document.mistake(&target.span, wrong, "-40LUFS to -10LUFS are possible");
        }
        if let Some(peak) = file.true_peak.as_ref().filter(|peak| !(-12.0..=-0.1).contains(&peak.value.0)) {
            let wrong = format!("a true peak of {} dBTP", peak.value.0);
            self.document.mistake(&peak.span, wrong, "-12dBTP to -0.1dBTP are possible");
        }
        Loudness {
            target: file.target.as_ref().map_or(target, |t| t.value.0),
            true_peak: file.true_peak.as_ref().map_or(true_peak, |p| p.value.0),
        }
    }

    /// The next source takes over after `loss_after`; frames it brings must still be awaited then.
    fn hold(&mut self, hold: Option<&Mark<Time>>, loss_after: Duration, habit: &Habit) -> Duration {
        let usual = loss_after + habit.hold;
        let Some(hold) = hold else { return usual };
        if hold.value.0 <= loss_after {
            let wrong = format!("{} is not above loss_after, {}", spell(hold.value.0), spell(loss_after));
            let mend = format!("write {}: else every change of source shows as repeated frames", spell(usual));
            self.document.mistake(&hold.span, wrong, mend);
        }
        self.time(Some(hold), "600ms", "0s", "12s")
    }

    fn memory(&mut self, memory: Option<&Mark<Bytes>>, ladder: Option<&Ladder>, grid: Grid) -> u64 {
        match memory {
            Some(memory) => {
                if !(128_000_000..=64_000_000_000).contains(&memory.value.0) {
                    self.document.mistake(&memory.span, "cannot hold an encoder", "128MB to 64GB are possible");
                }
                memory.value.0
            }
            None => ladder.map_or(0, |ladder| encoder_memory(ladder, grid)),
        }
    }

    fn slate(&mut self, file: &ChannelFile) -> Slate {
        let picture = file.slate.as_ref().map(|name| {
            let path = self.path(&name.value);
            if let Err((wrong, mend)) = slate::check(&path) {
                self.document.mistake(&name.span, wrong, mend);
            }
            path
        });
        let usual = if picture.is_some() { "" } else { "No signal" };
        Slate { text: self.slate_text(file.slate_text.as_ref(), usual), picture }
    }

    fn slate_text(&mut self, text: Option<&Mark<String>>, usual: &str) -> String {
        let Some(text) = text else { return usual.to_owned() };
        if text.value.chars().count() > 200 || text.value.contains(|c: char| c.is_control() && c != '\n') {
            self.document.mistake(&text.span, "does not fit on a slate", "write at most 200 printable characters");
        }
        text.value.clone()
    }

    fn ladder(
        &mut self,
        channel: &Span,
        ladder: Option<&Mark<String>>,
        rate: FrameRate,
        low_latency: Option<&Span>,
    ) -> Option<Ladder> {
        let Some(ladder) = ladder else {
            let mend = "add ladder = \"../pipelines/ladders/720p25.toml\", another ladder's path, \"auto\", or \"none\" to relay alone";
            self.document.missing(channel, "ladder", mend);
            return None;
        };
        let ladder = if ladder.value == RELAY_ONLY {
            return Some(Ladder { file: PathBuf::new(), auto: false, video: Vec::new(), audio: Vec::new() });
        } else if ladder.value == "auto" {
            Ladder::auto_for_now(rate)
        } else {
            let mend = "give the path of a ladder file, relative to this file, \"auto\" or \"none\"";
            let (path, text) = self.other_file(ladder, mend)?;
            Ladder::parse(&path, &text).map_err(|report| self.others.append(report)).ok()?
        };
        let Some(key) = low_latency else { return Some(ladder) };
        if let Some(rung) = ladder.video.iter().find(|rung| rung.chains > 1) {
            let wrong =
                format!("rung {} has {} chains, and each more than one is a GOP of latency", rung.id, rung.chains);
            self.document.mistake(key, wrong, "leave it out, or take a ladder whose rungs have one chain each");
        }
        Some(ladder.low_latency())
    }

    fn template(&mut self, template: Option<&Mark<String>>) -> Option<String> {
        let template = template?;
        let (path, text) = self.other_file(template, "give the path of a pipeline template, relative to this file")?;
        if let Err(error) = Template::parse(&text) {
            let mend = "begin with a copy of pipelines/encode.toml, which is the built-in one";
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            self.document.mistake(&template.span, format!("{}: {error}{}", path.display(), cause.trim_end()), mend);
            return None;
        }
        Some(text)
    }

    /// A file this one points at.
    fn other_file(&mut self, name: &Mark<String>, mend: &str) -> Option<(PathBuf, String)> {
        let path = self.base.join(&name.value);
        match read_text(&path) {
            Ok(text) => Some((path, text)),
            Err(error) => {
                self.document.mistake(&name.span, format!("{}: {error}", path.display()), mend);
                None
            }
        }
    }

    fn pipelines(
        &mut self,
        channel: &Span,
        pipelines: Option<&Mark<PipelinesFile>>,
        sources: &[Mark<super::file::SourceFile>],
    ) -> Option<Vec<Pipeline>> {
        let mend =
            "add a = [\"…\"] with the channel's sources, and b = [\"…\"] for redundancy, under [channel.pipelines]";
        let Some(pipelines) = pipelines else {
            self.document.missing(channel, "pipelines", mend);
            return None;
        };
        let (a, b) = (&pipelines.value.a, &pipelines.value.b);
        if a.is_none() {
            self.document.missing(&pipelines.span, "a", mend);
        }
        let known: BTreeSet<&str> = sources.iter().filter_map(|s| s.value.id()).map(|id| &*id.value).collect();
        let both = [(PipelineId::A, a), (PipelineId::B, b)];
        let both: Vec<_> = both.into_iter().filter_map(|(id, fed)| Some((id, fed.as_ref()?))).collect();
        let paths = merge::owners(sources);
        let pipeline = |(id, fed): (_, &Mark<PipelineFile>)| match &fed.value {
            PipelineFile::Sources(list) => self.pipeline(channel, id, (&fed.span, list), &known, &paths),
            PipelineFile::Elsewhere(_) => {
                Some(Pipeline { id, sources: Vec::new(), elsewhere: true, publish: Vec::new() })
            }
        };
        both.into_iter().map(pipeline).collect()
    }

    fn pipeline(
        &mut self,
        channel: &Span,
        id: PipelineId,
        (span, list): (&Span, &[Mark<String>]),
        known: &BTreeSet<&str>,
        paths: &BTreeMap<&str, &str>,
    ) -> Option<Pipeline> {
        if list.is_empty() {
            self.document.mistake(span, "has no source", "list at least one, or leave the pipeline out");
        }
        let mut seen = BTreeSet::new();
        let mut sources = Vec::new();
        for name in list {
            if !seen.insert(&*name.value) {
                self.document.mistake(&name.span, "is listed twice in this pipeline", "list each source once");
            } else if !known.contains(&*name.value) {
                // A source whose own mistakes hid it is there nevertheless.
                if !self.document.lost(channel, &format!("source[{}]", super::units::excerpt(&name.value))) {
                    let wrong = format!("the channel has no source `{}`", super::units::excerpt(&name.value));
                    self.document.mistake(
                        &name.span,
                        wrong,
                        super::document::nearest(&name.value, known.iter().copied()),
                    );
                }
            }
            if let Some(merged) = paths.get(&*name.value) {
                let wrong = format!("is a path of `{}` and no source of a pipeline", super::units::excerpt(merged));
                self.document.mistake(&name.span, wrong, "list the merged source instead");
            }
            sources.push(SourceName::new(&name.value).ok());
        }
        let sources = sources.into_iter().collect::<Option<_>>()?;
        Some(Pipeline { id, sources, elsewhere: false, publish: Vec::new() })
    }
}

fn default_rate() -> FrameRate {
    FrameRate::new(25, 1).expect("25 is within a rate's range")
}

/// So many slots, to the nearest nanosecond.
fn slots_duration(slots: u64, rate: FrameRate) -> Duration {
    let (num, den) = (u128::from(rate.num()), u128::from(rate.den()));
    let nanos = (u128::from(slots) * den * 1_000_000_000 + num / 2) / num;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The longest part up to `max` that divides a segment evenly: of 500 ms, 10 of 50 slots at 25, 12 of 60 at 29.97.
fn default_part(grid: Grid, max: Duration) -> Duration {
    let rate = grid.rate();
    let slots = |d: Duration| d.as_secs_f64() * rate.as_f64();
    let segment = slots(grid.segment()).round() as u64;
    let longest = (slots(max).floor() as u64).max(1);
    let best = (1..=longest).rev().find(|n| segment.is_multiple_of(*n)).unwrap_or(1);
    slots_duration(best, rate)
}
