//! What libsrt complains of, and why a connection was turned away.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fmt;

use super::ffi::{self, errno};

/// Why a handshake was refused: a `SRT_REJECT_REASON` below 1000, or a server's own code (`access_control.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reject(pub i32);

impl Reject {
    /// The keys differ.
    pub const BAD_SECRET: Self = Self(10);
    /// One side has a key and the other has none.
    pub const UNSECURE: Self = Self(11);
    /// No answer in time.
    pub const TIMEOUT: Self = Self(16);
    /// The stream id makes no sense.
    pub const BAD_REQUEST: Self = Self(1400);
    /// The server takes nobody at the moment.
    pub const OVERLOAD: Self = Self(1402);
    /// SRT_REJX_FORBIDDEN.
    pub const FORBIDDEN: Self = Self(1403);
    /// There is no such stream.
    pub const NOT_FOUND: Self = Self(1404);
    /// Not possible with what the stream id names.
    pub const BAD_MODE: Self = Self(1405);
    /// Somebody publishes this stream already.
    pub const CONFLICT: Self = Self(1409);
    /// Our own fault.
    pub const INTERNAL: Self = Self(1500);
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::BAD_SECRET => "wrong passphrase",
            Self::UNSECURE => "one side has a passphrase and the other has none",
            Self::TIMEOUT => "no answer",
            Self::BAD_REQUEST => "malformed stream id",
            Self::OVERLOAD => "overloaded",
            Self::FORBIDDEN => "not allowed",
            Self::NOT_FOUND => "no such stream",
            Self::BAD_MODE => "not possible with what it names",
            Self::CONFLICT => "already publishing",
            _ => return write!(f, "rejected with SRT code {}", self.0),
        };
        write!(f, "{text} (SRT code {})", self.0)
    }
}

impl fmt::Debug for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reject({})", self.0)
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The other side turned us away.
    #[error("{0}")]
    Rejected(Reject),
    /// The connection is over.
    #[error("the connection ended")]
    Ended,
    /// Nothing happened in the time set.
    #[error("timed out")]
    TimedOut,
    /// A call failed.
    #[error("{call}: {text}")]
    Call {
        /// libsrt's function or option.
        call: &'static str,
        /// libsrt's words.
        text: String,
    },
    /// A host name that cannot be resolved.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// As written.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The error of the last call in this thread. Must be asked for at once: libsrt keeps one a thread.
    pub(super) fn last(call: &'static str) -> Self {
        let mut os = 0;
        // SAFETY: the pointer is to a local of the right type.
        let code = unsafe { ffi::srt_getlasterror(&raw mut os) };
        match code {
            errno::ECONNLOST | errno::ENOCONN | errno::EINVSOCK | errno::ESCLOSED => Self::Ended,
            errno::ETIMEOUT | errno::EASYNCSND | errno::EASYNCRCV => Self::TimedOut,
            _ => {
                // SAFETY: returns a NUL-terminated string that stays valid until the next call in this thread.
                let text = unsafe { CStr::from_ptr(ffi::srt_strerror(code, os)) };
                Self::Call { call, text: text.to_string_lossy().into_owned() }
            }
        }
    }
}
