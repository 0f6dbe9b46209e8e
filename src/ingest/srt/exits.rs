//! One gateway's outputs, as the main process sees them: which it was told of, who reads, and the way to them.
//!
//! In:    the list of what is wanted; what the gateway says of readers; its deaths.
//! Out:   orders to the gateway; [`Event`]s of outputs; the way for media, open while somebody reads.
//! Never: sends media for nobody.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::doors::{Door, call};
use super::ipc::{Exit, Key, ToGateway};
use crate::child::{SendError, Sender};
use crate::monitor::OutputFigures;
use crate::output::Event;
use crate::output::exits::{List, OutputIndex, Wanted};

/// Outputs behind one door.
#[derive(Debug)]
pub(super) struct Exits {
    door: Door,
    /// The port belongs to a source: no output may have it.
    taken: bool,
    known: BTreeMap<OutputIndex, Known>,
    /// Those that cannot have the port, and were told so.
    refused: BTreeSet<OutputIndex>,
    /// The gateway that runs.
    to: Option<Sender<ToGateway>>,
}

#[derive(Debug)]
struct Known {
    wanted: Wanted,
    readers: usize,
    /// Of gateways that died.
    before: OutputFigures,
    figures: OutputFigures,
    failed: bool,
}

impl Exits {
    pub(super) fn new(door: Door, taken: bool) -> Self {
        Self { door, taken, known: BTreeMap::new(), refused: BTreeSet::new(), to: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes over what is wanted now, and tells the gateway of the difference.
    pub(super) fn want(&mut self, list: &List, shared: std::net::SocketAddr) {
        let gone: Vec<OutputIndex> = self.known.keys().filter(|index| !list.contains_key(index)).copied().collect();
        for index in gone {
            self.known.remove(&index);
            self.tell_gateway(&ToGateway::Remove(index));
        }
        self.refused.retain(|index| list.contains_key(index));
        for (&index, wanted) in list.iter().filter(|(_, wanted)| Door::of(&wanted.output.mode, shared) == self.door) {
            if self.known.contains_key(&index) {
                continue;
            }
            let mut known = Known {
                wanted: wanted.clone(),
                readers: 0,
                before: OutputFigures::default(),
                figures: OutputFigures::default(),
                failed: false,
            };
            if self.door.is_for_one() && (self.taken || !self.known.is_empty()) {
                if self.refused.insert(index) {
                    known.fail("its port is taken by another source or output");
                }
                continue;
            }
            if self.refused.remove(&index) {
                known.tell(Event::Recovered);
            }
            self.known.insert(index, known);
            self.tell_gateway(&ToGateway::Add(exit(index, wanted)));
        }
    }

    /// What a gateway has to know when it starts.
    pub(super) fn exits(&self) -> Vec<Exit> {
        self.known.iter().map(|(index, known)| exit(*index, &known.wanted)).collect()
    }

    /// A gateway runs, and has been told of everything.
    pub(super) fn started(&mut self, to: &Sender<ToGateway>) {
        self.to = Some(to.clone());
    }

    /// Its ports are open.
    pub(super) fn listening(&mut self) {
        for known in self.known.values_mut().filter(|known| known.failed) {
            known.failed = false;
            known.tell(Event::Recovered);
        }
    }

    /// The gateway is gone; why, unless it was told to go.
    pub(super) fn ended(&mut self, reason: Option<&str>) {
        self.to = None;
        for known in self.known.values_mut() {
            known.wanted.way.set(None);
            known.readers = 0;
            let figures = std::mem::take(&mut known.figures);
            known.before.bytes += figures.bytes;
            known.before.packets += figures.packets;
            known.before.dropped += figures.dropped;
            known.tell_figures();
            if let (Some(reason), false) = (reason, known.failed) {
                known.fail(&format!("SRT gateway died: {reason}"));
            }
        }
    }

    pub(super) fn reader_up(&mut self, output: OutputIndex, peer: String) {
        let Some(known) = self.known.get_mut(&output) else { return };
        known.readers += 1;
        if let (1, Some(to)) = (known.readers, &self.to) {
            let to = to.clone();
            known.wanted.way.set(Some(Box::new(move |data| {
                let sent = to.send(&ToGateway::Media { output, data: data.clone() });
                // One that is gone has no readers who could miss it.
                !matches!(sent, Err(SendError::Full | SendError::Frame(_)))
            })));
        }
        known.tell(Event::ReaderUp { peer });
    }

    pub(super) fn reader_down(&mut self, output: OutputIndex, peer: String, reason: String) {
        let Some(known) = self.known.get_mut(&output) else { return };
        known.readers = known.readers.saturating_sub(1);
        if known.readers == 0 {
            known.wanted.way.set(None);
        }
        known.tell(Event::ReaderDown { peer, reason });
    }

    pub(super) fn refused(&mut self, output: OutputIndex, peer: String, reason: String) {
        if let Some(known) = self.known.get(&output) {
            known.tell(Event::Refused { peer, reason });
        }
    }

    pub(super) fn figures(&mut self, output: OutputIndex, figures: OutputFigures) {
        if let Some(known) = self.known.get_mut(&output) {
            known.figures = figures;
            known.tell_figures();
        }
    }

    fn tell_gateway(&self, message: &ToGateway) {
        if let Some(Err(error)) = self.to.as_ref().map(|to| to.send(message)) {
            // It is stuck or dying; its keeper ends it, and the next one is told everything.
            warn!(%error, "the gateway does not hear of an output");
        }
    }
}

impl Known {
    fn tell(&self, event: Event) {
        let _ = self.wanted.news.try_send((self.wanted.id.output.clone(), event));
    }

    fn fail(&mut self, reason: &str) {
        self.failed = true;
        self.tell(Event::Failed { reason: reason.to_owned() });
    }

    fn tell_figures(&self) {
        let Self { before, figures, wanted, .. } = self;
        self.tell(Event::Figures(Box::new(OutputFigures {
            bytes: before.bytes + figures.bytes,
            packets: before.packets + figures.packets,
            dropped: before.dropped + figures.dropped + wanted.way.dropped(),
            ..figures.clone()
        })));
    }
}

fn exit(index: OutputIndex, wanted: &Wanted) -> Exit {
    let output = &wanted.output;
    Exit {
        index,
        id: wanted.id.clone(),
        latency: output.latency,
        passphrase: output.passphrase.as_ref().map(|secret| Key(secret.reveal().to_owned())),
        allow: output.allow.clone(),
        readers_max: u32::try_from(output.readers_max).unwrap_or(u32::MAX),
        call: call(&output.mode, Some(output.key_length)),
    }
}
