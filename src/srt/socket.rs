//! One libsrt socket, owned: closed when dropped.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use super::address::{self, CAddress};
use super::ffi::{self, ListenCallback, SocketId, option, state};
use super::{Error, Reject, Stats};

/// Longest message of live mode, bytes: an Ethernet frame without the headers of IP, UDP and SRT.
pub const MESSAGE_BYTES_MAX: usize = 1456;
/// What libsrt expects of a TS sender: seven TS packets.
pub const TS_MESSAGE_BYTES: usize = 1316;
/// Asked of the kernel for the UDP socket: lost packets of a busy listener are overruns of this buffer, not losses of
/// the network. The kernel cuts it at `net.core.rmem_max`.
pub const UDP_BUFFER_BYTES: i32 = 8 << 20;

/// libsrt's `LOG_CRIT`. What it calls errors are mostly other people's: one line for every odd packet.
const LOG_CRITICAL: c_int = 2;

/// What can be set on a socket before it is bound or connected. What is `None` stays as libsrt has it.
#[derive(Clone, Debug, Default)]
pub struct Settings<'a> {
    /// The least our receiver and the peer's may take; the greater of both sides holds.
    pub latency: Option<Duration>,
    /// 10 to 79 bytes.
    pub passphrase: Option<&'a str>,
    /// AES key length of a sender: 16, 24 or 32.
    pub key_length: Option<u8>,
    /// What a caller asks for; at most 512 bytes.
    pub stream_id: Option<&'a str>,
    /// Silence after which a peer counts as gone.
    pub peer_idle: Option<Duration>,
    /// How long a call may go unanswered; in a rendezvous, ten times as long.
    pub connect_timeout: Option<Duration>,
    /// Both sides call each other, each from an address it is bound to.
    pub rendezvous: bool,
    /// Packets that may be under way or wait for their time: sizes both the window and the receive buffer.
    pub window_packets: Option<u32>,
    /// Calls return at once.
    pub nonblocking: bool,
    /// Blocking reads and writes give up after this time.
    pub timeout: Option<Duration>,
}

/// A libsrt socket.
#[derive(Debug)]
pub struct Socket(SocketId);

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: ours, closed once. A socket that broke by itself may be gone already: an error, and no matter.
        unsafe { ffi::srt_close(self.0) };
    }
}

/// Starts the library, once a process.
pub(super) fn library() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        // SAFETY: called once, before anything else of libsrt. Its failure shows in the first socket.
        unsafe {
            ffi::srt_startup();
            ffi::srt_setloglevel(LOG_CRITICAL);
        }
    });
}

/// Version of the library that is loaded: major, minor, patch.
pub fn version() -> (u8, u8, u8) {
    // SAFETY: no arguments, no state.
    let version = unsafe { ffi::srt_getversion() };
    ((version >> 16) as u8, (version >> 8) as u8, version as u8)
}

fn checked(result: c_int, call: &'static str) -> Result<c_int, Error> {
    if result == ffi::ERROR { Err(Error::last(call)) } else { Ok(result) }
}

impl Socket {
    /// A fresh socket in live mode.
    pub fn new(settings: &Settings<'_>) -> Result<Self, Error> {
        library();
        // SAFETY: no arguments; the library is started.
        let socket = Self(checked(unsafe { ffi::srt_create_socket() }, "srt_create_socket")?);
        socket.apply(settings)?;
        Ok(socket)
    }

    /// Its number, to recognise it in an epoll's answer.
    pub fn id(&self) -> SocketId {
        self.0
    }

