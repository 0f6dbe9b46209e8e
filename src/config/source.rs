//! Whether sources and generators make sense: addresses, keys, passphrases, who calls whom.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::checks::{Checks, Transport, is_host_and_port};
use super::datagram;
use super::document::{Mark, Span};
use super::file::{SignalFile, SourceFile, SrtModeFile, SrtSourceFile, TestSourceFile};
use super::ladder::{bitrate_within, picture_size};
use super::merge;
use super::pulled;
use super::units::{BitRate, Rate, SecretRef, Size, excerpt};
use super::{Input, Secret, Signal, SignalShape, Source, SrtInput, SrtMode};
use crate::media::{ChannelId, FrameRate, SIGNAL_RATES, SourceId, SourceName};

/// libsrt: SRTO_STREAMID holds at most 512 bytes.
const STREAM_ID_BYTES_MAX: usize = 512;
/// libsrt: SRTO_PASSPHRASE is 10 to 79 characters.
const PASSPHRASE_BYTES: std::ops::RangeInclusive<usize> = 10..=79;

/// Stream ids the shared listener will know, of all channels.
#[derive(Debug, Default)]
pub(super) struct Declared {
    stream_ids: BTreeSet<String>,
    encrypted: BTreeSet<String>,
    /// Folders that channels keep their windows in.
    pub folders: BTreeSet<PathBuf>,
}

/// All sources of one channel.
pub(super) fn sources(
    checks: &mut Checks<'_, '_>,
    channel_span: &Span,
    files: &[Mark<SourceFile>],
    channel: &ChannelId,
    declared: &mut Declared,
) -> Option<Vec<Source>> {
    if files.is_empty() {
        let mend = "add a [[channel.source]] with id = \"s1\" and type = \"srt\"";
        checks.document.missing(channel_span, "source", mend);
    }
    let mut names = BTreeSet::new();
    let sources: Vec<_> =
        files.iter().map(|file| source(checks, file, (channel_span, files), channel, &mut names, declared)).collect();
    sources.into_iter().collect()
}

fn source(
    checks: &mut Checks<'_, '_>,
    file: &Mark<SourceFile>,
    (channel_span, others): (&Span, &[Mark<SourceFile>]),
    channel: &ChannelId,
    names: &mut BTreeSet<String>,
    declared: &mut Declared,
) -> Option<Source> {
    let name = source_name(checks, &file.span, file.value.id(), names);
    let id = name.map(|source| SourceId { channel: channel.clone(), source });
    let (input, program) = match &file.value {
        SourceFile::Srt(srt) => {
            let input = srt_input(checks, &file.span, srt, id.as_ref(), declared);
            (Input::Srt(input?), program(checks, srt.program.as_ref()))
        }
        SourceFile::Rtp(rtp) => {
            let input = datagram::rtp(checks, &file.span, rtp);
            (Input::Rtp(input?), program(checks, rtp.program.as_ref()))
        }
        SourceFile::Udp(udp) => {
            let input = datagram::udp(checks, &file.span, udp);
            (Input::Udp(input?), program(checks, udp.program.as_ref()))
        }
        SourceFile::Rtsp(rtsp) => (Input::Rtsp(pulled::rtsp(checks, &file.span, rtsp)?), None),
        SourceFile::File(played) => {
            let input = pulled::file(checks, &file.span, played);
            (Input::File(input?), program(checks, played.program.as_ref()))
        }
        SourceFile::Test(test) => (Input::Test(test_shape(checks, test)), None),
        SourceFile::Merge(merged) => {
            let input = merge::merge(checks, &file.span, merged, channel_span, others);
            (Input::Merge(input?), program(checks, merged.program.as_ref()))
        }
    };
    Some(Source { id: id?, input, program })
}

