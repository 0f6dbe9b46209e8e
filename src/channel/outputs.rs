//! A channel's outputs: which stream each carries, and what they say.
//!
//! In:    a source's bytes; what outputs say; orders to add and remove one.
//! Out:   [`Action`]s: outputs to open and close, bytes for each; events; status.
//! Never: changes a packet, or lets one source's packet begin inside another's.

use bytes::Bytes;

use super::{Action, Channel};
use crate::clock::Now;
use crate::config::{self, OUTPUTS_MAX, Takes, Way};
use crate::media::{OutputName, SourceName};
use crate::monitor::{EventKind, OutputFigures, OutputStatus, Severity};
use crate::output::Event;
use crate::output::align::Aligner;

/// All outputs of one channel.
#[derive(Debug)]
pub(super) struct Outputs {
    list: Vec<Output>,
    /// Packet borders of each source.
    borders: Vec<Aligner>,
    /// For each source, which outputs may carry it: places in the list.
    takers: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct Output {
    config: config::Output,
    /// The source whose packets go out.
    source: Option<usize>,
    switches: u64,
    /// Handed on since the last status.
    bytes: u64,
    bitrate: u64,
    alarm: Option<String>,
    figures: OutputFigures,
}

impl Output {
    fn new(config: config::Output) -> Self {
        Self { config, source: None, switches: 0, bytes: 0, bitrate: 0, alarm: None, figures: OutputFigures::default() }
    }

    /// It takes a source's bytes as they came, be they packets or not.
    fn is_raw(&self) -> bool {
        matches!((&self.config.way, &self.config.takes), (Way::Record(_), Takes::Source(_)))
    }
}

impl Outputs {
    pub(super) fn new(outputs: &[config::Output], sources: usize) -> Self {
        let list = outputs.iter().cloned().map(Output::new).collect();
        let borders = std::iter::repeat_with(Aligner::default).take(sources).collect();
        Self { list, borders, takers: vec![Vec::new(); sources] }
    }

    fn at(&self, name: &OutputName) -> Option<usize> {
        self.list.iter().position(|output| output.config.id.output == *name)
    }

    /// Once a second.
    pub(super) fn count_bitrates(&mut self) {
        for output in &mut self.list {
            output.bitrate = std::mem::take(&mut output.bytes) * 8;
        }
    }
}

impl Channel {
    /// Opens what the config has. To be called once.
    pub(super) fn open_outputs(&mut self) {
        self.find_takers();
        let all = self.outputs.list.iter().map(|output| Action::OpenOutput(Box::new(output.config.clone())));
        self.actions.extend(all);
    }

    fn find_takers(&mut self) {
        for (at, source) in self.sources.iter().enumerate() {
            let may = |output: &Output| match &output.config.takes {
                Takes::Source(name) => *name == source.name,
                Takes::Pipeline(id) => self.pipelines.iter().any(|p| p.id == *id && p.sources.contains(&at)),
            };
            self.outputs.takers[at] = (0..self.outputs.list.len()).filter(|&o| may(&self.outputs.list[o])).collect();
        }
    }

    pub(super) fn add_output(&mut self, now: Now, config: config::Output) {
        let name = config.id.output.clone();
        if self.outputs.at(&name).is_some() || self.outputs.list.len() >= OUTPUTS_MAX {
            return;
        }
        self.outputs.list.push(Output::new(config.clone()));
        self.config.outputs.push(config.clone());
        self.find_takers();
        self.actions.push(Action::OpenOutput(Box::new(config)));
        self.event(now, Severity::Info, EventKind::OutputsChanged, format!("output {name} is added"));
        self.status_at = now;
    }

    pub(super) fn remove_output(&mut self, now: Now, name: &OutputName) {
        let Some(at) = self.outputs.at(name) else { return };
        self.outputs.list.remove(at);
        self.config.outputs.retain(|output| output.id.output != *name);
        self.find_takers();
        self.actions.push(Action::CloseOutput(name.clone()));
        self.event(now, Severity::Info, EventKind::OutputsChanged, format!("output {name} is removed"));
        self.status_at = now;
    }

    /// A source's bytes go on to the outputs that carry it.
    pub(super) fn relay(&mut self, source: usize, data: &Bytes) {
        if self.outputs.takers[source].is_empty() {
            return;
        }
        let Self { outputs, pipelines, actions, .. } = self;
        let Outputs { list, borders, takers } = outputs;
        let carries = |output: &Output| match output.config.takes {
            Takes::Source(_) => true,
            Takes::Pipeline(id) => pipelines.iter().any(|p| p.id == id && p.on_air() == Some(source)),
        };
        let mut hand_on = |list: &mut Vec<Output>, raw: bool, piece: &Bytes| {
            for &taker in &takers[source] {
                let output = &mut list[taker];
                if output.is_raw() != raw || !carries(output) {
                    continue;
                }
                if output.source != Some(source) {
                    output.switches += u64::from(output.source.is_some());
                    output.source = Some(source);
                }
                output.bytes += piece.len() as u64;
                actions.push(Action::Output(output.config.id.output.clone(), piece.clone()));
            }
        };
        hand_on(list, true, data);
        borders[source].push(data.clone(), |piece| hand_on(list, false, &piece));
    }

