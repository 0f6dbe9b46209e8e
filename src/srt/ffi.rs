//! The part of libsrt's C interface in use, by hand: some thirty functions and their constants, as `srt.h` of 1.5.1 has
//! them. Compatible with every 1.5 (older ones lack the last eight fields of [`Stats`]); a test compares the layout with
//! the installed header.

use std::ffi::{c_char, c_int, c_void};

use libc::sockaddr;

/// `SRTSOCKET`.
pub type SocketId = i32;

pub const INVALID_SOCKET: SocketId = -1;
pub const ERROR: c_int = -1;

/// `SRT_SOCKOPT`.
pub mod option {
    pub const SNDSYN: i32 = 1;
    pub const RCVSYN: i32 = 2;
    pub const FC: i32 = 4;
    pub const RCVBUF: i32 = 6;
    pub const UDP_RCVBUF: i32 = 9;
    pub const RENDEZVOUS: i32 = 12;
    pub const SNDTIMEO: i32 = 13;
    pub const RCVTIMEO: i32 = 14;
    pub const PASSPHRASE: i32 = 26;
    pub const PBKEYLEN: i32 = 27;
    pub const CONNTIMEO: i32 = 36;
    pub const RCVLATENCY: i32 = 43;
    pub const PEERLATENCY: i32 = 44;
    pub const STREAMID: i32 = 46;
    pub const IPV6ONLY: i32 = 54;
    pub const PEERIDLETIMEO: i32 = 55;
}

/// `SRT_SOCKSTATUS`.
pub mod state {
    pub const INIT: i32 = 1;
    pub const CONNECTED: i32 = 5;
}

/// `SRT_EPOLL_OPT`.
pub mod event {
    pub const IN: i32 = 0x1;
    pub const OUT: i32 = 0x4;
    pub const ERR: i32 = 0x8;
}

/// `SRT_ERRNO`.
pub mod errno {
    pub const ESCLOSED: i32 = 1005;
    pub const ECONNLOST: i32 = 2001;
    pub const ENOCONN: i32 = 2002;
    pub const EINVSOCK: i32 = 5004;
    pub const EASYNCSND: i32 = 6001;
    pub const EASYNCRCV: i32 = 6002;
    pub const ETIMEOUT: i32 = 6003;
}

/// `SRT_EPOLL_EVENT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EpollEvent {
    pub socket: SocketId,
    pub events: c_int,
}

/// `srt_listen_callback_fn`.
pub type ListenCallback = unsafe extern "C" fn(
    opaque: *mut c_void,
    socket: SocketId,
    handshake_version: c_int,
    peer: *const sockaddr,
    stream_id: *const c_char,
) -> c_int;

#[link(name = "srt")]
unsafe extern "C" {
    pub fn srt_startup() -> c_int;
    pub fn srt_setloglevel(level: c_int);
    pub fn srt_getversion() -> u32;
    pub fn srt_create_socket() -> SocketId;
    pub fn srt_bind(socket: SocketId, name: *const sockaddr, length: c_int) -> c_int;
    pub fn srt_listen(socket: SocketId, backlog: c_int) -> c_int;
    pub fn srt_listen_callback(socket: SocketId, hook: ListenCallback, opaque: *mut c_void) -> c_int;
    pub fn srt_accept(socket: SocketId, name: *mut sockaddr, length: *mut c_int) -> SocketId;
    pub fn srt_connect(socket: SocketId, name: *const sockaddr, length: c_int) -> c_int;
    pub fn srt_close(socket: SocketId) -> c_int;
    pub fn srt_getsockname(socket: SocketId, name: *mut sockaddr, length: *mut c_int) -> c_int;
    pub fn srt_setsockflag(socket: SocketId, option: i32, value: *const c_void, length: c_int) -> c_int;
    pub fn srt_getsockstate(socket: SocketId) -> i32;
    pub fn srt_sendmsg2(socket: SocketId, data: *const c_char, length: c_int, control: *mut c_void) -> c_int;
    pub fn srt_recvmsg2(socket: SocketId, data: *mut c_char, length: c_int, control: *mut c_void) -> c_int;
    pub fn srt_getlasterror(errno: *mut c_int) -> c_int;
    pub fn srt_strerror(code: c_int, errno: c_int) -> *const c_char;
    pub fn srt_getrejectreason(socket: SocketId) -> c_int;
    pub fn srt_setrejectreason(socket: SocketId, value: c_int) -> c_int;
    pub fn srt_bistats(socket: SocketId, stats: *mut Stats, clear: c_int, instantaneous: c_int) -> c_int;
    pub fn srt_getsndbuffer(socket: SocketId, blocks: *mut usize, bytes: *mut usize) -> c_int;
    pub fn srt_epoll_create() -> c_int;
    pub fn srt_epoll_add_usock(epoll: c_int, socket: SocketId, events: *const c_int) -> c_int;
    pub fn srt_epoll_uwait(epoll: c_int, ready: *mut EpollEvent, room: c_int, timeout_ms: i64) -> c_int;
    pub fn srt_epoll_set(epoll: c_int, flags: i32) -> i32;
    pub fn srt_epoll_release(epoll: c_int) -> c_int;
}

