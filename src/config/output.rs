//! Whether outputs make sense: streams, addresses, matrices, folders.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::checks::{Checks, is_host_and_port};
use super::datagram;
use super::document::{Document, Mark, Span, nearest};
use super::file::{FecFile, OutputFile, RecordFile, RtpOutputFile, SrtOutputFile, SrtSourceFile, UdpOutputFile};
use super::report::Report;
use super::source;
use super::units::{Bytes, excerpt};
use super::{
    Destination, Input, Matrix, OUTPUTS_MAX, Output, Record, RtpOutput, Source, SrtMode, SrtOutput, Takes, Way,
};
use crate::media::{ChannelId, OutputId, OutputName, PipelineId, SourceName};

/// What an output may refer to, and must not collide with.
pub(super) struct Surroundings<'c> {
    pub channel: &'c ChannelId,
    /// What is known of the sources; a source with mistakes is there by name alone.
    pub sources: &'c [Source],
    pub source_names: BTreeSet<&'c str>,
    pub pipelines: BTreeSet<&'static str>,
}

/// All outputs of one channel.
pub(super) fn outputs(
    checks: &mut Checks<'_, '_>,
    files: &[Mark<OutputFile>],
    around: &Surroundings<'_>,
) -> Option<Vec<Output>> {
    if let Some(first) = files.get(OUTPUTS_MAX) {
        checks.document.mistake(&first.span, "one output too many", format!("a channel has at most {OUTPUTS_MAX}"));
    }
    let mut names = BTreeSet::new();
    let all: Vec<_> = files.iter().map(|file| output(checks, file, around, &mut names)).collect();
    all.into_iter().collect()
}

impl Output {
    /// One output as the API takes it: the keys of a `[[channel.output]]` as a JSON object.
    ///
    /// # Errors
    /// All its mistakes. A recording is one: it writes where this process may, so it stands in the config alone.
    pub fn parse_json(json: &serde_json::Value, channel: &super::Channel) -> Result<Self, Report> {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        struct One {
            output: Vec<Mark<OutputFile>>,
        }
        let wrapped = serde_json::json!({ "output": [json] });
        let text = toml::to_string(&wrapped).unwrap_or_else(|_| "output = \"no object of keys and values\"".to_owned());
        let mut document = Document::parse("request", &text);
        let file: One = document.read();
        let around = Surroundings {
            channel: &channel.id,
            sources: &channel.sources,
            source_names: channel.sources.iter().map(|s| s.id.source.as_str()).collect(),
            pipelines: channel.pipelines.iter().filter(|p| !p.elsewhere).map(|p| p.id.as_str()).collect(),
        };
        let mut checks = Checks::new(&mut document, std::path::Path::new(""));
        let made = outputs(&mut checks, &file.output, &around);
        if let Some(Output { way: Way::Record(_), .. }) = made.as_ref().and_then(|made| made.first()) {
            let mend = "write it into the config, under [[channel.output]]";
            checks.document.mistake(&file.output[0].span, "a recording cannot be added while running", mend);
        }
        let report = document.into_report();
        match made.and_then(|made| made.into_iter().next()) {
            Some(output) if report.is_empty() => Ok(output),
            _ => Err(report),
        }
    }
}

/// What every kind of output has.
struct Keys<'f> {
    id: Option<&'f Mark<String>>,
    source: Option<&'f Mark<String>>,
    pipeline: Option<&'f Mark<String>>,
}

impl<'f> Keys<'f> {
    fn of(file: &'f OutputFile) -> Self {
        let (id, source, pipeline) = match file {
            OutputFile::Srt(it) => (&it.id, &it.source, &it.pipeline),
            OutputFile::Rtp(it) => (&it.id, &it.source, &it.pipeline),
            OutputFile::Udp(it) => (&it.id, &it.source, &it.pipeline),
            OutputFile::Record(it) => (&it.id, &it.source, &it.pipeline),
        };
        Self { id: id.as_ref(), source: source.as_ref(), pipeline: pipeline.as_ref() }
    }
}

