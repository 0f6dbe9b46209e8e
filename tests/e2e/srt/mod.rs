//! SRT ingest through the real gateway process, fed by real publishers.

mod faults;
mod ground;
mod publish;
mod refuse;
