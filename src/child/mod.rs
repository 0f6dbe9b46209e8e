//! Child processes: the same binary with a hidden subcommand, a socket as its stdin, its stderr forwarded as log events.
//!
//! Children hold everything that can crash, leak or hang: C codecs and libsrt. They are disposable; see
//! `ARCHITECTURE.md`, "Who may crash".

pub mod frame;
