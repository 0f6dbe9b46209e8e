//! The `tandem` binary: see [`tandem::cli`].

use std::process::ExitCode;

use clap::Parser;

#[derive(clap::Parser)]
#[command(name = "tandem", version)]
enum Command {
    /// Generate the test signal.
    Signal(tandem::signal::Options),
    /// Read a stream and account for each of its frames.
    Inspect(tandem::inspect::Options),
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(tandem::ingest::srt::SUBCOMMAND) {
        return tandem::ingest::srt::gateway::run();
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Command::parse() {
        Command::Signal(options) => match tandem::signal::run(options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("tandem signal: {:#}", anyhow::Error::from(e));
                ExitCode::FAILURE
            }
        },
        Command::Inspect(options) => tandem::inspect::main(&options),
    }
}
