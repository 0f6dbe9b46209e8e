//! The test signal: pictures and sound that say who they are.
