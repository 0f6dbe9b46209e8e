//! End-to-end tests: real sockets, real peers. They wait for states, never for times.

#![allow(clippy::unwrap_used)] // a test that finds nothing where something must be should stop there

mod control;
mod http;
mod nginx;
mod origin;
