//! What the operator wrote, checked once: `file` (serde) → `validate` → [`Config`], whose parts `checked` has. There is no other way to make one.
//!
//! In:    a TOML file, the ladder files it names, the secrets it points at.
//! Out:   plain values with units in their types; or *all* mistakes, each with line, key and mend ([`Report`]).
//! Never: reads a clock, opens a socket, repeats a secret.

mod auto;
mod checked;
mod checks;
mod cidr;
mod content;
mod datagram;
mod determinism;
mod document;
mod failover;
mod file;
mod ladder;
mod memory;
mod merge;
mod output;
mod profile;
mod pulled;
mod report;
mod schema;
mod serve;
mod slate;
mod source;
mod spread;
mod summary;
mod units;
mod validate;
mod view;

use std::net::IpAddr;
use std::path::Path;

pub use checked::*;
pub use cidr::Cidr;
pub use report::{Mistake, Report};
pub use schema::schema;
pub use summary::Summary;
pub(crate) use view::Offer;
pub use view::{Filter, Order, StartAt, View};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where players and CDNs fetch.
    pub origin: Origin,
    /// Where operators look; loopback unless the file says otherwise.
    pub control: Control,
    /// The shared SRT listener, if any source uses it.
    pub srt: SrtListener,
    /// Where encoders elsewhere publish, if any pipeline is made so.
    pub ingest: Ingest,
    /// At least one.
    pub channels: Vec<Channel>,
    /// Built-in test-signal generators that run beside the channels and push over the network like anybody else.
    pub signals: Vec<Signal>,
}

impl Config {
    /// Reads and checks a config file.
    ///
    /// # Errors
    /// All its mistakes, and those of the ladders it names.
    pub fn load(file: &Path) -> Result<Self, Report> {
        let name = file.display().to_string();
        let text = checks::read_text(file).map_err(|error| {
            let mut report = Report::default();
            report.add(Mistake::whole_file(&name, error.to_string(), "give the path of a config file".into()));
            report
        })?;
        Self::parse(file, &text)
    }

    /// Checks a config's text. `file` is what mistakes call it, and where relative paths begin.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, Report> {
        let mut document = document::Document::parse(&file.display().to_string(), text);
        let written: file::File = document.read();
        let base = file.parent().unwrap_or(Path::new(""));
        let (config, others) = validate::validate(&mut document, &written, base);
        let mut report = document.into_report();
        report.append(others);
        report.sort();
        match config {
            Some(config) if report.is_empty() => Ok(config),
            _ => Err(report),
        }
    }

    /// Whether encoders elsewhere make a pipeline, so that the ingest port is opened.
    pub fn has_ingest(&self) -> bool {
        self.channels.iter().flat_map(|channel| &channel.pipelines).any(|pipeline| pipeline.elsewhere)
    }

    /// What this config makes the program do, for people.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

/// Whether an address can be reached from other hosts.
pub fn is_public(address: IpAddr) -> bool {
    !address.is_loopback()
}
