//! Opens a socket that receives: buffer, interface, multicast group.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use tokio::net::UdpSocket;
use tracing::warn;

use super::join::join_source;
use crate::config::{DatagramInput, Interface};

/// 0.6 s of 100 Mbit/s: what comes while this process does not get to read.
const BUFFER_BYTES: usize = 8 << 20;

/// A socket at the input's address and `port`.
pub(super) fn open(input: &DatagramInput, port: u16) -> io::Result<UdpSocket> {
    let mut address = SocketAddr::new(input.address.ip(), port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    grow_buffer(&socket)?;
    let group = address.ip().is_multicast();
    if group {
        // Any number of sources, and programs, may listen to one group.
        socket.set_reuse_address(true)?;
        // Else Linux hands over what any socket of this host has joined for, whoever sends it.
        match address {
            SocketAddr::V4(_) => socket.set_multicast_all_v4(false)?,
            SocketAddr::V6(_) => socket.set_multicast_all_v6(false)?,
        }
    } else if let Some(Interface::Name(name)) = &input.interface {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    if let (true, SocketAddr::V6(address)) = (group, &mut address) {
        // A group of link-local scope is one on each interface.
        address.set_scope_id(index(input)?);
    }
    // To the group itself, so that other groups on this port are not heard.
    socket.bind(&address.into())?;
    if group {
        join(&socket, address, input)?;
    }
    UdpSocket::from_std(socket.into())
}

fn grow_buffer(socket: &Socket) -> io::Result<()> {
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    // socket(7): Linux doubles what was asked for, and tells the doubled figure.
    let given = socket.recv_buffer_size()? / 2;
    if given < BUFFER_BYTES {
        warn!(
            "the kernel limits UDP receive buffers to {given} bytes, so bursts may be lost: \
             sysctl -w net.core.rmem_max={BUFFER_BYTES}"
        );
    }
    Ok(())
}

fn join(socket: &Socket, group: SocketAddr, input: &DatagramInput) -> io::Result<()> {
    if let Some(Interface::Address(IpAddr::V4(own))) = input.interface {
        return join_at(socket, group, own, &input.from);
    }
    let index = index(input)?;
    for source in &input.from {
        join_source(socket, index, group, SocketAddr::new(*source, 0))?;
    }
    match group.ip() {
        _ if !input.from.is_empty() => Ok(()),
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index)),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index),
    }
}

/// The interface's index; 0 is the system's choice.
fn index(input: &DatagramInput) -> io::Result<u32> {
    match &input.interface {
        Some(Interface::Name(name)) => index_of_name(name),
        Some(Interface::Address(IpAddr::V6(address))) => index_of_address(*address),
        None | Some(Interface::Address(IpAddr::V4(_))) => Ok(0),
    }
}

/// IPv4 names interfaces by their addresses as well.
fn join_at(socket: &Socket, group: SocketAddr, own: Ipv4Addr, from: &[IpAddr]) -> io::Result<()> {
    let IpAddr::V4(group) = group.ip() else { return Err(io::Error::other("an IPv6 group at an IPv4 address")) };
    for source in from {
        let IpAddr::V4(source) = source else { return Err(io::Error::other("an IPv6 sender to an IPv4 group")) };
        socket.join_ssm_v4(source, &group, &own)?;
    }
    if from.is_empty() { socket.join_multicast_v4(&group, &own) } else { Ok(()) }
}

fn index_of_name(name: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    text.ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| none(&format!("interface {name}")))
}

/// proc_net_if_inet6: address as 32 hex digits, interface's index in hex, and more.
fn index_of_address(address: Ipv6Addr) -> io::Result<u32> {
    let table = fs::read_to_string("/proc/net/if_inet6")?;
    index_in(&table, address).ok_or_else(|| none(&format!("interface with the address {address}")))
}

fn index_in(table: &str, address: Ipv6Addr) -> Option<u32> {
    let wanted = format!("{:032x}", address.to_bits());
    let line = table.lines().find(|line| line.starts_with(&wanted))?;
    u32::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok()
}

fn none(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_found_by_address() {
        let table = "\
fe8000000000000000fc00fffe000001 02 40 20 80     eth0
00000000000000000000000000000001 1a 80 10 80       lo
";
        assert_eq!(index_in(table, Ipv6Addr::LOCALHOST), Some(26));
        assert_eq!(index_in(table, "fe80::fc:ff:fe00:1".parse().expect("an address")), Some(2));
        assert_eq!(index_in(table, Ipv6Addr::UNSPECIFIED), None);
        assert_eq!(index_of_name("lo").expect("every Linux has it"), 1);
        assert_eq!(index_of_name("no-such").expect_err("not there").to_string(), "there is no interface no-such");
    }
}
