//! `srt://host:port?streamid=…&latency=…`: how people write an SRT address.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::Error;
use crate::config::Secret;

/// libsrt's own default.
const LATENCY_DEFAULT: Duration = Duration::from_millis(120);
/// SRTO_STREAMID's limit.
const STREAM_ID_BYTES_MAX: usize = 512;
/// SRTO_PASSPHRASE's limits.
const PASSPHRASE_BYTES: std::ops::RangeInclusive<usize> = 10..=79;
/// SRTO_RCVLATENCY is sent in 16 bits of milliseconds.
const LATENCY_MS_MAX: u64 = 65_535;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// We call the address.
    Caller,
    /// We wait at the address.
    Listener,
}

/// A parsed `srt://` address. Its text form leaves the passphrase out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Name or address; IPv6 without brackets; empty for "any" of a listener.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// `mode=caller|listener`; caller where not said.
    pub mode: Mode,
    /// `streamid=`, percent-decoded; everything after it up to `&`, `#` included.
    pub stream_id: Option<String>,
    /// `latency=`, in milliseconds as in libsrt's own addresses (ffmpeg's and OBS's count microseconds).
    pub latency: Duration,
    /// `passphrase=`.
    pub passphrase: Option<Secret>,
    /// `pbkeylen=`: 16, 24 or 32 bytes.
    pub key_length: Option<u8>,
}

/// Why an address was refused. Repeats no passphrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It begins otherwise.
    #[error("an SRT address begins with `srt://`")]
    Scheme,
    /// There is no usable host and port.
    #[error("an SRT address names a host and a port: `srt://host:9710`")]
    Authority,
    /// A parameter nobody knows.
    #[error("unknown parameter `{0}`: use streamid, latency, passphrase, pbkeylen or mode")]
    Unknown(String),
    /// A parameter without a sensible value.
    #[error("`{name}` must be {wanted}")]
    Value {
        /// Which.
        name: &'static str,
        /// What would be one.
        wanted: &'static str,
    },
}

impl Url {
    /// Parses `srt://host:port?name=value&…`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("srt://").ok_or(UrlError::Scheme)?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = authority.trim_end_matches('/').rsplit_once(':').ok_or(UrlError::Authority)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or(UrlError::Authority)?,
            // Without brackets nobody knows where an IPv6 address ends and its port begins.
            None if host.contains(':') => return Err(UrlError::Authority),
            None => host,
        };
        let mut url = Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| UrlError::Authority)?,
            mode: Mode::Caller,
            stream_id: None,
            latency: LATENCY_DEFAULT,
            passphrase: None,
            key_length: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            url.set(name, value)?;
        }
        if url.port == 0 || url.host.is_empty() && url.mode == Mode::Caller {
            return Err(UrlError::Authority);
        }
        Ok(url)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), UrlError> {
        let bad = |name, wanted| UrlError::Value { name, wanted };
        match name {
            "streamid" => {
                let text = percent_decoded(value).filter(|s| s.len() <= STREAM_ID_BYTES_MAX && !s.contains('\0'));
                self.stream_id = Some(text.ok_or(bad("streamid", "at most 512 bytes of UTF-8"))?);
            }
            "latency" => {
                let ms = value.parse().ok().filter(|ms| *ms <= LATENCY_MS_MAX);
                self.latency = ms.map(Duration::from_millis).ok_or(bad("latency", "0 to 65535 milliseconds"))?;
            }
            "passphrase" => {
                let text = percent_decoded(value).filter(|s| PASSPHRASE_BYTES.contains(&s.len()));
                self.passphrase = Some(Secret::new(text.ok_or(bad("passphrase", "10 to 79 bytes of UTF-8"))?));
            }
            "pbkeylen" => {
                let length = value.parse().ok().filter(|n| [16, 24, 32].contains(n));
                self.key_length = Some(length.ok_or(bad("pbkeylen", "16, 24 or 32"))?);
            }
            "mode" => {
                self.mode = match value {
                    "caller" => Mode::Caller,
                    "listener" => Mode::Listener,
                    _ => return Err(bad("mode", "caller or listener")),
                };
            }
            other => return Err(UrlError::Unknown(other.chars().take(40).collect())),
        }
        Ok(())
    }

    /// Looks the host up; waits for the resolver. An empty host means every local IPv4 address.
    pub fn resolve(&self) -> Result<SocketAddr, Error> {
        let host = if self.host.is_empty() { "0.0.0.0" } else { &self.host };
        resolve(host, self.port)
    }
}

