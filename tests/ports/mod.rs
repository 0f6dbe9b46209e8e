#![allow(dead_code)] // Each program of tests uses a part of it.
//! Ports for programs that cannot take port 0. A port that was merely free a moment ago is soon given to somebody else, as tests run
//! side by side and each of their programs asks the system for ports; these are not.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The system gives none of these to those who ask for any port.
const PORTS: Range<u16> = 10_000..32_000;

/// Claims free ports, `first` and those so far above it: no other process that asks here gets them while this one lives.
fn claim(above: &[u16], is_free: impl Fn(u16) -> bool) -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let room = u32::from(PORTS.end - PORTS.start);
    // Each process begins elsewhere.
    let begin = std::process::id().wrapping_mul(7919) % room;
    for _ in 0..room {
        let first = PORTS.start + ((begin + TRIED.fetch_add(1, Ordering::Relaxed)) % room) as u16;
        // The claim is a name in the kernel, which ends with its process.
        let name = |port| SocketAddr::from_abstract_name(format!("tandem-test-port-{port}")).expect("a short name");
        let claims: Result<Vec<_>, _> = above.iter().map(|by| UnixListener::bind_addr(&name(first + by))).collect();
        if let Ok(claims) = claims
            && above.iter().all(|by| is_free(first + by))
        {
            std::mem::forget(claims);
            return first;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

fn free_for_udp(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// A TCP port of this process.
pub fn free_tcp() -> u16 {
    claim(&[0], |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok())
}

/// A UDP port of this process.
pub fn free_udp() -> u16 {
    claim(&[0], free_for_udp)
}

/// The same with the address it is called at.
pub fn free_udp_address() -> std::net::SocketAddr {
    (Ipv4Addr::LOCALHOST, free_udp()).into()
}

/// A UDP port for media of RTP, with those two and four above it for FEC (SMPTE 2022-1).
pub fn free_rtp() -> u16 {
    claim(&[0, 2, 4], free_for_udp)
}