    fn apply(&self, settings: &Settings<'_>) -> Result<(), Error> {
        let ms = |d: Duration| i32::try_from(d.as_millis()).unwrap_or(i32::MAX);
        self.set(option::UDP_RCVBUF, UDP_BUFFER_BYTES, "SRTO_UDP_RCVBUF")?;
        if let Some(packets) = settings.window_packets {
            // The window first: the receive buffer may not exceed it.
            self.set(option::FC, packets as i32, "SRTO_FC")?;
            self.set(option::RCVBUF, (packets as i32).saturating_mul(1472), "SRTO_RCVBUF")?;
        }
        if let Some(latency) = settings.latency {
            self.set(option::RCVLATENCY, ms(latency), "SRTO_RCVLATENCY")?;
            self.set(option::PEERLATENCY, ms(latency), "SRTO_PEERLATENCY")?;
        }
        if let Some(length) = settings.key_length {
            self.set(option::PBKEYLEN, i32::from(length), "SRTO_PBKEYLEN")?;
        }
        if let Some(passphrase) = settings.passphrase {
            set_text(self.0, option::PASSPHRASE, passphrase, "SRTO_PASSPHRASE")?;
        }
        if let Some(stream_id) = settings.stream_id {
            set_text(self.0, option::STREAMID, stream_id, "SRTO_STREAMID")?;
        }
        if let Some(idle) = settings.peer_idle {
            self.set(option::PEERIDLETIMEO, ms(idle), "SRTO_PEERIDLETIMEO")?;
        }
        if let Some(timeout) = settings.connect_timeout {
            self.set(option::CONNTIMEO, ms(timeout), "SRTO_CONNTIMEO")?;
        }
        if let Some(timeout) = settings.timeout {
            self.set(option::RCVTIMEO, ms(timeout), "SRTO_RCVTIMEO")?;
            self.set(option::SNDTIMEO, ms(timeout), "SRTO_SNDTIMEO")?;
        }
        if settings.rendezvous {
            self.set(option::RENDEZVOUS, 1, "SRTO_RENDEZVOUS")?;
        }
        if settings.nonblocking {
            self.set(option::RCVSYN, 0, "SRTO_RCVSYN")?;
            self.set(option::SNDSYN, 0, "SRTO_SNDSYN")?;
        }
        Ok(())
    }

    fn set(&self, option: i32, value: i32, name: &'static str) -> Result<(), Error> {
        set(self.0, option, value, name)
    }

    /// Binds to a local address. An IPv6 address takes IPv6 only, so that `[::]` and `0.0.0.0` do not collide.
    pub fn bind(&self, to: SocketAddr) -> Result<(), Error> {
        if to.is_ipv6() {
            self.set(option::IPV6ONLY, 1, "SRTO_IPV6ONLY")?;
        }
        let c = CAddress::new(to);
        let (pointer, length) = c.raw();
        // SAFETY: pointer and length describe `c`, which outlives the call.
        checked(unsafe { ffi::srt_bind(self.0, pointer, length) }, "srt_bind").map(drop)
    }

    /// The address it is bound to.
    pub fn local(&self) -> Option<SocketAddr> {
        // SAFETY: `read` hands out a writable storage and its size.
        address::read(|pointer, length| unsafe { ffi::srt_getsockname(self.0, pointer, length) } != ffi::ERROR)
    }

