//! Stacks of the threads that libsrt starts: one a connection that receives, and a few beside.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

use super::ffi;

/// From now on threads that ask for no stack of their own size, as libsrt's do, get one of so many bytes in place of the 8 MB that are usual.
///
/// # Errors
/// The system has no such stack.
pub fn set_stack(bytes: usize) -> io::Result<()> {
    let told = |code| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: initialised by the first call, and passed on only if that succeeded; none of the calls keeps the pointer.
    unsafe {
        told(libc::pthread_attr_init(attributes.as_mut_ptr()))?;
        let set = told(libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), bytes))
            .and_then(|()| told(ffi::pthread_setattr_default_np(attributes.as_ptr())));
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_cannot_be_is_an_error() {
        assert!(set_stack(1).is_err());
    }
}