fn source_name(
    checks: &mut Checks<'_, '_>,
    span: &Span,
    id: Option<&Mark<String>>,
    names: &mut BTreeSet<String>,
) -> Option<SourceName> {
    let Some(id) = id else {
        checks.document.missing(span, "id", "add id = \"s1\", or another name; pipelines and stream ids use it");
        return None;
    };
    if !names.insert(id.value.clone()) {
        checks.document.mistake(&id.span, "another source of the channel has this id", "give each its own");
    }
    SourceName::new(&id.value).map_err(|error| checks.document.refuse(&id.span, &error)).ok()
}

fn program(checks: &mut Checks<'_, '_>, program: Option<&Mark<u16>>) -> Option<u16> {
    let program = program?;
    if program.value == 0 {
        // ISO/IEC 13818-1 §2.4.4.5: programme number 0 is the network PID.
        checks.document.mistake(
            &program.span,
            "0 is no programme",
            "write 1 to 65535, or leave it out for the first one",
        );
    }
    Some(program.value)
}

fn srt_input(
    checks: &mut Checks<'_, '_>,
    span: &Span,
    file: &SrtSourceFile,
    id: Option<&SourceId>,
    declared: &mut Declared,
) -> Option<SrtInput> {
    let mode = srt_mode(checks, span, file);
    let latency = checks.time(file.latency.as_ref(), "200ms", "20ms", "8s");
    let passphrase = file.passphrase.as_ref().map(|place| passphrase(checks, place));
    let key_length = key_length(checks, file, matches!(mode, Some(SrtMode::Caller { .. })));
    let allow = datagram::allow(checks, file.allow.as_ref());
    no_choice_of_peers(checks, file.mode.as_ref(), file.allow.as_ref().map(|list| &list.span));
    if let (Some(SrtMode::Shared), Some(id)) = (&mode, id) {
        declared.stream_ids.insert(id.to_string());
        if passphrase.is_some() {
            declared.encrypted.insert(id.to_string());
        }
    }
    Some(SrtInput {
        mode: mode?,
        latency,
        passphrase: match passphrase {
            None => None,
            Some(found) => Some(found?),
        },
        key_length,
        allow,
    })
}

pub(super) fn srt_mode(checks: &mut Checks<'_, '_>, span: &Span, file: &SrtSourceFile) -> Option<SrtMode> {
    let mode = file.mode.as_ref().map_or(SrtModeFile::Shared, |mode| mode.value);
    let only = |checks: &mut Checks<'_, '_>, key: Option<&Mark<String>>, its: &[SrtModeFile]| {
        let Some(key) = key.filter(|_| !its.contains(&mode)) else { return };
        let words: Vec<_> = its.iter().map(|mode| format!("mode \"{}\"", mode.word())).collect();
        let wrong = format!("means something in {} only", words.join(" and "));
        let mend = format!("remove it, or write {}", words.join(" or ").replace("mode ", "mode = "));
        checks.document.mistake(&key.span, wrong, mend);
    };
    only(checks, file.listen.as_ref(), &[SrtModeFile::Listener, SrtModeFile::Rendezvous]);
    only(checks, file.address.as_ref(), &[SrtModeFile::Caller, SrtModeFile::Rendezvous]);
    only(checks, file.stream_id.as_ref(), &[SrtModeFile::Caller]);
    match mode {
        SrtModeFile::Shared => Some(SrtMode::Shared),
        SrtModeFile::Listener => {
            if file.listen.is_none() {
                checks.document.missing(span, "listen", "add listen = \"127.0.0.1:9711\", or another address and port");
                return None;
            }
            Some(SrtMode::Listener(checks.listen(file.listen.as_ref(), "127.0.0.1:9711", Transport::Udp)))
        }
        SrtModeFile::Caller => caller(checks, span, file),
        SrtModeFile::Rendezvous => rendezvous(checks, span, file),
    }
}

/// Keys that say whom to let in mean nothing where the other side is given.
pub(super) fn no_choice_of_peers(checks: &mut Checks<'_, '_>, mode: Option<&Mark<SrtModeFile>>, key: Option<&Span>) {
    if let (Some(mode), Some(key)) = (mode.filter(|mode| mode.value.chooses_peer()), key) {
        let wrong = format!("means nothing in mode \"{}\"", mode.value.word());
        checks.document.mistake(key, wrong, "remove it; we choose whom we call");
    }
}

