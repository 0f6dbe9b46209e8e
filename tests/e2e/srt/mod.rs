//! SRT ingest through the real gateway process, fed by real publishers.

mod faults;
pub mod ground;
mod line;
mod loss;
mod publish;
pub mod raw;
mod refuse;