/// The first address of `host`; waits for the resolver.
pub(crate) fn resolve(host: &str, port: u16) -> Result<SocketAddr, Error> {
    first(host, port, |_| true)
}

/// The first address of `host` that is IPv4 or IPv6 as `own` is; waits for the resolver.
pub(crate) fn resolve_like(host: &str, port: u16, own: SocketAddr) -> Result<SocketAddr, Error> {
    first(host, port, |address| address.is_ipv4() == own.is_ipv4())
}

fn first(host: &str, port: u16, wanted: impl Fn(&SocketAddr) -> bool) -> Result<SocketAddr, Error> {
    let failed = |source| Error::Resolve { host: host.to_owned(), source };
    let mut addresses = (host, port).to_socket_addrs().map_err(failed)?;
    addresses.find(wanted).ok_or_else(|| failed(std::io::Error::other("no usable address")))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = self.host.contains(':');
        let (open, close) = if bracketed { ("[", "]") } else { ("", "") };
        write!(f, "srt://{open}{}{close}:{}", self.host, self.port)?;
        if let Some(stream_id) = &self.stream_id {
            write!(f, "?streamid={stream_id}")?;
        }
        Ok(())
    }
}

/// `None` for a broken escape or for what is not UTF-8 afterwards.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            let value = digit()? * 16 + digit()?;
            out.push(value as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        let url = Url::parse("srt://127.0.0.1:9710?streamid=live/main&latency=200").expect("good");
        assert_eq!((url.host.as_str(), url.port, url.mode), ("127.0.0.1", 9710, Mode::Caller));
        assert_eq!(url.stream_id.as_deref(), Some("live/main"));
        assert_eq!(url.latency, Duration::from_millis(200));

        let raw = Url::parse("srt://host:1?streamid=#!::r=live/main,m=publish&pbkeylen=32").expect("good");
        let escaped =
            Url::parse("srt://host:1/?streamid=%23%21%3A%3Ar=live/main%2Cm%3Dpublish&pbkeylen=32").expect("good");
        assert_eq!(raw.stream_id.as_deref(), Some("#!::r=live/main,m=publish"));
        assert_eq!(raw, escaped);

        let any = Url::parse("srt://:5000?mode=listener").expect("good");
        assert_eq!((any.host.as_str(), any.port, any.mode), ("", 5000, Mode::Listener));
        assert_eq!(Url::parse("srt://[::1]:7").expect("good").host, "::1");
    }

    #[test]
    fn mistakes_are_named_and_keys_are_not() {
        for (text, wanted) in [
            ("http://h:1", "begins with"),
            ("srt://h", "host and a port"),
            ("srt://::1:5", "host and a port"),
            ("srt://:5", "host and a port"),
            ("srt://h:0", "host and a port"),
            ("srt://h:99999", "host and a port"),
            ("srt://h:1?latency=1s", "`latency`"),
            ("srt://h:1?latency=70000", "`latency`"),
            ("srt://h:1?passphrase=kurz", "`passphrase`"),
            ("srt://h:1?pbkeylen=20", "`pbkeylen`"),
            ("srt://h:1?mode=rendezvous", "`mode`"),
            ("srt://h:1?streamid=%4", "`streamid`"),
            ("srt://h:1?pkt_size=1316", "`pkt_size`"),
        ] {
            let error = Url::parse(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
            assert!(!error.contains("kurz"));
        }
        let url = Url::parse("srt://h:1?streamid=a/b&passphrase=0123456789").expect("good");
        assert!(!format!("{url} {url:?}").contains("0123456789"));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(srt://)?.{0,80}") {
            let _ = Url::parse(&text);
        }
    }
}
