//! The command line: what can be asked for, and which part answers.
//!
//! In:    arguments and environment.
//! Out:   an exit code: 0 done, 1 it went wrong, 2 it could not be tried (a bad command line; `inspect` could not look).
//! Never: decides anything about media.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config};
use crate::{capacity, encode, ingest, inspect, origin, probe, signal, supervisor};

/// Live channels that do not go dark: SRT, RTP, UDP, RTSP or files in, two encode pipelines, HLS and DASH out.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, max_term_width = 100, after_help = FIRST_STEPS)]
struct Cli {
    #[command(flatten)]
    log: Log,
    #[command(subcommand)]
    command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  tandem run config/demo.toml       the demo; open the address it prints
  tandem check my.toml              all mistakes of a config, with line and mend
  tandem inspect http://127.0.0.1:8080/live/demo/index.m3u8
                                    account for every frame a viewer gets

Exit codes:
  0  done, or nothing wrong found
  1  it went wrong: mistakes in the config, faults in the stream, a part that cannot start
  2  it could not be tried: a bad command line, or `inspect` could not look";

#[derive(Debug, Args)]
struct Log {
    /// How log lines are written to stderr
    #[arg(long = "log", value_name = "FORMAT", global = true, default_value = "text")]
    format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or per module as in RUST_LOG (tandem::ingest=debug,info)
    #[arg(long = "log-level", value_name = "LEVEL", global = true, env = "RUST_LOG", default_value = "info")]
    level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, for log collectors
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the channels of a config
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Check a config: all its mistakes with line and mend, or what it makes the program do
    #[command(after_help = CHECK_HELP)]
    Check(Check),
    /// Print the JSON Schema of config files, for editors that complete and check as you type
    #[command(after_help = SCHEMA_HELP)]
    Schema(Schema),
    /// Generate the test signal: moving picture, clock, frame numbers, flash and beep
    #[command(after_help = SIGNAL_HELP)]
    Signal(signal::Options),
    /// Read a stream as a stranger would and account for every frame
    #[command(after_help = INSPECT_HELP)]
    Inspect(inspect::Options),
    /// Measure how many channels of a ladder this host carries, and what each rung costs
    #[command(after_help = PLAN_HELP)]
    Plan(capacity::Options),
    /// A pipeline's encode process; the main process starts it
    #[command(hide = true)]
    EncodeWorker,
    /// The process that looks into the sources' pictures and sound; the main process starts it
    #[command(hide = true)]
    Probe,
    /// The process that speaks SRT; the main process starts it
    #[command(hide = true)]
    SrtGateway,
    /// Serve a folder by the origin alone, to be measured
    #[command(hide = true)]
    BenchOrigin(BenchOrigin),
}

#[derive(Debug, Args)]
struct Run {
    /// The config file
    #[arg(default_value = "config/demo.toml")]
    config: PathBuf,
    /// For diagnosis: save every segment of both pipelines side by side below this folder. Nothing is ever deleted there
    #[arg(long, value_name = "DIR")]
    save_segments: Option<PathBuf>,
}

const RUN_HELP: &str = "\
Examples:
  tandem run                                    the demo, config/demo.toml
  tandem run --log json /etc/tandem/news.toml   as a service
  tandem run --save-segments /tmp/segments      keep what A and B made, to compare them

SIGTERM or Ctrl-C ends it in order: encoders are told to finish, answers under way are sent. Exit code 0 then; 1 when the
config has mistakes or a port is taken.";

#[derive(Debug, Args)]
struct Check {
    /// The config file
    #[arg(default_value = "config/demo.toml")]
    config: PathBuf,
}

const CHECK_HELP: &str = "\
Examples:
  tandem check config/demo.toml
  STUDIO_KEY=0123456789 tandem check config/studio.toml    secrets are looked up, so they must be there

Exit code 0 when it is good; 1 with all mistakes on stderr, each as file:line:column: key: what is wrong, and its mend.";

#[derive(Debug, Args)]
struct Schema {
    /// The schema of ladder files instead
    #[arg(long)]
    ladder: bool,
}

const SCHEMA_HELP: &str = "\
Example:
  tandem schema > tandem.schema.json
  Then begin a config with the line `#:schema ./tandem.schema.json`; editors with a TOML language server
  (Taplo, Even Better TOML) complete keys and show what they mean.";

const SIGNAL_HELP: &str = "\
Example:
  tandem signal --to 'srt://127.0.0.1:9710?streamid=demo/s1' --to 'srt://127.0.0.1:9710?streamid=demo/s2'
                                    the same bytes to two sources";

const INSPECT_HELP: &str = "\
Examples:
  tandem inspect http://127.0.0.1:8080/live/demo/index.m3u8
  tandem inspect --json --for 60s http://127.0.0.1:8080/live/demo/manifest.mpd

Exit code 0 when every frame is accounted for, 1 on faults, 2 when it could not look.";

const PLAN_HELP: &str = "\
Examples:
  tandem plan --ladder pipelines/ladders/720p25.toml
  tandem plan --ladder sport.toml --rate 50 --source match.ts --svg host.svg

Encode processes run at full speed for --seconds: stop what else the host does, or it is measured, too. Nothing is changed; what a
rung needs is printed for you to write into the ladder. Exit code 0 when it could measure, 1 when not.";

#[derive(Debug, Args)]
struct BenchOrigin {
    /// The folder to serve
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Address and port
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Server threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let child = matches!(cli.command, Command::EncodeWorker | Command::Probe | Command::SrtGateway);
    if let Err(error) = start_log(&cli.log, child) {
        eprintln!("tandem: --log-level: {error}");
        return ExitCode::from(2);
    }
    match cli.command {
        Command::Run(options) => run(&options),
        Command::Check(options) => check(&options),
        Command::Schema(options) => schema(&options),
        Command::Signal(options) => done("signal", signal::run(options)),
        Command::Inspect(options) => inspect::main(&options),
        Command::Plan(options) => done("plan", capacity::run(&options)),
        Command::EncodeWorker => done("encode-worker", encode::worker::run()),
        Command::Probe => done("probe", probe::worker::run()),
        Command::SrtGateway => ingest::srt::gateway::run(),
        Command::BenchOrigin(options) => done("bench-origin", bench_origin(&options)),
    }
}

fn start_log(log: &Log, child: bool) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&log.level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if child {
        // The main process reads these lines, adds time and span, and writes them in the format it was asked for.
        lines.with_ansi(false).without_time().with_target(false).init();
        return Ok(());
    }
    match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

fn run(options: &Run) -> ExitCode {
    let config = match Config::load(&options.config) {
        Ok(config) => config,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!("{} is good\n{}", options.config.display(), config.summary());
    done("run", supervisor::run(config, options.save_segments.clone()))
}

fn check(options: &Check) -> ExitCode {
    match Config::load(&options.config) {
        Ok(config) => {
            print_all(&format!("{} is good\n\n{}", options.config.display(), config.summary()));
            ExitCode::SUCCESS
        }
        Err(report) => {
            eprintln!("{report}");
            ExitCode::FAILURE
        }
    }
}

fn schema(options: &Schema) -> ExitCode {
    print_all(&format!("{:#}\n", config::schema(options.ladder)));
    ExitCode::SUCCESS
}

fn bench_origin(options: &BenchOrigin) -> io::Result<()> {
    // It runs until it is killed.
    let _running = origin::bench::run(&options.dir, options.listen, options.threads)?;
    loop {
        std::thread::park();
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no fault.
fn print_all(text: &str) {
    use io::Write as _;
    if let Err(error) = io::stdout().write_all(text.as_bytes())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("tandem: stdout: {error}");
    }
}

/// Says what went wrong, with every cause.
fn done<E: Into<anyhow::Error>>(command: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem {command}: {:#}", error.into());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn hidden_commands_stay_hidden() {
        let help = Cli::command().render_long_help().to_string();
        for hidden in ["encode-worker", "probe", "srt-gateway", "bench-origin"] {
            assert!(!help.contains(hidden), "{hidden}");
        }
        for shown in ["run", "check", "schema", "signal", "inspect", "plan", "Exit codes"] {
            assert!(help.contains(shown), "{shown}");
        }
    }
}
