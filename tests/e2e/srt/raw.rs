//! SRT packets written by hand (draft-sharabayko-srt-01 §3), for what no honest library sends.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Another host than the one of honest publishers: a connection that has fallen silent may be replaced from its own.
const STRANGE_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How long an answer may take; a server that is silent on purpose is waited for as long.
const ANSWER_WITHIN: Duration = Duration::from_millis(50);
const CONTROL: u32 = 0x8000_0000;
/// Handshake types.
const INDUCTION: u32 = 1;
pub const CONCLUSION: u32 = 0xffff_ffff;
/// Types of control packets.
pub const SHUTDOWN: u32 = 5;
/// Where a handshake's type, socket id and cookie stand, header included.
const KIND_AT: usize = 36;
const ID_AT: usize = 40;
const COOKIE_AT: usize = 44;

/// A small generator of our own: the same bytes in every run.
#[derive(Debug)]
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// A handshake of any kind; `more` are its extensions.
pub fn handshake(version: u32, extension: u16, kind: u32, own_id: u32, cookie: u32, more: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [CONTROL, 0, 0, 0, version, u32::from(extension), 12_345, 1500, 8192, kind, own_id, cookie] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&[1, 0, 0, 127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(more);
    out
}

/// Extensions of a conclusion: SRT_CMD_HSREQ with 120 ms of latency, and SRT_CMD_SID.
pub fn extensions(stream_id: &str) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 3, 0, 1, 5, 1, 0, 0, 0, 0xbf, 0, 120, 0, 120];
    let mut text = stream_id.as_bytes().to_vec();
    text.resize(text.len().next_multiple_of(4), 0);
    out.extend_from_slice(&[0, 5, 0, (text.len() / 4) as u8]);
    // Its words are little-endian.
    text.chunks(4).for_each(|word| out.extend(word.iter().rev()));
    out
}

/// A caller that need not keep to the rules.
#[derive(Debug)]
pub struct Raw {
    socket: UdpSocket,
    own: u32,
    cookie: u32,
}

impl Raw {
    /// From a port that nobody has heard of.
    pub fn new(to: SocketAddr, own: u32) -> Self {
        let socket = UdpSocket::bind((STRANGE_HOST, 0)).expect("a port");
        socket.connect(to).expect("loopback");
        socket.set_read_timeout(Some(ANSWER_WITHIN)).expect("set");
        Self { socket, own: own & 0x3fff_ffff, cookie: 0 }
    }

    /// Whatever it is.
    pub fn send(&self, packet: &[u8]) {
        // A refusal by ICMP is no matter.
        let _ = self.socket.send(packet);
    }

    pub fn induction(&self) -> Vec<u8> {
        handshake(4, 2, INDUCTION, self.own, 0, &[])
    }

    /// Asks for a cookie; false if none came.
    pub fn induce(&mut self) -> bool {
        self.send(&self.induction());
        let Some(answer) = self.answer(|kind| kind == INDUCTION) else { return false };
        self.cookie = word(&answer, COOKIE_AT);
        true
    }

    /// What has to follow.
    pub fn conclusion(&self, stream_id: &str) -> Vec<u8> {
        handshake(5, 5, CONCLUSION, self.own, self.cookie, &extensions(stream_id))
    }

    /// Concludes the handshake; the number of the server's socket, if it let us in.
    pub fn conclude(&self, stream_id: &str) -> Option<u32> {
        self.send(&self.conclusion(stream_id));
        let answer = self.answer(|kind| kind != INDUCTION)?;
        (word(&answer, KIND_AT) == CONCLUSION).then(|| word(&answer, ID_AT))
    }

    /// The next handshake of a kind that is wanted.
    fn answer(&self, wanted: impl Fn(u32) -> bool) -> Option<Vec<u8>> {
        let mut buffer = [0; 1500];
        // Others' keepalives may come in between.
        for _ in 0..5 {
            let length = self.socket.recv(&mut buffer).ok()?;
            if length >= 64 && word(&buffer, 0) == CONTROL && wanted(word(&buffer, KIND_AT)) {
                return Some(buffer[..length].to_vec());
            }
        }
        None
    }
}

fn word(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(packet[at..at + 4].try_into().expect("4 bytes"))
}

/// Control packets of every type, with bodies that make no sense, to a socket.
pub fn malformed_control(noise: &mut Noise, to: u32) -> Vec<u8> {
    // §3.2: 0 handshake to 8 peer error; 0x7fff user-defined, with handshake extensions as subtypes.
    let kind = match noise.next() % 10 {
        9 => 0x7fff,
        // Whoever says goodbye in proper form may go.
        kind if kind == u64::from(SHUTDOWN) => 4,
        kind => kind as u32,
    };
    let subtype = noise.next() as u32 % 9;
    packet(CONTROL | kind << 16 | subtype, noise.next() as u32, to, noise, 80)
}

/// Data packets with any flags and any number, empty ones and such that are too long.
pub fn malformed_data(noise: &mut Noise, to: u32) -> Vec<u8> {
    let sequence = match noise.next() % 3 {
        0 => 12_345,
        1 => 12_345 + noise.next() as u32 % 10_000,
        _ => noise.next() as u32 & 0x7fff_ffff,
    };
    packet(sequence, noise.next() as u32, to, noise, 1484)
}

fn packet(first: u32, second: u32, to: u32, noise: &mut Noise, body_max: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [first, second, noise.next() as u32, to] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    let mut body = vec![0; (noise.next() % body_max) as usize];
    noise.fill(&mut body);
    out.extend(body);
    out
}
