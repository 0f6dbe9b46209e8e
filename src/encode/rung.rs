//! The thread of one video rung: scales, cuts segments into GOPs, encodes them or has them encoded ([`super::gops`]).
//!
//! In:    every slot's picture in order, and the end of each segment, over a channel of [`QUEUE`].
//! Out:   coded units in decode order and a segment end.
//! Never: drops a picture: it blocks its sender, who blocks the socket.

use std::sync::mpsc::Receiver;

use super::gops::{Chains, Gop, Site};
use super::ipc::{Filled, Material, SegmentEnd};
use super::ladder::VideoRung;
use super::pulse::Pulse;
use super::rung_error::RungError;
use super::scale::{Picture, Scaler};
use crate::media::{SegmentNumber, Slot};

/// Pictures that wait for a rung; the sender blocks when they are more.
pub const QUEUE: usize = 8;

/// To a rung's thread.
#[derive(Clone, Debug)]
pub enum ToRung {
    /// The picture of the next slot.
    Picture(Slot, Material, Picture),
    /// The segment of the slots so far is whole.
    End(SegmentNumber, Filled),
}

/// What a rung's thread is made of.
#[derive(Debug)]
pub struct Rung {
    scaler: Scaler,
    pulse: Pulse,
    chains: Chains,
    site: Site,
    /// Pictures of the open segment.
    pushed: u32,
}

impl Rung {
    /// A rung of `ladder` at `site`. `pulse` makes the pulses of its threads: its own, and one a chain where there are several.
    pub fn new(
        ladder: &[VideoRung],
        rung: &VideoRung,
        site: Site,
        mut pulse: impl FnMut() -> Pulse,
    ) -> Result<Self, RungError> {
        let scaler = Scaler::within(ladder, rung, site.grid.rate())?;
        let own = pulse();
        let threads = if rung.chains > 1 { (0..rung.chains).map(|_| pulse()).collect() } else { Vec::new() };
        let chains = Chains::start(site.clone(), own.clone(), threads)?;
        Ok(Self { scaler, pulse: own, chains, site, pushed: 0 })
    }

    /// Runs until the sender is gone; then sends what the open segment still holds, without an end: it is not whole.
    pub fn run(mut self, from: &Receiver<ToRung>) -> Result<(), RungError> {
        while let Ok(message) = from.recv() {
            self.pulse.busy();
            match message {
                ToRung::Picture(slot, material, picture) => self.picture(slot, material, &picture)?,
                ToRung::End(segment, filled) => self.end(segment, filled)?,
            }
            self.pulse.idle();
        }
        self.chains.finish()
    }

    fn picture(&mut self, slot: Slot, material: Material, picture: &Picture) -> Result<(), RungError> {
        let gop = Gop::of(&self.site.grid, self.site.gops, slot);
        let scaled = self.scaler.scale(picture)?;
        if slot == self.site.grid.first_slot(gop.segment) {
            self.pushed = 0;
        }
        self.pushed += 1;
        self.chains.picture(gop, slot, material, scaled)
    }

    fn end(&mut self, segment: SegmentNumber, filled: Filled) -> Result<(), RungError> {
        let (rendition, units) = (self.site.rendition, std::mem::take(&mut self.pushed));
        if units == 0 {
            return Ok(());
        }
        self.chains.end(SegmentEnd { rendition, segment, units, filled })
    }
}
