//! The owner of one channel's state.
