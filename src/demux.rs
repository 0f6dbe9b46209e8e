//! TS bytes of one source → items on the source timeline.

use crate::media::{Item, SourceTime};

#[derive(Clone, Debug, Default)]
pub struct Config {
    pub program: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub continuity_errors: u64,
}

#[derive(Debug)]
pub struct Demux;

impl Demux {
    pub fn new(_: Config) -> Self {
        Self
    }
    pub fn push(&mut self, _: &[u8]) {}
    pub fn pop(&mut self) -> Option<Item<SourceTime>> {
        None
    }
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