fn output(
    checks: &mut Checks<'_, '_>,
    file: &Mark<OutputFile>,
    around: &Surroundings<'_>,
    names: &mut BTreeSet<String>,
) -> Option<Output> {
    let keys = Keys::of(&file.value);
    let name = name(checks, &file.span, keys.id, names);
    let takes = takes(checks, &file.span, &keys, around);
    let way = match &file.value {
        OutputFile::Srt(srt) => srt_output(checks, &file.span, srt).map(Way::Srt),
        OutputFile::Rtp(rtp) => rtp_output(checks, &file.span, rtp).map(Way::Rtp),
        OutputFile::Udp(udp) => udp_output(checks, &file.span, udp).map(Way::Udp),
        OutputFile::Record(record) => record_output(checks, &file.span, record).map(Way::Record),
    };
    let shared = |s: &Source| matches!(&s.input, Input::Srt(srt) if srt.mode == SrtMode::Shared);
    if let (Some(id), Some(name), Some(Way::Srt(SrtOutput { mode: SrtMode::Shared, .. }))) = (keys.id, &name, &way)
        && around.sources.iter().any(|s| shared(s) && s.id.source.as_str() == name.as_str())
    {
        let wrong = "a source of the shared SRT port has this id, so that a stream id could mean either";
        checks.document.mistake(&id.span, wrong, "give the output another one");
    }
    Some(Output { id: OutputId { channel: around.channel.clone(), output: name? }, takes: takes?, way: way? })
}

fn name(
    checks: &mut Checks<'_, '_>,
    span: &Span,
    id: Option<&Mark<String>>,
    names: &mut BTreeSet<String>,
) -> Option<OutputName> {
    let Some(id) = id else {
        checks.document.missing(span, "id", "add id = \"out1\", or another name; stream ids and metrics use it");
        return None;
    };
    if !names.insert(id.value.clone()) {
        checks.document.mistake(&id.span, "another output of the channel has this id", "give each its own");
    }
    OutputName::new(&id.value).map_err(|error| checks.document.refuse(&id.span, &error)).ok()
}

/// Which stream. Where there is no choice, nothing need be said.
fn takes(checks: &mut Checks<'_, '_>, span: &Span, keys: &Keys<'_>, around: &Surroundings<'_>) -> Option<Takes> {
    match (keys.source, keys.pipeline) {
        (Some(_), Some(pipeline)) => {
            let mend = "write source = \"…\" or pipeline = \"…\", whichever is meant";
            checks.document.mistake(&pipeline.span, "an output carries one stream, and `source` names one", mend);
            None
        }
        (Some(source), None) => take_source(checks, source, around),
        (None, Some(pipeline)) => {
            if around.pipelines.contains(&*pipeline.value) {
                return PipelineId::BOTH.into_iter().find(|id| id.as_str() == pipeline.value).map(Takes::Pipeline);
            }
            let wrong = format!("the channel has no pipeline `{}`", excerpt(&pipeline.value));
            let mend = if around.pipelines.is_empty() {
                "write source = \"…\" instead, or add pipelines under [channel.pipelines]".to_owned()
            } else {
                nearest(&pipeline.value, around.pipelines.iter().copied())
            };
            checks.document.mistake(&pipeline.span, wrong, mend);
            None
        }
        (None, None) => {
            let only: Vec<&&str> = around.source_names.iter().collect();
            if let ([only], true) = (only.as_slice(), around.pipelines.is_empty()) {
                return SourceName::new(only).ok().map(Takes::Source);
            }
            let mend = "add source = \"…\", or pipeline = \"a\" for what that pipeline has on air";
            checks.document.missing(span, "source", mend);
            None
        }
    }
}

fn take_source(checks: &mut Checks<'_, '_>, source: &Mark<String>, around: &Surroundings<'_>) -> Option<Takes> {
    if !around.source_names.contains(&*source.value) {
        let wrong = format!("the channel has no source `{}`", excerpt(&source.value));
        checks.document.mistake(&source.span, wrong, nearest(&source.value, around.source_names.iter().copied()));
        return None;
    }
    let known = around.sources.iter().find(|s| s.id.source.as_str() == source.value);
    if known.is_some_and(|s| matches!(s.input, Input::Rtsp(_))) {
        let mend = "take a source that brings one: srt, rtp, udp, file (.ts) or test";
        checks.document.mistake(&source.span, "RTSP brings no transport stream that could go on", mend);
    }
    SourceName::new(&source.value).ok().map(Takes::Source)
}