fn caller(checks: &mut Checks<'_, '_>, span: &Span, file: &SrtSourceFile) -> Option<SrtMode> {
    if let Some(stream_id) = file.stream_id.as_ref().filter(|s| s.value.len() > STREAM_ID_BYTES_MAX) {
        checks.document.mistake(
            &stream_id.span,
            "is too long for SRT",
            format!("write at most {STREAM_ID_BYTES_MAX} bytes"),
        );
    }
    let address = called(checks, span, file, "the server to call")?;
    Some(SrtMode::Caller {
        address: address.value.clone(),
        stream_id: file.stream_id.as_ref().map(|s| s.value.clone()),
    })
}

fn rendezvous(checks: &mut Checks<'_, '_>, span: &Span, file: &SrtSourceFile) -> Option<SrtMode> {
    let address = called(checks, span, file, "the other side");
    if file.listen.is_none() {
        checks.document.missing(
            span,
            "listen",
            "add listen = \"0.0.0.0:9720\", with the port that the other side calls",
        );
        return None;
    }
    let listen = checks.listen(file.listen.as_ref(), "0.0.0.0:9720", Transport::Udp);
    let address = address?;
    match address.value.parse::<SocketAddr>() {
        Ok(theirs) if theirs == listen => {
            checks.document.mistake(&address.span, "is our own", "write address and port of the other side");
        }
        Ok(theirs) if theirs.is_ipv4() != listen.is_ipv4() => {
            let mend = "write both as IPv4, or both as IPv6 (listen = \"[::]:9720\")";
            checks.document.mistake(&address.span, "is of another kind than `listen`", mend);
        }
        // A name is looked up for an address of the kind of ours.
        Ok(_) | Err(_) => {}
    }
    Some(SrtMode::Rendezvous { listen, address: address.value.clone() })
}

/// Host and port of the other side.
fn called<'f>(
    checks: &mut Checks<'_, '_>,
    span: &Span,
    file: &'f SrtSourceFile,
    whose: &str,
) -> Option<&'f Mark<String>> {
    let Some(address) = &file.address else {
        checks.document.missing(span, "address", format!("add address = \"host:port\" of {whose}"));
        return None;
    };
    if !is_host_and_port(&address.value) {
        let wrong = format!("`{}` cannot be called", excerpt(&address.value));
        checks.document.mistake(&address.span, wrong, "write host and port, such as \"encoder.example:9710\"");
    }
    Some(address)
}

fn key_length(checks: &mut Checks<'_, '_>, file: &SrtSourceFile, caller: bool) -> u8 {
    let Some(length) = &file.key_length else { return 16 };
    if ![16, 24, 32].contains(&length.value) {
        checks.document.mistake(
            &length.span,
            format!("{} is no AES key length", length.value),
            "16, 24 and 32 are possible",
        );
    } else if file.passphrase.is_none() {
        checks.document.mistake(
            &length.span,
            "there is no passphrase to make a key of",
            "add passphrase = \"env:NAME\"",
        );
    } else if !caller {
        let mend = "remove it; the publisher chooses (pbkeylen)";
        checks.document.mistake(&length.span, "means something in mode \"caller\" only", mend);
    }
    length.value
}

/// Fetches a passphrase and checks its length.
pub(super) fn passphrase(checks: &mut Checks<'_, '_>, place: &Mark<SecretRef>) -> Option<Secret> {
    let secret = checks.secret(place, "passphrase")?;
    let length = secret.reveal().len();
    if !PASSPHRASE_BYTES.contains(&length) {
        let wrong = format!("what it points at has {length} characters");
        checks.document.mistake(&place.span, wrong, "SRT takes passphrases of 10 to 79 characters");
        return None;
    }
    Some(secret)
}

