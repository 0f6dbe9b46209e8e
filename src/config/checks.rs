//! What all checks of a config share.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Secret;
use super::document::{Document, Mark, Span};
use super::report::Report;
use super::units::{SecretRef, Time, excerpt, spell};

/// Files a config points at are small; a wrong path may be anything.
const POINTED_BYTES_MAX: u64 = 1 << 20;

/// Everything checks share: the document that takes mistakes, where relative paths begin, what was seen so far.
pub(super) struct Checks<'d, 't> {
    pub document: &'d mut Document<'t>,
    pub base: &'d Path,
    /// Mistakes of ladder files.
    pub others: Report,
    ports: Vec<(Transport, SocketAddr, Span)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl<'d, 't> Checks<'d, 't> {
    pub fn new(document: &'d mut Document<'t>, base: &'d Path) -> Self {
        Self { document, base, others: Report::default(), ports: Vec::new() }
    }
}

impl Checks<'_, '_> {
    /// An address to listen on; no two of one transport may collide.
    pub(super) fn listen(&mut self, text: Option<&Mark<String>>, default: &str, transport: Transport) -> SocketAddr {
        let default: SocketAddr = default.parse().expect("defaults are addresses");
        let (address, span) = match text {
            None => (default, 0..0),
            Some(text) => match text.value.parse() {
                Ok(address) => (address, text.span.clone()),
                Err(_) => {
                    let wrong = format!("`{}` is no address to listen on", super::units::excerpt(&text.value));
                    let mend = format!(
                        "write an IP address and a port, such as \"{default}\" or \"[::1]:{}\"",
                        default.port()
                    );
                    self.document.mistake(&text.span, wrong, mend);
                    return default;
                }
            },
        };
        if address.port() == 0 {
            // The system would choose one, and nobody could find it.
            self.document.mistake(&span, "port 0 is none", format!("write a port, such as {}", default.port()));
            return address;
        }
        self.reserve(address, &span, transport);
        address
    }

    /// An address to receive datagrams at, of this host or a multicast group.
    pub(super) fn receive(&mut self, text: &Mark<String>) -> Option<SocketAddr> {
        let Ok(address) = text.value.parse::<SocketAddr>() else {
            let wrong = format!("`{}` is no address to receive at", super::units::excerpt(&text.value));
            let mend =
                "write an IP address and a port, such as \"0.0.0.0:5004\", \"239.1.1.1:5004\" or \"[ff3e::1]:5004\"";
            self.document.mistake(&text.span, wrong, mend);
            return None;
        };
        if address.port() == 0 {
            self.document.mistake(&text.span, "port 0 is none", "write a port, such as 5004");
            return None;
        }
        self.reserve(address, &text.span, Transport::Udp);
        Some(address)
    }

    /// Notes that a port is in use; no two may collide, but any number of sources may listen to one multicast group.
    pub(super) fn reserve(&mut self, address: SocketAddr, span: &Span, transport: Transport) {
        if address.ip().is_multicast() {
            return;
        }
        if self.ports.iter().any(|(t, a, _)| *t == transport && collide(*a, address)) {
            let wrong = format!("port {} is taken by another key of this config", address.port());
            self.document.mistake(span, wrong, "give each its own port");
        }
        self.ports.push((transport, address, span.clone()));
    }

    /// A duration within limits, which are spelled as in a config.
    pub(super) fn time(
        &mut self,
        time: Option<&Mark<Time>>,
        default: &'static str,
        min: &'static str,
        max: &'static str,
    ) -> Duration {
        let [default, least, most] = [default, min, max].map(Time::known);
        let Some(time) = time else { return default };
        if !(least..=most).contains(&time.value.0) {
            let wrong = format!("{} does not fit here", spell(time.value.0));
            self.document.mistake(&time.span, wrong, format!("{min} to {max} are possible"));
        }
        time.value.0
    }

    /// A path of the config, relative to its file.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// Fetches a secret; says where it was looked for, and never what was found.
    pub fn secret(&mut self, place: &Mark<SecretRef>, what: &str) -> Option<Secret> {
        let (found, wrong, mend) = match &place.value {
            SecretRef::Env(name) => {
                let name = excerpt(name);
                (
                    variable(&name),
                    format!("there is no environment variable {name}"),
                    format!("set {name} before the start"),
                )
            }
            SecretRef::File(path) => {
                let path = self.path(path);
                let found = read_text(&path);
                let wrong = found.as_ref().err().map_or(String::new(), |error| format!("{}: {error}", path.display()));
                (found.ok(), wrong, format!("put the {what} into that file, readable for this user"))
            }
        };
        let Some(text) = found else {
            self.document.mistake(&place.span, wrong, mend);
            return None;
        };
        Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

/// A small text file, and nothing else: opening a pipe would wait for ever.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(POINTED_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > POINTED_BYTES_MAX {
        return Err(io::Error::other(format!("is longer than {POINTED_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Whether two listeners would ask for the same port. `[::]` takes IPv4 as well where the system is set so.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let everything = |ip: IpAddr| ip.is_unspecified();
    a.port() == b.port() && (a.ip() == b.ip() || everything(a.ip()) || everything(b.ip()))
}

fn variable(name: &str) -> Option<String> {
    // std::env::var panics on names no system has.
    if name.is_empty() || name.contains(['=', '\0']) { None } else { std::env::var(name).ok() }
}

/// `host:port`, `1.2.3.4:port` or `[v6]:port`.
pub(super) fn is_host_and_port(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok_and(|a| a.port() != 0) {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_';
    !host.is_empty() && host.bytes().all(letters) && port.parse::<u16>().is_ok_and(|port| port != 0)
}
