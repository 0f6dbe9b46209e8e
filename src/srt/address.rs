//! Socket addresses in C's shape.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage};

/// An address as libsrt takes it.
pub(super) enum CAddress {
    V4(sockaddr_in),
    V6(sockaddr_in6),
}

impl CAddress {
    pub(super) fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(a) => {
                // SAFETY: plain integers, for which zero is a value.
                let mut c: sockaddr_in = unsafe { mem::zeroed() };
                c.sin_family = AF_INET as u16;
                c.sin_port = a.port().to_be();
                c.sin_addr.s_addr = u32::from_ne_bytes(a.ip().octets());
                Self::V4(c)
            }
            SocketAddr::V6(a) => {
                // SAFETY: plain integers, for which zero is a value.
                let mut c: sockaddr_in6 = unsafe { mem::zeroed() };
                c.sin6_family = AF_INET6 as u16;
                c.sin6_port = a.port().to_be();
                c.sin6_addr.s6_addr = a.ip().octets();
                c.sin6_scope_id = a.scope_id();
                Self::V6(c)
            }
        }
    }

    /// Pointer and length, good as long as `self` is.
    pub(super) fn raw(&self) -> (*const sockaddr, c_int) {
        match self {
            Self::V4(c) => ((&raw const *c).cast(), size_of::<sockaddr_in>() as c_int),
            Self::V6(c) => ((&raw const *c).cast(), size_of::<sockaddr_in6>() as c_int),
        }
    }
}

/// Lets a C function write an address, and reads it. `None` where the function fails or names no internet address.
pub(super) fn read(fill: impl FnOnce(*mut sockaddr, *mut c_int) -> bool) -> Option<SocketAddr> {
    let mut storage = MaybeUninit::<sockaddr_storage>::zeroed();
    let mut length = size_of::<sockaddr_storage>() as c_int;
    if !fill(storage.as_mut_ptr().cast(), &raw mut length) {
        return None;
    }
    // SAFETY: `storage` is large and aligned enough for every family, and was zeroed before it was filled.
    unsafe { from_raw(storage.as_ptr().cast()) }
}

/// Reads an address from C.
///
/// # Safety
/// `address` is null, or points to an address of the size its family calls for.
pub(super) unsafe fn from_raw(address: *const sockaddr) -> Option<SocketAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: every address begins with its family; unaligned reads, as the caller promises nothing of alignment.
    let family = unsafe { (&raw const (*address).sa_family).read_unaligned() };
    match i32::from(family) {
        AF_INET => {
            // SAFETY: the family says it is one.
            let c = unsafe { address.cast::<sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(c.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(c.sin_port)).into())
        }
        AF_INET6 => {
            // SAFETY: the family says it is one.
            let c = unsafe { address.cast::<sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(c.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(c.sin6_port), 0, c.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_c_and_back() {
        for text in
            ["127.0.0.1:9710", "0.0.0.0:0", "203.0.113.7:65535", "[::1]:9710", "[fe80::1%3]:7", "[2001:db8::5]:1"]
        {
            let address: SocketAddr = text.parse().expect("an address");
            let c = CAddress::new(address);
            // SAFETY: `c` lives here and has its family's size.
            assert_eq!(unsafe { from_raw(c.raw().0) }, Some(address), "{text}");
        }
    }
}