    /// Nothing of what the source sent before continues.
    pub(super) fn relay_reconnected(&mut self, source: usize) {
        self.outputs.borders[source].reset();
    }

    /// The source brings media without a transport stream: there is nothing to pass on.
    pub(super) fn relay_impossible(&mut self, now: Now, source: usize) {
        let why = "its source brings no transport stream (RTSP, MP4): nothing can go on";
        for taker in self.outputs.takers[source].clone() {
            let output = &mut self.outputs.list[taker];
            if matches!(output.config.takes, Takes::Source(_)) && output.alarm.as_deref() != Some(why) {
                output.alarm = Some(why.to_owned());
                let text = format!("output {}: {why}", output.config.id.output);
                self.event(now, Severity::Warning, EventKind::OutputFailed, text);
            }
        }
    }

    /// An output said something.
    pub(super) fn output(&mut self, now: Now, name: &OutputName, event: Event) {
        let Some(at) = self.outputs.at(name) else { return };
        let output = &mut self.outputs.list[at];
        let (severity, kind, text) = match event {
            Event::ReaderUp { peer } => (Severity::Info, EventKind::ReaderConnected, format!("{peer} is connected")),
            Event::ReaderDown { peer, reason } => {
                (Severity::Info, EventKind::ReaderDisconnected, format!("{peer} left: {reason}"))
            }
            Event::Refused { peer, reason } => {
                (Severity::Warning, EventKind::ReaderRefused, format!("refused {peer}: {reason}"))
            }
            Event::Failed { reason } => {
                output.alarm = Some(reason.clone());
                (Severity::Warning, EventKind::OutputFailed, reason)
            }
            Event::Recovered => {
                output.alarm = None;
                (Severity::Info, EventKind::OutputRecovered, "works again".to_owned())
            }
            Event::Figures(figures) => {
                let lost = figures.dropped.saturating_sub(output.figures.dropped);
                output.figures = *figures;
                if lost == 0 || output.alarm.is_some() {
                    return;
                }
                let text = format!("{lost} packets were not taken in time, and left out");
                (Severity::Warning, EventKind::OutputDropped, text)
            }
        };
        self.event(now, severity, kind, format!("output {name}: {text}"));
    }