fn srt_output(checks: &mut Checks<'_, '_>, span: &Span, file: &SrtOutputFile) -> Option<SrtOutput> {
    let mode = srt_mode(checks, span, file);
    let calls = matches!(mode, Some(SrtMode::Caller { .. } | SrtMode::Rendezvous { .. }));
    let latency = checks.time(file.latency.as_ref(), "200ms", "20ms", "8s");
    let passphrase = file.passphrase.as_ref().map(|place| source::passphrase(checks, place));
    let key_length = file.key_length.as_ref().map_or(16, |length| {
        if ![16, 24, 32].contains(&length.value) {
            let wrong = format!("{} is no AES key length", length.value);
            checks.document.mistake(&length.span, wrong, "16, 24 and 32 are possible");
        } else if file.passphrase.is_none() {
            let mend = "add passphrase = \"env:NAME\"";
            checks.document.mistake(&length.span, "there is no passphrase to make a key of", mend);
        } else if mode.is_some() && !calls {
            let mend = "remove it; the reader chooses (pbkeylen)";
            let wrong = "means something in mode \"caller\" and mode \"rendezvous\" only";
            checks.document.mistake(&length.span, wrong, mend);
        }
        length.value
    });
    let allow = datagram::allow(checks, file.allow.as_ref());
    for key in [file.allow.as_ref().map(|k| &k.span), file.readers.as_ref().map(|k| &k.span)] {
        source::no_choice_of_peers(checks, file.mode.as_ref(), key);
    }
    let readers_max = file.readers.as_ref().map_or(32, |readers| {
        if !(1..=1000).contains(&readers.value) {
            checks.document.mistake(&readers.span, format!("{} readers", readers.value), "1 to 1000 are possible");
        }
        readers.value
    });
    let passphrase = match passphrase {
        None => None,
        Some(found) => Some(found?),
    };
    Some(SrtOutput { mode: mode?, latency, passphrase, key_length, allow, readers_max })
}

/// The same keys as a source's, with the same meaning.
fn srt_mode(checks: &mut Checks<'_, '_>, span: &Span, file: &SrtOutputFile) -> Option<SrtMode> {
    let keys = SrtSourceFile {
        mode: file.mode.clone(),
        listen: file.listen.clone(),
        address: file.address.clone(),
        stream_id: file.stream_id.clone(),
        ..SrtSourceFile::default()
    };
    source::srt_mode(checks, span, &keys)
}

fn rtp_output(checks: &mut Checks<'_, '_>, span: &Span, file: &RtpOutputFile) -> Option<RtpOutput> {
    let hops = hops(checks, file.hops.as_ref());
    let to = destination(checks, span, file.address.as_ref(), file.interface.as_ref(), hops);
    let second = match (&file.second_address, &file.second_interface) {
        (None, Some(key)) => {
            let mend = "add second_address = \"…\", or remove it";
            checks.document.mistake(&key.span, "there is no second path", mend);
            None
        }
        (None, None) => None,
        (Some(address), interface) => {
            let second = destination(checks, span, Some(address), interface.as_ref(), hops);
            if second.is_some() && second == to {
                let mend = "give another address, or another interface";
                checks.document.mistake(&address.span, "the second path is the first one", mend);
            }
            Some(second)
        }
    };
    let fec = file.fec.as_ref().map(|fec| matrix(checks, &fec.span, &fec.value));
    for address in [to.as_ref(), second.as_ref().and_then(Option::as_ref)].into_iter().flatten().map(|d| d.address) {
        if let (Some(fec), true) = (&file.fec, address.port() > u16::MAX - 4) {
            checks.document.mistake(&fec.span, "there are no ports for it above", "take a lower port for the media");
        }
    }
    let second = match second {
        None => None,
        Some(second) => Some(second?),
    };
    Some(RtpOutput { to: to?, second, fec })
}

fn udp_output(checks: &mut Checks<'_, '_>, span: &Span, file: &UdpOutputFile) -> Option<Destination> {
    let hops = hops(checks, file.hops.as_ref());
    destination(checks, span, file.address.as_ref(), file.interface.as_ref(), hops)
}

fn hops(checks: &mut Checks<'_, '_>, hops: Option<&Mark<u8>>) -> u8 {
    if let Some(hops) = hops.filter(|hops| hops.value == 0) {
        checks.document.mistake(&hops.span, "0 hops lead nowhere", "1 to 255 are possible");
    }
    hops.map_or(16, |hops| hops.value)
}

