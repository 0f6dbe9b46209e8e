//! How much this process takes, and how much more it may.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Address space that a stream's connection takes at most, bytes: its thread's stack, libsrt's lists, and a second of
/// [`RATE_MAX`](super::RATE_MAX) on its way.
pub const CONNECTION: u64 = 16 << 20;
/// While less is left nobody new is let in, so that those who are there have room for a burst: an allocation that fails
/// ends the process, and with it everybody's connection.
const SPARE: u64 = 4 * CONNECTION;

/// `VmRSS`, bytes.
pub(super) fn resident() -> Option<u64> {
    counted("VmRSS:")
}

/// Whether there is room for one more connection under the limit of address space.
pub(super) fn is_short() -> bool {
    let limit = getrlimit(Resource::As).current;
    limit.zip(counted("VmSize:")).is_some_and(|(limit, taken)| taken + SPARE > limit)
}

/// The kernel counts in kB.
fn counted(what: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        assert!(resident().expect("Linux says") > 1 << 20);
        assert!(!is_short(), "tests run without a limit");
    }
}
