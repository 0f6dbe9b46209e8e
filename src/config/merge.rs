//! Merged sources: what a file may say of them, and whether their paths can be merged.

use std::collections::BTreeMap;

use super::checks::Checks;
use super::document::{Mark, Span, nearest};
use super::file::{MergeSourceFile, SourceFile};
use super::units::excerpt;
use super::{MERGE_PATHS_MAX, MergeInput};
use crate::media::SourceName;

/// To which merged source each path belongs, by the first one that names it.
pub(super) fn owners(files: &[Mark<SourceFile>]) -> BTreeMap<&str, &str> {
    let mut owners = BTreeMap::new();
    for file in files {
        let SourceFile::Merge(merge) = &file.value else { continue };
        let owner = merge.id.as_ref().map_or("", |id| &id.value);
        // One that names itself is told so, and nothing else.
        for path in merge.of.iter().flat_map(|of| &of.value).filter(|path| path.value != owner) {
            owners.entry(&*path.value).or_insert(owner);
        }
    }
    owners
}

/// A merged source. `channel` is where its channel stands, `files` are all of the channel's sources.
pub(super) fn merge(
    checks: &mut Checks<'_, '_>,
    span: &Span,
    file: &MergeSourceFile,
    channel: &Span,
    files: &[Mark<SourceFile>],
) -> Option<MergeInput> {
    let recovery_window = checks.time(file.recovery_window.as_ref(), "200ms", "20ms", "15s");
    let Some(of) = &file.of else {
        checks.document.missing(span, "of", "add of = [\"…\", \"…\"] with the ids of the sources that are its paths");
        return None;
    };
    if !(2..=MERGE_PATHS_MAX).contains(&of.value.len()) {
        let wrong = format!("{} paths cannot be merged", of.value.len());
        checks.document.mistake(&of.span, wrong, format!("list 2 to {MERGE_PATHS_MAX} sources of this channel"));
    }
    let paths: Vec<_> = of.value.iter().map(|name| path(checks, file, name, channel, files)).collect();
    Some(MergeInput { of: paths.into_iter().collect::<Option<_>>()?, recovery_window })
}

fn path(
    checks: &mut Checks<'_, '_>,
    merge: &MergeSourceFile,
    name: &Mark<String>,
    channel: &Span,
    files: &[Mark<SourceFile>],
) -> Option<SourceName> {
    let id = |file: &SourceFile| file.id().map(|id| id.value.clone());
    let text = excerpt(&name.value);
    let Some(file) = files.iter().find(|file| id(&file.value).as_deref() == Some(&*name.value)) else {
        // A source whose own mistakes hid it is there nevertheless.
        if !checks.document.lost(channel, &format!("source[{text}]")) {
            let known: Vec<String> = files.iter().filter_map(|file| id(&file.value)).collect();
            let mend = nearest(&name.value, known.iter().map(String::as_str));
            checks.document.mistake(&name.span, format!("the channel has no source `{text}`"), mend);
        }
        return None;
    };
    let kind = match &file.value {
        SourceFile::Srt(_) | SourceFile::Rtp(_) | SourceFile::Udp(_) => None,
        SourceFile::Rtsp(_) => Some("rtsp"),
        SourceFile::File(_) => Some("file"),
        SourceFile::Test(_) => Some("test"),
        SourceFile::Merge(_) => Some("merge"),
    };
    if let Some(kind) = kind {
        let wrong = format!("`{text}` is of type \"{kind}\" and cannot be a path");
        checks.document.mistake(&name.span, wrong, "list sources of type \"srt\", \"rtp\" or \"udp\"");
        return None;
    }
    let mine = merge.of.iter().flat_map(|of| &of.value).find(|other| other.value == name.value);
    let first = owners(files).get(&*name.value).copied();
    if mine.is_some_and(|first| first.span != name.span) {
        checks.document.mistake(&name.span, "is listed twice", "list each path once");
    } else if first != Some(merge.id.as_ref().map_or("", |id| &id.value)) {
        let wrong = format!("is a path of `{}` already", excerpt(first.unwrap_or_default()));
        checks.document.mistake(&name.span, wrong, "give each merged source paths of its own");
    }
    let program = match &file.value {
        SourceFile::Srt(srt) => srt.program.as_ref(),
        SourceFile::Rtp(rtp) => rtp.program.as_ref(),
        SourceFile::Udp(udp) => udp.program.as_ref(),
        _ => None,
    };
    if let Some(program) = program {
        let wrong = "a path carries the whole stream; the merged source chooses the programme";
        checks.document.mistake(&program.span, wrong, "write it into the source of type \"merge\"");
    }
    SourceName::new(&name.value).ok()
}
