//! Whether sources that we fetch ourselves make sense: RTSP addresses and users, files.

use std::fs;
use std::path::PathBuf;

use crate::config::RtspInput;
use crate::config::checks::{Checks, is_host_and_port};
use crate::config::document::{Mark, Span};
use crate::config::file::{FileSourceFile, RtspSourceFile, RtspTransportFile};
use crate::config::units::excerpt;

/// Longest address and user name, bytes: more is a mistake of pasting.
const TEXT_BYTES_MAX: usize = 2048;

pub(super) fn rtsp(checks: &mut Checks<'_, '_>, span: &Span, file: &RtspSourceFile) -> Option<RtspInput> {
    let url = match &file.url {
        Some(url) => address(checks, url),
        None => {
            checks.document.missing(span, "url", "add url = \"rtsp://camera.example/stream\"");
            None
        }
    };
    let user = match (&file.user, &file.password) {
        (None, None) => None,
        (Some(user), Some(place)) => {
            if user.value.is_empty() || user.value.len() > TEXT_BYTES_MAX || user.value.chars().any(char::is_control) {
                checks.document.mistake(&user.span, "is no user name", "write the name the server knows");
            }
            Some((user.value.clone(), checks.secret(place, "password")?))
        }
        (Some(user), None) => {
            checks.document.mistake(&user.span, "has no password", "add password = \"env:NAME\" or \"file:path\"");
            None
        }
        (None, Some(place)) => {
            checks.document.mistake(&place.span, "there is no user it belongs to", "add user = \"name\"");
            None
        }
    };
    let udp = file.transport.as_ref().is_some_and(|transport| transport.value == RtspTransportFile::Udp);
    Some(RtspInput { url: url?, udp, user })
}

/// An address that can be called; what it says of a user is never repeated.
fn address(checks: &mut Checks<'_, '_>, url: &Mark<String>) -> Option<String> {
    const EXAMPLE: &str = "write an address such as \"rtsp://camera.example/stream\"";
    let wrong = |checks: &mut Checks<'_, '_>, wrong: String, mend: &str| {
        checks.document.mistake(&url.span, wrong, mend);
        None
    };
    let text = &url.value;
    let plain = text.len() <= TEXT_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    let Some(rest) = text.strip_prefix("rtsp://").filter(|_| plain) else {
        let what = if text.contains('@') { "it".to_owned() } else { format!("`{}`", excerpt(text)) };
        return wrong(checks, format!("{what} is no rtsp:// address"), EXAMPLE);
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        let mend = "remove what stands before the @; add user = \"name\" and password = \"env:NAME\"";
        return wrong(checks, "a secret never stands in the config itself".to_owned(), mend);
    }
    // The port may be left out: with any, it must be a host.
    if !is_host_and_port(host) && !is_host_and_port(&format!("{host}:554")) {
        return wrong(checks, format!("`{}` cannot be called", excerpt(host)), EXAMPLE);
    }
    Some(text.clone())
}

pub(super) fn file(checks: &mut Checks<'_, '_>, span: &Span, file: &FileSourceFile) -> Option<PathBuf> {
    let Some(written) = &file.path else {
        checks.document.missing(span, "path", "add path = \"clip.ts\", or the path of an MP4, relative to this file");
        return None;
    };
    let path = checks.path(&written.value);
    // Opening a pipe would wait for ever.
    let looked = fs::metadata(&path).and_then(|about| {
        if about.is_file() { fs::File::open(&path).map(drop) } else { Err(std::io::Error::other("is no file")) }
    });
    if let Err(error) = looked {
        let mend = "give the path of a transport stream or an MP4, relative to this file, readable for this user";
        checks.document.mistake(&written.span, format!("{}: {error}", path.display()), mend);
        return None;
    }
    Some(path)
}
