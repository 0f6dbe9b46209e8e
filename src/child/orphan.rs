//! The child's side: nobody outlives the main process.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};

/// Starts a thread that ends this process `grace` after the main process closed (or lost) its end of the socket or pipe on our
/// stdin, however busy or stuck the other threads are. The grace lets an orderly child leave by itself.
///
/// A parent-death signal would not do: it is tied to the *thread* that started the child, and tokio's threads come and go.
pub fn end_with_parent(grace: Duration) -> io::Result<()> {
    std::thread::Builder::new().name("orphan".into()).stack_size(64 << 10).spawn(move || {
        let stdin = io::stdin();
        // `HUP` is reported whether asked for or not; asking for nothing else keeps data from waking us.
        let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
        while !matches!(poll(&mut ends, None::<&Timespec>), Ok(n) if n > 0) {}
        std::thread::sleep(grace);
        // Not `exit`: its handlers belong to C libraries that may be what is stuck.
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    Ok(())
}
