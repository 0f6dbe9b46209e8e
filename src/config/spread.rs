//! Channels that are spread over hosts: pipelines made elsewhere, and those that other hosts get.

use hyper::Uri;

use super::checks::{Checks, Transport};
use super::document::Mark;
use super::file::{ChannelFile, IngestFile, PipelineFile, PublishFile, RedundancyFile};
use super::units::excerpt;
use super::{Ingest, Ladder, Pipeline, Publish};
use crate::encode::ladder::VideoFormat;

/// The ingest port. Its number is taken only where a pipeline is made elsewhere, or the file names it.
pub(super) fn ingest(checks: &mut Checks<'_, '_>, file: &IngestFile, channels: &[Mark<ChannelFile>]) -> Ingest {
    const USUAL: &str = "127.0.0.1:8082";
    let elsewhere = |fed: &Option<Mark<PipelineFile>>| {
        fed.as_ref().is_some_and(|fed| matches!(fed.value, PipelineFile::Elsewhere(_)))
    };
    let mut pipelines = channels.iter().filter_map(|channel| channel.value.pipelines.as_ref());
    let wanted = pipelines.any(|it| elsewhere(&it.value.a) || elsewhere(&it.value.b));
    let listen = if wanted || file.listen.is_some() {
        checks.listen(file.listen.as_ref(), USUAL, Transport::Tcp)
    } else {
        USUAL.parse().expect("defaults are addresses")
    };
    Ingest { listen, key: file.key.as_ref().and_then(|key| secret(checks, key)) }
}

fn secret(checks: &mut Checks<'_, '_>, key: &Mark<super::units::SecretRef>) -> Option<super::Secret> {
    let secret = checks.secret(key, "key")?;
    let text = secret.reveal();
    // It travels in a field of HTTP (RFC 9110 §5.5).
    if text.is_empty() || text.len() > 512 || !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        checks.document.mistake(&key.span, "is no key", "take 1 to 512 printable ASCII characters");
    }
    Some(secret)
}

/// Puts `[[channel.publish]]` to its pipelines, and checks what does not go with pipelines on several hosts.
pub(super) fn spread(
    checks: &mut Checks<'_, '_>,
    file: &ChannelFile,
    pipelines: Option<Vec<Pipeline>>,
    ladder: Option<&Ladder>,
) -> Option<Vec<Pipeline>> {
    let mut pipelines = pipelines?;
    for publish in &file.publish {
        let made = published(checks, publish);
        let Some(name) = &publish.value.pipeline else { continue };
        match pipelines.iter_mut().find(|pipeline| pipeline.id.as_str() == name.value) {
            Some(pipeline) if !pipeline.elsewhere => pipeline.publish.extend(made),
            Some(_) => {
                checks.document.mistake(&name.span, "is made elsewhere", "its encoder publishes to both hosts itself");
            }
            None => {
                let wrong = format!("the channel has no pipeline `{}`", excerpt(&name.value));
                checks.document.mistake(&name.span, wrong, "name one of [channel.pipelines] that sources feed");
            }
        }
    }
    let elsewhere = pipelines.iter().filter(|pipeline| pipeline.elsewhere).count();
    let is_spread = elsewhere > 0 || pipelines.iter().any(|pipeline| !pipeline.publish.is_empty());
    if !is_spread {
        return Some(pipelines);
    }
    let encodes = ladder.is_none_or(|ladder| !ladder.video.is_empty() || !ladder.audio.is_empty());
    if let Some(name) = &file.ladder {
        if !encodes {
            let mend = "give the channel a ladder file, or take \"cmaf\" and [[channel.publish]] out";
            checks.document.mistake(&name.span, "a pipeline on another host needs renditions", mend);
        } else if ladder.is_some_and(|ladder| ladder.auto) {
            let wrong = "both hosts must have the same renditions, whatever their sources bring";
            checks.document.mistake(&name.span, wrong, "name the same ladder file on both");
        } else if let Some(rung) = ladder
            .and_then(|ladder| ladder.video.iter().find(|rung| rung.encoder.format() == VideoFormat::Av1))
            .filter(|_| elsewhere > 0)
        {
            let wrong = format!("rung {} is AV1, which is not taken from elsewhere", rung.id);
            checks.document.mistake(&name.span, wrong, "take H.264 or HEVC");
        }
    }
    if let Some(key) = &file.redundancy
        && matches!(key.value, RedundancyFile::Warm)
    {
        let wrong = "who encodes is decided within one host";
        checks.document.mistake(&key.span, wrong, "write redundancy = \"hot\"");
    }
    if let Some(key) = file.loudness.as_ref().filter(|_| file.deterministic.unwrap_or(true)) {
        let wrong = "each host plans its own gain, so the sound of A and B differs";
        checks.document.mistake(&key.span, wrong, "write deterministic = false, or take the loudness out");
    }
    if elsewhere == pipelines.len()
        && let Some(key) = &file.pipelines
    {
        checks.document.mistake(&key.span, "no pipeline is made here", "list the sources of one of them");
    }
    Some(pipelines)
}

fn published(checks: &mut Checks<'_, '_>, file: &Mark<PublishFile>) -> Option<Publish> {
    let Mark { span, value: file } = file;
    if file.pipeline.is_none() {
        checks.document.missing(span, "pipeline", "add pipeline = \"a\", or \"b\"");
    }
    let key = file.key.as_ref().map(|key| secret(checks, key));
    let Some(to) = &file.to else {
        let mend = "add to = \"http://host:8082/ingest/news/b\": the other host's channel and pipeline";
        checks.document.missing(span, "to", mend);
        return None;
    };
    if !is_point(&to.value) {
        // It may hold a password: nothing of it is repeated.
        let mend = "write \"http://host:port/ingest/channel/a\", or b; a key goes into `key`";
        checks.document.mistake(&to.span, "is no publishing point", mend);
        return None;
    }
    let key = match key {
        Some(None) => return None,
        Some(key) => key,
        None => None,
    };
    Some(Publish { to: to.value.clone(), key })
}

fn is_point(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let host = uri.host().is_some_and(|host| !host.is_empty()) && uri.scheme_str() == Some("http");
    let plain = uri.authority().is_some_and(|it| !it.as_str().contains('@')) && uri.query().is_none();
    let path = uri.path().trim_end_matches('/');
    host && plain && path.len() > 1
}