    pub(super) fn output_statuses(&self) -> Vec<OutputStatus> {
        let name = |at: usize| -> SourceName { self.sources[at].name.clone() };
        let status = |output: &Output| OutputStatus {
            name: output.config.id.output.clone(),
            transport: output.config.way.name().to_owned(),
            target: output.config.way.target(&output.config.id),
            takes: output.config.takes.to_string(),
            source: output.source.map(name),
            bitrate: output.bitrate,
            switches: output.switches,
            alarm: output.alarm.clone(),
            figures: output.figures.clone(),
        };
        self.outputs.list.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::super::Input;
    use super::*;
    use crate::config::Config;
    use crate::ingest::IngestEvent;

    const TEXT: &str = "[[channel]]\nid = \"c\"\nladder = \"none\"\n[channel.pipelines]\na = [\"s1\", \"s2\"]\n\
                        [[channel.source]]\nid = \"s1\"\ntype = \"srt\"\n[[channel.source]]\nid = \"s2\"\ntype = \"srt\"\n\
                        [[channel.output]]\nid = \"air\"\ntype = \"udp\"\npipeline = \"a\"\naddress = \"127.0.0.1:5000\"\n\
                        [[channel.output]]\nid = \"two\"\ntype = \"srt\"\nsource = \"s2\"\n\
                        [[channel.output]]\nid = \"tap\"\ntype = \"record\"\nsource = \"s1\"\nfolder = \"x\"\n";

    struct Bench {
        channel: Channel,
        now: Now,
    }

    impl Bench {
        fn new() -> Self {
            let config = Config::parse(Path::new("c.toml"), TEXT).expect("good");
            let now = Now { mono: Instant::now(), utc: Duration::from_secs(1_800_000_000) };
            Self { channel: Channel::new(config.channels.into_iter().next().expect("one"), false, now), now }
        }

        fn apply(&mut self, input: Input) -> Vec<Action> {
            self.now = self.now.after(Duration::from_millis(10));
            self.channel.apply(self.now, input)
        }

        /// What goes to each output of a source's bytes.
        fn data(&mut self, source: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
            let data = Bytes::copy_from_slice(bytes);
            let event = IngestEvent::Data { arrival: self.now, data, rtp: None };
            let actions = self.apply(Input::Source(SourceName::new(source).expect("a name"), event));
            let out = actions.into_iter().filter_map(|action| match action {
                Action::Output(name, data) => Some((name.to_string(), data.to_vec())),
                _ => None,
            });
            out.collect()
        }

        fn opened(actions: &[Action]) -> Vec<String> {
            let name = |action: &Action| match action {
                Action::OpenOutput(output) => Some(format!("+{}", output.id.output)),
                Action::CloseOutput(name) => Some(format!("-{name}")),
                Action::StartEncoder(..) => panic!("nothing is encoded"),
                _ => None,
            };
            actions.iter().filter_map(name).collect()
        }

        fn status(&self, at: usize) -> OutputStatus {
            self.channel.output_statuses().remove(at)
        }
    }

    fn packets(n: u8, count: usize) -> Vec<u8> {
        [vec![0x47, 0x01, n], vec![n; 185]].concat().repeat(count)
    }

    #[test]
    fn outputs_carry_their_source_or_what_is_on_air_and_are_added_and_removed() {
        let mut bench = Bench::new();
        assert_eq!(Bench::opened(&bench.apply(Input::Tick)), ["+air", "+two", "+tap"]);
        let one = packets(1, 7);
        assert_eq!(bench.data("s1", &one), [("tap".to_owned(), one.clone())], "nothing is on air");
        let two = packets(2, 7);
        assert_eq!(bench.data("s2", &two), [("two".to_owned(), two.clone())]);

        let added = config::Output {
            id: crate::media::OutputId {
                output: OutputName::new("more").expect("a name"),
                ..bench.channel.config.outputs[0].id.clone()
            },
            ..bench.channel.config.outputs[1].clone()
        };
        let again = added.clone();
        assert_eq!(Bench::opened(&bench.apply(Input::AddOutput(Box::new(added)))), ["+more"]);
        assert_eq!(Bench::opened(&bench.apply(Input::AddOutput(Box::new(again)))), [""; 0], "its name is taken");
        let names: Vec<String> = bench.data("s2", &two).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["two", "more"]);
        let anew = bench.channel.anew(bench.now).apply(bench.now, Input::Tick);
        assert_eq!(Bench::opened(&anew), ["+air", "+two", "+tap", "+more"], "outlives a panic");
        let name = OutputName::new("two").expect("a name");
        assert_eq!(Bench::opened(&bench.apply(Input::RemoveOutput(name))), ["-two"]);
        let names: Vec<String> = bench.data("s2", &two).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["more"]);
    }

    #[test]
    fn a_recording_has_every_byte_and_others_have_whole_packets() {
        let mut bench = Bench::new();
        let stream = [vec![1, 2, 3], packets(1, 10)].concat();
        let mut got = std::collections::BTreeMap::<String, Vec<u8>>::new();
        for (source, bytes) in stream.chunks(500).flat_map(|part| [("s1", part), ("s2", part)]) {
            for (name, data) in bench.data(source, bytes) {
                assert!(name == "tap" || data.len() % 188 == 0, "{name}");
                got.entry(name).or_default().extend(data);
            }
        }
        assert_eq!((&got["tap"], &got["two"]), (&stream, &packets(1, 10)));
    }

    #[test]
    fn what_an_output_says_is_told_and_shown() {
        let mut bench = Bench::new();
        let mut say = |event| {
            let actions = bench.apply(Input::Output(OutputName::new("two").expect("a name"), event));
            let told = actions.iter().find_map(|action| match action {
                Action::Event(event) => Some((event.kind, event.severity, event.text.clone())),
                _ => None,
            });
            (told, bench.status(1))
        };
        let figures = |dropped| Event::Figures(Box::new(OutputFigures { dropped, ..OutputFigures::default() }));
        assert_eq!(say(figures(0)).0, None);
        let (told, status) = say(figures(7));
        let text = "output two: 7 packets were not taken in time, and left out".to_owned();
        assert_eq!(told, Some((EventKind::OutputDropped, Severity::Warning, text)));
        assert_eq!(status.figures.dropped, 7);
        let (told, status) = say(Event::Failed { reason: "no route".into() });
        assert_eq!(told.map(|t| t.0), Some(EventKind::OutputFailed));
        assert_eq!(status.alarm.as_deref(), Some("no route"));
        assert_eq!(say(Event::Recovered).1.alarm, None);
    }
}