    /// Takes callers. `hook` decides on each, in libsrt's receiving thread, before anything is allocated for it: it must
    /// be quick. At most `backlog` may wait for [`Self::accept`].
    pub fn listen<H>(&self, backlog: usize, hook: H) -> Result<(), Error>
    where
        H: Fn(&Caller<'_>) -> Result<(), Reject> + Send + Sync + 'static,
    {
        // Never freed: the receiving thread may be inside the hook whenever the listener is closed, and a process has a
        // handful of listeners, which live as long as it does.
        let hook: &'static H = Box::leak(Box::new(hook));
        let callback: ListenCallback = call::<H>;
        let opaque: *const H = hook;
        // SAFETY: `call::<H>` takes `opaque` for the `H` it is, and `H` lives for ever.
        checked(
            unsafe { ffi::srt_listen_callback(self.0, callback, opaque.cast_mut().cast()) },
            "srt_listen_callback",
        )?;
        // SAFETY: plain values.
        checked(unsafe { ffi::srt_listen(self.0, c_int::try_from(backlog).unwrap_or(c_int::MAX)) }, "srt_listen")
            .map(drop)
    }

    /// The next caller whose handshake is through; `None` when there is none now (non-blocking sockets).
    pub fn accept(&self) -> Result<Option<(Self, SocketAddr)>, Error> {
        let mut socket = ffi::INVALID_SOCKET;
        let peer = address::read(|pointer, length| {
            // SAFETY: `read` hands out a writable storage and its size.
            socket = unsafe { ffi::srt_accept(self.0, pointer, length) };
            socket != ffi::INVALID_SOCKET
        });
        if socket == ffi::INVALID_SOCKET {
            return match Error::last("srt_accept") {
                Error::TimedOut => Ok(None),
                other => Err(other),
            };
        }
        let socket = Self(socket);
        let peer = peer.ok_or(Error::Call { call: "srt_accept", text: "no internet address".into() })?;
        Ok(Some((socket, peer)))
    }

    /// Makes an accepted socket, which inherits its listener's ways, a blocking one.
    pub(super) fn block(&self, timeout: Duration) -> Result<(), Error> {
        let ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        self.set(option::RCVSYN, 1, "SRTO_RCVSYN")?;
        self.set(option::SNDSYN, 1, "SRTO_SNDSYN")?;
        self.set(option::RCVTIMEO, ms, "SRTO_RCVTIMEO")
    }

    /// Calls a listener, or meets a peer: waits for the answer, or (non-blocking) only begins.
    pub fn connect(&self, to: SocketAddr) -> Result<(), Error> {
        let c = CAddress::new(to);
        let (pointer, length) = c.raw();
        // SAFETY: pointer and length describe `c`, which outlives the call.
        match checked(unsafe { ffi::srt_connect(self.0, pointer, length) }, "srt_connect") {
            Ok(_) => Ok(()),
            // libsrt's error tells only that it was refused; the reason is asked of the socket.
            Err(error) => Err(self.reject_reason().map_or(error, Error::Rejected)),
        }
    }

    /// Why the last handshake was refused, if it was.
    pub fn reject_reason(&self) -> Option<Reject> {
        reject_reason(self.0)
    }

    /// Whether a handshake is through and the peer is there.
    pub fn connected(&self) -> bool {
        // SAFETY: plain values.
        unsafe { ffi::srt_getsockstate(self.0) == state::CONNECTED }
    }

    /// Sends one message of at most [`TS_MESSAGE_BYTES`] (libsrt's limit of live mode unless set otherwise).
    pub fn send(&self, message: &[u8]) -> Result<(), Error> {
        let length = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
        // SAFETY: pointer and length describe `message`; no control structure.
        let sent = unsafe { ffi::srt_sendmsg2(self.0, message.as_ptr().cast(), length, ptr::null_mut()) };
        checked(sent, "srt_sendmsg2").map(drop)
    }

    /// The next message; `None` when none is due (non-blocking sockets). `into` should have room for
    /// [`MESSAGE_BYTES_MAX`]; the rest of a longer message is lost.
    pub fn receive(&self, into: &mut [u8]) -> Result<Option<usize>, Error> {
        let room = c_int::try_from(into.len()).unwrap_or(c_int::MAX);
        // SAFETY: pointer and room describe `into`; no control structure.
        let got = unsafe { ffi::srt_recvmsg2(self.0, into.as_mut_ptr().cast(), room, ptr::null_mut()) };
        match checked(got, "srt_recvmsg2") {
            Ok(length) => Ok(Some(length as usize)),
            Err(Error::TimedOut) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Messages sent but not acknowledged yet.
    pub fn unsent(&self) -> usize {
        let mut blocks = 0;
        // SAFETY: a pointer to a local; null for what is not asked.
        let known = unsafe { ffi::srt_getsndbuffer(self.0, &raw mut blocks, ptr::null_mut()) };
        if known == ffi::ERROR { 0 } else { blocks }
    }

    /// Its figures; `None` when the connection is over.
    pub fn stats(&self) -> Option<Stats> {
        /// Room for what later versions append to the structure, which says nothing of its own size.
        #[repr(C)]
        struct Roomy {
            stats: ffi::Stats,
            spare: [u64; 64],
        }
        let mut roomy = Roomy { stats: ffi::Stats::default(), spare: [0; 64] };
        // SAFETY: the pointer is to the whole of `roomy`, whose head is the structure.
        let known = unsafe { ffi::srt_bistats(self.0, (&raw mut roomy).cast(), 0, 1) };
        (known != ffi::ERROR).then(|| Stats::new(&roomy.stats))
    }
}

/// Whether a socket a listener's hook has seen may still come out of [`Socket::accept`].
pub fn may_come(socket: SocketId) -> bool {
    // SAFETY: plain values; an unknown number is answered with "does not exist".
    (state::INIT..=state::CONNECTED).contains(&unsafe { ffi::srt_getsockstate(socket) })
}

/// Why the handshake of a socket that was never ours was refused, as long as libsrt remembers it.
pub fn reject_reason(socket: SocketId) -> Option<Reject> {
    // SAFETY: plain values; an unknown number is answered with "unknown".
    let reason = unsafe { ffi::srt_getrejectreason(socket) };
    (reason > 0).then_some(Reject(reason))
}

/// A caller whose handshake has begun: what a listener's hook decides on.
#[derive(Debug)]
pub struct Caller<'a> {
    socket: SocketId,
    /// Its address.
    pub peer: Option<SocketAddr>,
    /// What it asks for; any bytes.
    pub stream_id: &'a [u8],
}

impl Caller<'_> {
    /// The number its socket will have.
    pub fn id(&self) -> SocketId {
        self.socket
    }

    /// The key it must have.
    pub fn set_passphrase(&self, passphrase: &str) -> Result<(), Error> {
        set_text(self.socket, option::PASSPHRASE, passphrase, "SRTO_PASSPHRASE")
    }

    /// The latency this side asks for; the greater of both sides holds.
    pub fn set_latency(&self, latency: Duration) -> Result<(), Error> {
        let ms = i32::try_from(latency.as_millis()).unwrap_or(i32::MAX);
        set(self.socket, option::RCVLATENCY, ms, "SRTO_RCVLATENCY")
    }

    /// The latency this side asks of a caller that reads; the greater of both sides holds.
    pub fn set_reader_latency(&self, latency: Duration) -> Result<(), Error> {
        let ms = i32::try_from(latency.as_millis()).unwrap_or(i32::MAX);
        set(self.socket, option::PEERLATENCY, ms, "SRTO_PEERLATENCY")
    }
}

/// libsrt's way into a hook.
///
/// # Safety
/// `opaque` points to an `H` that lives for ever; `peer` and `stream_id` are null or what their types say.
unsafe extern "C" fn call<H>(
    opaque: *mut c_void,
    socket: SocketId,
    _handshake_version: c_int,
    peer: *const libc::sockaddr,
    stream_id: *const c_char,
) -> c_int
where
    H: Fn(&Caller<'_>) -> Result<(), Reject>,
{
    // A panic must not cross C: it becomes a refusal.
    let verdict = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's promises, one by one.
        let (hook, peer) = unsafe { (&*opaque.cast::<H>(), address::from_raw(peer)) };
        let stream_id = if stream_id.is_null() {
            &[]
        } else {
            // SAFETY: not null, NUL-terminated, and alive until we return.
            unsafe { CStr::from_ptr(stream_id) }.to_bytes()
        };
        hook(&Caller { socket, peer, stream_id })
    }));
    let reject = match verdict {
        Ok(Ok(())) => return 0,
        Ok(Err(reject)) => reject,
        Err(_) => Reject::INTERNAL,
    };
    // SAFETY: plain values; the socket is the one libsrt asks about.
    unsafe { ffi::srt_setrejectreason(socket, reject.0) };
    ffi::ERROR
}

fn set(socket: SocketId, option: i32, value: i32, name: &'static str) -> Result<(), Error> {
    // SAFETY: every option set through here is an `int32_t` or a `bool`, and libsrt takes an `int32_t` for a `bool`.
    let result = unsafe { ffi::srt_setsockflag(socket, option, (&raw const value).cast(), size_of::<i32>() as c_int) };
    checked(result, name).map(drop)
}

fn set_text(socket: SocketId, option: i32, value: &str, name: &'static str) -> Result<(), Error> {
    let length = c_int::try_from(value.len()).unwrap_or(c_int::MAX);
    // SAFETY: pointer and length describe `value`; libsrt copies it.
    let result = unsafe { ffi::srt_setsockflag(socket, option, value.as_ptr().cast(), length) };
    checked(result, name).map(drop)
}
