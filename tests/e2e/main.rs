//! End-to-end tests: real publishers, real processes. They wait for states, never for a time to pass.

mod srt;
