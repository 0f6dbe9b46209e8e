//! Waiting for many sockets at once.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::time::Duration;

use super::Error;
use super::ffi::{self, EpollEvent, SocketId, event};
use super::socket::{self, Socket};

/// Sockets told of in one go; the rest is told of in the next.
const READY_MAX: usize = 64;

/// libsrt's epoll, level-triggered: it tells of a socket for as long as there is something to do.
#[derive(Debug)]
pub struct Epoll(c_int);

/// A socket with something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub socket: SocketId,
    /// Something can be read, or a caller waits.
    pub readable: bool,
    /// The connection it began is up.
    pub writable: bool,
    /// The connection is over, or was refused.
    pub broken: bool,
}

impl Epoll {
    /// Watches nothing yet.
    pub fn new() -> Result<Self, Error> {
        socket::library();
        // SAFETY: no arguments; the library is started.
        let epoll = unsafe { ffi::srt_epoll_create() };
        if epoll == ffi::ERROR {
            return Err(Error::last("srt_epoll_create"));
        }
        // SAFETY: plain values.
        unsafe { ffi::srt_epoll_set(epoll, ffi::EPOLL_ENABLE_EMPTY) };
        Ok(Self(epoll))
    }

    /// Watches a listener or a connection for something to read. A closed socket is forgotten by itself.
    pub fn watch_reads(&self, socket: &Socket) -> Result<(), Error> {
        self.watch(socket, event::IN | event::ERR)
    }

    /// Watches for the answer to a call.
    pub fn watch_answer(&self, socket: &Socket) -> Result<(), Error> {
        self.watch(socket, event::OUT | event::ERR)
    }

    /// Watches for the end of a connection that is only written to.
    pub fn watch_end(&self, socket: &Socket) -> Result<(), Error> {
        self.watch(socket, event::ERR)
    }

    /// What it was watched for before is replaced.
    fn watch(&self, socket: &Socket, events: c_int) -> Result<(), Error> {
        // SAFETY: a pointer to a local; libsrt copies it.
        if unsafe { ffi::srt_epoll_add_usock(self.0, socket.id(), &raw const events) } == ffi::ERROR {
            return Err(Error::last("srt_epoll_add_usock"));
        }
        Ok(())
    }

    /// Waits until something is ready, `at_most` so long.
    pub fn wait(&self, at_most: Duration) -> Result<Vec<Ready>, Error> {
        let mut events = [EpollEvent::default(); READY_MAX];
        let timeout = i64::try_from(at_most.as_millis()).unwrap_or(i64::MAX);
        // SAFETY: pointer and room describe `events`.
        let count = unsafe { ffi::srt_epoll_uwait(self.0, events.as_mut_ptr(), READY_MAX as c_int, timeout) };
        if count == ffi::ERROR {
            return match Error::last("srt_epoll_uwait") {
                Error::TimedOut => Ok(Vec::new()),
                other => Err(other),
            };
        }
        // libsrt returns how many are ready, which may be more than there was room for.
        let count = usize::try_from(count).unwrap_or(0).min(READY_MAX);
        let ready = |e: &EpollEvent| Ready {
            socket: e.socket,
            readable: e.events & event::IN != 0,
            writable: e.events & event::OUT != 0,
            broken: e.events & event::ERR != 0,
        };
        Ok(events[..count].iter().map(ready).collect())
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: ours, released once.
        unsafe { ffi::srt_epoll_release(self.0) };
    }
}
