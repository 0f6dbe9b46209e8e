//! The `tandem` binary: see [`tandem::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(tandem::ingest::srt::SUBCOMMAND) => tandem::ingest::srt::gateway::run(),
        _ => ExitCode::SUCCESS,
    }
}
