//! What neither std nor socket2 asks of the kernel: source-specific joins by interface index, and a socket's own drops.

#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use socket2::SockAddr;

/// RFC 3678 §5.1; linux/in.h. The same number for IPv4 and IPv6.
const MCAST_JOIN_SOURCE_GROUP: libc::c_int = 46;
/// linux/sock_diag.h: SK_MEMINFO_DROPS, and how many figures there are.
const MEMINFO_DROPS: usize = 8;
const MEMINFO_FIGURES: usize = 9;

/// struct group_source_req of RFC 3678 §5.1.
#[repr(C)]
struct GroupSourceRequest {
    interface: u32,
    group: libc::sockaddr_storage,
    source: libc::sockaddr_storage,
}

/// Joins `group` for datagrams of `source`; interface 0 is the system's choice.
pub(super) fn join_source(socket: &impl AsFd, interface: u32, group: SocketAddr, source: SocketAddr) -> io::Result<()> {
    let request = GroupSourceRequest { interface, group: storage(group), source: storage(source) };
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let length = size_of::<GroupSourceRequest>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel reads `length` bytes of `request`, which lives here.
    let result = unsafe {
        let at = (&raw const request).cast();
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, MCAST_JOIN_SOURCE_GROUP, at, length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams the kernel dropped because the socket's buffer was full; 0 where it does not tell (before Linux 4.12).
pub(super) fn drops(socket: &impl AsFd) -> u32 {
    let mut figures = [0u32; MEMINFO_FIGURES];
    let mut length = size_of::<[u32; MEMINFO_FIGURES]>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel writes at most `length` bytes to `figures`.
    let result = unsafe {
        let at = (&raw mut figures).cast();
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, at, &raw mut length)
    };
    if result == 0 { figures[MEMINFO_DROPS] } else { 0 }
}

fn storage(address: SocketAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(address);
    // SAFETY: all zeros are a valid sockaddr_storage, and it is at least as long as any address, of which `len` bytes are there.
    unsafe {
        let mut storage: libc::sockaddr_storage = zeroed();
        let length = (address.len() as usize).min(size_of::<libc::sockaddr_storage>());
        std::ptr::copy_nonoverlapping(address.as_ptr().cast::<u8>(), (&raw mut storage).cast::<u8>(), length);
        storage
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn drops_are_the_sockets_own() {
        let (quiet, flooded) = (UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
        let (quiet, flooded) = (quiet.expect("a port"), flooded.expect("a port"));
        let to = flooded.local_addr().expect("bound");
        // More than any default buffer holds, and nobody reads.
        for _ in 0..4000 {
            quiet.send_to(&[0; 1400], to).expect("sent");
        }
        assert!(drops(&flooded) > 0);
        assert_eq!(drops(&quiet), 0);
    }

    #[test]
    fn a_joined_senders_datagrams_arrive_and_others_do_not() {
        for (group, sender, stranger) in [("232.7.7.7:0", "127.0.0.1:0", "127.0.0.2:0"), ("[ff3e::7]:0", "[::1]:0", "")]
        {
            let group: SocketAddr = group.parse().expect("an address");
            let kind = if group.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
            let receiver = socket2::Socket::new(kind, socket2::Type::DGRAM, None).expect("a socket");
            receiver.bind(&group.into()).expect("bound");
            let sender: SocketAddr = sender.parse().expect("an address");
            // Loopback is interface 1 of every Linux.
            if let Err(error) = join_source(&receiver, 1, group, sender) {
                println!("skipped {group}: {error}");
                continue;
            }
            let port = receiver.local_addr().expect("bound").as_socket().expect("an address").port();
            let to = SocketAddr::new(group.ip(), port);
            let send = |from: SocketAddr, text: &[u8]| {
                let socket = socket2::Socket::new(kind, socket2::Type::DGRAM, None).expect("a socket");
                socket.bind(&from.into()).expect("bound");
                if let std::net::IpAddr::V4(v4) = from.ip() {
                    socket.set_multicast_if_v4(&v4.min("127.0.0.1".parse().expect("an address"))).expect("set");
                } else {
                    socket.set_multicast_if_v6(1).expect("set");
                }
                socket.send_to(text, &to.into())
            };
            if let Ok(stranger) = stranger.parse() {
                send(stranger, b"stranger").expect("sent");
            }
            if let Err(error) = send(sender, b"joined") {
                println!("skipped {group}: {error}");
                continue;
            }
            let receiver: UdpSocket = receiver.into();
            receiver.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("set");
            let mut buffer = [0; 20];
            let length = receiver.recv(&mut buffer).expect("something arrives");
            assert_eq!(&buffer[..length], b"joined", "{group}");
        }
    }
}
