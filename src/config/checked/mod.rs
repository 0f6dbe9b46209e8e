//! What a checked config says: plain values with units in their types. [`super::validate`] makes them, everybody reads them.

mod channel;
mod failover;
mod output;
mod profile;
mod secret;
mod server;
mod source;

pub use channel::{Channel, Dvr, Ladder, Pipeline, Publish, Redundancy, Serve};
pub use failover::{Condition, Content, Failover, Limits, Revert, SourceOrder};
pub use output::{Destination, Matrix, OUTPUTS_MAX, Output, Record, RtpOutput, SrtOutput, Takes, Way};
pub use profile::{DashForm, HlsForm, Profile};
pub use secret::Secret;
pub use server::{Control, Ingest, Origin, SrtListener};
pub use source::{
    DatagramInput, FecPorts, Input, Interface, MERGE_PATHS_MAX, MergeInput, RtpInput, RtspInput, Signal, SignalShape,
    Source, SrtInput, SrtMode,
};
