//! Any text as a config, and as a ladder: mistakes are told, nothing panics.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tandem::config::{Config, Ladder};

fuzz_target!(|text: &str| {
    // A folder that does not exist: what the text names is not found, so only the text decides what happens.
    let file = Path::new("/nonexistent/fuzz.toml");
    let told = match Config::parse(file, text) {
        Ok(config) => config.summary().to_string(),
        Err(report) => report.to_string(),
    };
    assert!(!told.is_empty());
    if let Err(report) = Ladder::parse(file, text) {
        assert!(!report.is_empty());
    }
});
