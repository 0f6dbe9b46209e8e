//! Reads a transport stream as it is sent: from SRT, UDP or a file.
//!
//! In:    an address, until when.
//! Out:   closed ledgers.
//! Never: looks at times of arrival. What counts is what the stream itself says.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::UdpSocket;
use std::time::Duration;

use super::decode::{Decoder, Ledgers, lock};
use super::follow::{Found, Limits};
use super::report::{Faults, Kind};
use crate::{clock, srt};

/// A read gives up after this long, so that the limit is noticed.
const PATIENCE: Duration = Duration::from_millis(500);
/// A stream from which nothing comes for this long stands still.
const STALLED: Duration = Duration::from_secs(3);
/// A call that nobody makes or answers for this long has failed.
const CONNECT: Duration = Duration::from_secs(10);
/// Read from a file at once: seven TS packets, sixteen times.
const READ_BYTES: usize = 7 * 188 * 16;

/// Where the bytes come from.
enum Source {
    Srt(Box<srt::Receiver>),
    Udp(UdpSocket),
    File(File),
}

/// What a read brought.
enum Chunk {
    Bytes(Vec<u8>),
    Nothing,
    End,
}

impl Source {
    fn open(url: &str) -> Result<Self, String> {
        match url.split_once("://") {
            Some(("srt", _)) => {
                let url = srt::Url::parse(url).map_err(|e| e.to_string())?;
                let receiver = srt::Receiver::open(&url, CONNECT).map_err(|e| e.to_string())?;
                Ok(Self::Srt(Box::new(receiver)))
            }
            Some(("udp", at)) => {
                let at = at.trim_start_matches('@').split('?').next().unwrap_or(at);
                let socket = UdpSocket::bind(at).map_err(|e| e.to_string())?;
                socket.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
                Ok(Self::Udp(socket))
            }
            _ => File::open(url).map(Self::File).map_err(|e| e.to_string()),
        }
    }

    fn read(&mut self) -> Result<Chunk, String> {
        let mut buffer = vec![0; READ_BYTES];
        let length = match self {
            Self::Srt(receiver) => {
                return match receiver.receive(&mut buffer) {
                    Ok(Some(bytes)) => Ok(Chunk::Bytes(bytes.to_vec())),
                    Ok(None) => Ok(Chunk::End),
                    Err(srt::Error::TimedOut) => Ok(Chunk::Nothing),
                    Err(error) => Err(error.to_string()),
                };
            }
            Self::Udp(socket) => match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(Chunk::Nothing),
                Err(e) => return Err(e.to_string()),
            },
            Self::File(file) => match file.read(&mut buffer).map_err(|e| e.to_string())? {
                0 => return Ok(Chunk::End),
                length => length,
            },
        };
        buffer.truncate(length);
        Ok(Chunk::Bytes(buffer))
    }
}

/// Reads `url` into `ledgers`; an error if it cannot be opened.
pub fn read(url: &str, name: &str, ledgers: Ledgers, limits: Limits) -> Result<Found, String> {
    let mut source = Source::open(url)?;
    let live = !matches!(source, Source::File(_));
    let mut faults = Faults::of(name);
    let decoder = Decoder::transport(&ledgers)?;
    let began = clock::now();
    let (mut came, mut stalled) = (began, false);
    loop {
        let now = clock::now();
        match source.read() {
            Ok(Chunk::Bytes(bytes)) => {
                (came, stalled) = (now, false);
                if let Err(error) = decoder.push_bytes(bytes) {
                    faults.add(Kind::Decode, None, error);
                    break;
                }
            }
            Ok(Chunk::Nothing) if now.since(came) > STALLED && !stalled => {
                stalled = true;
                faults.add(Kind::Stalled, None, format!("nothing came for {:.1} s", now.since(came).as_secs_f64()));
            }
            Ok(Chunk::Nothing) => {}
            Ok(Chunk::End) => {
                if let Err(error) = decoder.drain() {
                    faults.add(Kind::Decode, None, error);
                }
                break;
            }
            Err(error) => {
                faults.add(Kind::Stalled, None, error);
                break;
            }
        }
        let seen = || lock(&ledgers.pictures).seconds_seen().max(lock(&ledgers.sound).seconds_seen());
        if if live { now.since(began) >= limits.length } else { seen() >= limits.length.as_secs_f64() } {
            // The last picture is cut in two by our leaving. It is not decoded.
            break;
        }
    }
    Ok(Found::close(name, ledgers, 0, faults))
}