fn test_shape(checks: &mut Checks<'_, '_>, file: &TestSourceFile) -> SignalShape {
    shape(checks, file.size.as_ref(), file.rate.as_ref(), file.bitrate.as_ref())
}

fn shape(
    checks: &mut Checks<'_, '_>,
    size: Option<&Mark<Size>>,
    rate: Option<&Mark<Rate>>,
    bitrate: Option<&Mark<BitRate>>,
) -> SignalShape {
    if let Some(size) = size {
        picture_size(checks.document, size, (160, 90), (3840, 2160));
    }
    if let Some(rate) = rate.filter(|rate| !SIGNAL_RATES.contains(&rate.value.0.into())) {
        let mend = "10, 12.5, 15, 20, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94 and 60 are possible";
        checks.document.mistake(&rate.span, format!("the test signal has no rate of {}", rate.value.0), mend);
    }
    if let Some(bitrate) = bitrate {
        bitrate_within(checks.document, bitrate, 100_000, 100_000_000);
    }
    let size = size.map_or(Size { width: 1280, height: 720 }, |size| size.value);
    SignalShape {
        width: size.width,
        height: size.height,
        rate: rate.map_or(FrameRate::new(25, 1).expect("25 is within a rate's range"), |rate| rate.value.0),
        bitrate: bitrate.map_or(4_000_000, |bitrate| bitrate.value.0),
    }
}

/// A generator and its destinations; those that call our own listener must name a source it knows.
pub(super) fn signal(
    checks: &mut Checks<'_, '_>,
    file: &Mark<SignalFile>,
    shared: SocketAddr,
    declared: &Declared,
) -> Option<Signal> {
    let (span, file) = (&file.span, &file.value);
    let shape = shape(checks, file.size.as_ref(), file.rate.as_ref(), file.bitrate.as_ref());
    let Some(to) = &file.to else {
        checks.document.missing(span, "to", "add to = [\"srt://127.0.0.1:9710?streamid=channel/source\"]");
        return None;
    };
    if to.value.is_empty() {
        checks.document.mistake(&to.span, "goes nowhere", "list at least one srt:// address");
    }
    for url in &to.value {
        if let Err((wrong, mend)) = destination(&url.value, shared, declared) {
            checks.document.mistake(&url.span, wrong, mend);
        }
    }
    Some(Signal { shape, to: to.value.iter().map(|url| url.value.clone()).collect() })
}

fn destination(url: &str, shared: SocketAddr, declared: &Declared) -> Result<(), (String, String)> {
    let example = "write an address such as \"srt://127.0.0.1:9710?streamid=demo/s1\"";
    let Some(rest) = url.strip_prefix("srt://") else { return Err(("is no srt:// address".into(), example.into())) };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !is_host_and_port(address) {
        return Err(("has no host and port".into(), example.into()));
    }
    let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    if value("passphrase").is_some() {
        let mend = "remove it; to test an encrypted source, publish to it with an encoder of your own";
        return Err(("a secret never stands in the config itself".into(), mend.into()));
    }
    let ours = address.parse::<SocketAddr>().is_ok_and(|a| {
        a.port() == shared.port() && (a.ip() == shared.ip() || (a.ip().is_loopback() && shared.ip().is_unspecified()))
    });
    if !ours {
        return Ok(());
    }
    let Some(stream_id) = value("streamid") else {
        return Err(("calls our own SRT port without a stream id".into(), example.into()));
    };
    if !declared.stream_ids.contains(stream_id) {
        let mend = super::document::nearest(stream_id, declared.stream_ids.iter().map(String::as_str));
        return Err((format!("no channel has a shared SRT source `{}`", excerpt(stream_id)), mend));
    }
    if declared.encrypted.contains(stream_id) {
        let mend = "remove the source's passphrase, or publish to it with an encoder of your own";
        return Err((format!("`{stream_id}` wants a passphrase, and this generator has none"), mend.into()));
    }
    Ok(())
}