fn destination(
    checks: &mut Checks<'_, '_>,
    span: &Span,
    address: Option<&Mark<String>>,
    interface: Option<&Mark<String>>,
    hops: u8,
) -> Option<Destination> {
    let Some(text) = address else {
        let mend = "add address = \"192.0.2.7:5004\" of a host, or a multicast group and port";
        checks.document.missing(span, "address", mend);
        return None;
    };
    let to = text.value.parse::<SocketAddr>().ok().filter(|a| a.port() != 0 && !a.ip().is_unspecified());
    let Some(to) = to else {
        let wrong = format!("`{}` is no address to send to", excerpt(&text.value));
        let named = is_host_and_port(&text.value) && text.value.parse::<SocketAddr>().is_err();
        let mend = if named {
            "write the host's IP address; datagrams go on when a name server does not"
        } else {
            "write an IP address and a port, such as \"192.0.2.7:5004\", \"239.1.1.1:5004\" or \"[ff3e::1]:5004\""
        };
        checks.document.mistake(&text.span, wrong, mend);
        return None;
    };
    let interface = match interface {
        Some(text) => Some(datagram::interface(checks, text, to, true)?),
        None => None,
    };
    Some(Destination { address: to, interface, hops })
}

/// ST 2022-1 §6: L 1 to 20, D 4 to 20, L · D at most 100, rows with L of 4 or more.
fn matrix(checks: &mut Checks<'_, '_>, span: &Span, file: &FecFile) -> Matrix {
    let columns = file.columns.as_ref().map_or(10, |key| key.value);
    let rows = file.rows.as_ref().map_or(5, |key| key.value);
    let [columns_span, rows_span] = [&file.columns, &file.rows].map(|key| key.as_ref().map_or(span, |key| &key.span));
    if !(1..=20).contains(&columns) {
        checks.document.mistake(columns_span, format!("{columns} columns"), "1 to 20 are possible");
    } else if !(4..=20).contains(&rows) {
        checks.document.mistake(rows_span, format!("{rows} rows"), "4 to 20 are possible");
    } else if u16::from(columns) * u16::from(rows) > 100 {
        let wrong = format!("a matrix of {} packets", u16::from(columns) * u16::from(rows));
        checks.document.mistake(columns_span, wrong, "columns times rows is at most 100");
    }
    let row_packets = file.row_packets.as_ref().map_or(columns >= 4, |key| key.value);
    if let Some(key) = file.row_packets.as_ref().filter(|key| key.value && columns < 4) {
        checks.document.mistake(&key.span, "rows need four columns", "take more columns, or remove it");
    }
    Matrix { columns, rows, row_packets }
}

fn record_output(checks: &mut Checks<'_, '_>, span: &Span, file: &RecordFile) -> Option<Record> {
    let segment = checks.time(file.segment.as_ref(), "10min", "1s", "24h");
    let segment_bytes = size(checks, file.segment_size.as_ref(), 1_000_000_000, "1MB", "1000GB");
    let bytes_max = size(checks, file.max_size.as_ref(), 10_000_000_000, "2MB", "100000GB");
    if bytes_max < segment_bytes.saturating_mul(2) {
        let wrong = "there is no room for two files of `segment_size`";
        let key = file.max_size.as_ref().or(file.segment_size.as_ref()).map_or(span, |key| &key.span);
        checks.document.mistake(key, wrong, "raise max_size, or lower segment_size");
    }
    let age_max = file.max_age.as_ref().map(|_| checks.time(file.max_age.as_ref(), "1h", "1min", "8760h"));
    let Some(folder) = &file.folder else {
        checks.document.missing(span, "folder", "add folder = \"recordings\", or another folder for the files");
        return None;
    };
    if folder.value.is_empty() || folder.value.contains('\0') {
        checks.document.mistake(&folder.span, "is no folder", "write a path, relative to this file or absolute");
    }
    Some(Record { folder: checks.path(&folder.value), segment, segment_bytes, bytes_max, age_max })
}

fn size(checks: &mut Checks<'_, '_>, size: Option<&Mark<Bytes>>, usual: u64, least: &str, most: &str) -> u64 {
    let Some(size) = size else { return usual };
    let within = |text: &str| Bytes::known(text);
    if !(within(least)..=within(most)).contains(&size.value.0) {
        checks.document.mistake(&size.span, "does not fit here", format!("{least} to {most} are possible"));
    }
    size.value.0
}

#[cfg(test)]
mod tests;
