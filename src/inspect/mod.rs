//! The judge: reads a stream as a stranger would and accounts for every frame.

use std::process::ExitCode;

/// `tandem inspect`
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// x
    pub url: String,
}

/// x
pub fn main(_: &Options) -> ExitCode {
    ExitCode::from(2)
}