unsafe extern "C" {
    /// pthread_setattr_default_np(3), of the C library.
    pub fn pthread_setattr_default_np(attributes: *const libc::pthread_attr_t) -> c_int;
}

/// `SRT_EPOLL_ENABLE_EMPTY`: waiting on no socket at all is fine.
pub const EPOLL_ENABLE_EMPTY: i32 = 1;

/// `SRT_TRACEBSTATS` (`struct CBytePerfMon`), field by field under its own name.
#[repr(C)]
#[allow(non_snake_case)] // libsrt's names: they are what its documentation explains.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub msTimeStamp: i64,
    pub pktSentTotal: i64,
    pub pktRecvTotal: i64,
    pub pktSndLossTotal: c_int,
    pub pktRcvLossTotal: c_int,
    pub pktRetransTotal: c_int,
    pub pktSentACKTotal: c_int,
    pub pktRecvACKTotal: c_int,
    pub pktSentNAKTotal: c_int,
    pub pktRecvNAKTotal: c_int,
    pub usSndDurationTotal: i64,
    pub pktSndDropTotal: c_int,
    pub pktRcvDropTotal: c_int,
    pub pktRcvUndecryptTotal: c_int,
    pub byteSentTotal: u64,
    pub byteRecvTotal: u64,
    pub byteRcvLossTotal: u64,
    pub byteRetransTotal: u64,
    pub byteSndDropTotal: u64,
    pub byteRcvDropTotal: u64,
    pub byteRcvUndecryptTotal: u64,
    pub pktSent: i64,
    pub pktRecv: i64,
    pub pktSndLoss: c_int,
    pub pktRcvLoss: c_int,
    pub pktRetrans: c_int,
    pub pktRcvRetrans: c_int,
    pub pktSentACK: c_int,
    pub pktRecvACK: c_int,
    pub pktSentNAK: c_int,
    pub pktRecvNAK: c_int,
    pub mbpsSendRate: f64,
    pub mbpsRecvRate: f64,
    pub usSndDuration: i64,
    pub pktReorderDistance: c_int,
    pub pktRcvAvgBelatedTime: f64,
    pub pktRcvBelated: i64,
    pub pktSndDrop: c_int,
    pub pktRcvDrop: c_int,
    pub pktRcvUndecrypt: c_int,
    pub byteSent: u64,
    pub byteRecv: u64,
    pub byteRcvLoss: u64,
    pub byteRetrans: u64,
    pub byteSndDrop: u64,
    pub byteRcvDrop: u64,
    pub byteRcvUndecrypt: u64,
    pub usPktSndPeriod: f64,
    pub pktFlowWindow: c_int,
    pub pktCongestionWindow: c_int,
    pub pktFlightSize: c_int,
    pub msRTT: f64,
    pub mbpsBandwidth: f64,
    pub byteAvailSndBuf: c_int,
    pub byteAvailRcvBuf: c_int,
    pub mbpsMaxBW: f64,
    pub byteMSS: c_int,
    pub pktSndBuf: c_int,
    pub byteSndBuf: c_int,
    pub msSndBuf: c_int,
    pub msSndTsbPdDelay: c_int,
    pub pktRcvBuf: c_int,
    pub byteRcvBuf: c_int,
    pub msRcvBuf: c_int,
    pub msRcvTsbPdDelay: c_int,
    pub pktSndFilterExtraTotal: c_int,
    pub pktRcvFilterExtraTotal: c_int,
    pub pktRcvFilterSupplyTotal: c_int,
    pub pktRcvFilterLossTotal: c_int,
    pub pktSndFilterExtra: c_int,
    pub pktRcvFilterExtra: c_int,
    pub pktRcvFilterSupply: c_int,
    pub pktRcvFilterLoss: c_int,
    pub pktReorderTolerance: c_int,
    pub pktSentUniqueTotal: i64,
    pub pktRecvUniqueTotal: i64,
    pub byteSentUniqueTotal: u64,
    pub byteRecvUniqueTotal: u64,
    pub pktSentUnique: i64,
    pub pktRecvUnique: i64,
    pub byteSentUnique: u64,
    pub byteRecvUnique: u64,
}
