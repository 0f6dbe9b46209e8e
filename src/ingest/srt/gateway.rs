//! The gateway process.
use std::process::ExitCode;
/// Runs the gateway.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
