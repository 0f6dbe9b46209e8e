//! Hitless merge: several copies of one transport stream, as if nothing had been lost (after SMPTE ST 2022-7).
//!
//! In:    what arrives on each path (RTP payloads with their sequence numbers, or bare TS bytes), with the time of arrival.
//! Out:   the stream, in source order, each packet once; news; figures.
//! Never: reads a clock, waits, mixes streams that are not copies of each other.
//!
//! # How copies are recognised
//!
//! *By sequence number*, while every path brings RTP of one SSRC: the number says which packet it is ([`sequence`]).
//!
//! *By content* otherwise: SRT beside SRT, RTP beside SRT, RTP with numbers of their own ([`content`]). Nothing has to be set
//! up; one path leads from the start, and each other one takes part as soon as its packets are found in what is known.
//! RTP paths that turn out to have no numbers in common are merged by content.
//!
//! # Latency
//!
//! It is constant: a packet is given out one `window` after it arrived, or would have arrived, on the path that was there
//! first. So whatever arrives within the window is in time, a path that fails, comes back or lags makes no
//! step in the time of arrival that is handed on, and clocks downstream see one steady delay. The price is a window of latency even
//! while the paths are closer together than that; figures tell their skew, so the window can be set to fit.
//!
//! # What is promised
//!
//! *By sequence number*: if a copy of a packet arrives in its window, the packet is given out once, in the exact order of the source.
//!
//! *By content*: if a copy of a packet arrives in its window on a path that takes part, the packet is given out once, and each PID comes out in
//! the order of the source, with no continuity counter broken. Held by properties in all but about 1 of 250 random cases: `properties` (two copies of which each loses up to 30 %,
//! one by one or up to 30 datagrams in a row, with duplicates, up to 500 ms apart, cut and back with another skew, divided alike or otherwise, with filler) and
//! `lossy` (streams shaped like a multiplexer's, of which each path loses up to a quarter: bursts of pictures, null packets, packets of PCR alone,
//! digital silence, filler; divided alike, otherwise, or anew behind losses; losses that go on right behind a return). Where both paths
//! carry the same datagrams (one encoder, any splitter), these are found out and compared whole, and null packets, tables and filling are exact as well.
//!
//! RTP paths are put in the order of their own numbers first; one that was overtaken is waited for 20 ms. SRT keeps the order by itself.
//!
//! What the bytes leave open is decided by PCR, and then by the times of arrival:
//! * Two datagrams in a row that have no PID in common, each lost by the path that brought the other, may change places: nothing in them
//!   says which was first. No PID has both, so each stays in order, and with it its PCR.
//! * Packets of one PID lost in turns, 16 of them or a multiple on either path: any order is in keeping with their counters. Datagrams
//!   that would be torn apart, and PCR, say which; where no path has its own datagrams any more, arrival.
//! * Packets that look alike: null packets, filler (alike after 16 of its PID, or after 16 datagrams where these are the same), digital silence (alike
//!   after some frames). Between two packets that both paths have, or two PCRs, counters tell which is which. If both paths lose 16 of a row, or null
//!   packets, only arrival tells how many there were, as long as jitter is below half of the time that the row takes until it looks alike. Above, some null
//!   packets are missing or come twice, and beside filler counters may break; so they may for filler beside a path's return.
//! * Beside packets that *both* paths lost, counters say less: nothing more is missing and nothing comes twice, but runs may change places.
//! * **Not exact**: where datagrams were overtaken on a path without RTP numbers (bare UDP), runs may change places, and one that comes behind a burst of
//!   losses may come twice (in about 1 of 30 runs of 6 s with up to 30 % lost and 4 % overtaken).
//! * A source that stands still for longer than the window, both paths losing at that moment: paths must be found again, and what only the first one
//!   to return has may come too late. A start that brings seconds of the stream at once, with parts missing on either path, may come out of order.
//!
//! Where paths are divided otherwise, or datagrams differ:
//! * Null packets are given out as the path has them that brought most between two neighbours. Where no path brought both
//!   neighbours: the larger group of those behind the one and those in front of the other. So there are never more than the
//!   source had, and fewer beside losses (**not exact** where a path has just come back: a few may come twice).
//! * Tables (PIDs below 0x20 and programme maps) come from every path while they correspond one to one, and from one path only where
//!   a multiplexer on the way has moved, repeated or rewritten them.
//! * A packet that a multiplexer sends twice (ISO/IEC 13818-1 §2.4.3.3) is given out once.
//! * Packets marked as damaged (transport_error_indicator) are as good as lost.
//!
//! # What it takes
//!
//! Memory: what arrives on each path within the window, at most 262,144 packets (50 MB, and twice as much to find them by); beyond,
//! packets are given out before their time and counted as overflows. Time: below 1 µs for each packet given out of two copies,
//! 7 % of one core at 100 Mbit/s; beside losses packets are aligned PID by PID between two that
//! both paths have, at most 2^15 pairs of them: below a millisecond.

mod content;
mod figures;
#[cfg(test)]
mod lossy;
#[cfg(test)]
mod mux;
#[cfg(test)]
mod properties;
mod sequence;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use self::content::Content;
use self::sequence::Sequence;
use crate::clock::Now;

pub use self::figures::{Figures, PathFigures, PathState, SkewClass};

/// Most paths of a merge; further ones are ignored.
pub const PATHS_MAX: usize = 8;

/// Most news that waits to be asked for; the oldest goes.
const NEWS_MAX: usize = 256;

/// What a merge is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Number of paths, 1 to [`PATHS_MAX`].
    pub paths: usize,
    /// How long a packet waits for its copies, and so the latency: [`Config::WINDOW_MIN`] to [`Config::WINDOW_MAX`].
    pub window: Duration,
}

impl Config {
    /// Shortest window.
    pub const WINDOW_MIN: Duration = Duration::from_millis(20);
    /// Longest window.
    pub const WINDOW_MAX: Duration = Duration::from_secs(15);
    /// What `recovery_window` is where nothing is said.
    pub const WINDOW_DEFAULT: Duration = Duration::from_millis(200);
}

/// What the RTP header of a datagram says (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Sequence number.
    pub sequence: u16,
    /// Media time, 90 kHz.
    pub timestamp: u32,
}

/// A piece of the merged stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// When it was due: a window after its arrival. Never falls.
    pub arrival: Now,
    /// The path whose copy it is.
    pub path: usize,
    /// The payload of a datagram when merged by sequence number; one packet of 188 bytes when merged by content.
    pub data: Bytes,
}

/// What happened, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// A path takes part.
    Aligned {
        /// Which.
        path: usize,
        /// How much later than the earliest path it is.
        skew: Duration,
    },
    /// A path that took part no longer does: it fell silent, jumped or brings other packets. It is looked for again.
    Unaligned {
        /// Which.
        path: usize,
    },
    /// A path flows, and nothing in it is found in the stream that is given out. It is looked for further on.
    NotTheSame {
        /// Which.
        path: usize,
    },
    /// What was given out so far has ended, and another path's stream follows: a jump.
    Moved {
        /// To which.
        path: usize,
    },
    /// RTP paths have no sequence numbers in common: copies are looked for by content from now on.
    ByContent,
}

/// The merge of one source's paths. Push what arrives, then pop until there is nothing; again at [`Merge::wake_at`].
#[derive(Debug)]
pub struct Merge {
    config: Config,
    start: Option<Now>,
    engine: Engine,
    news: VecDeque<News>,
}

#[derive(Debug)]
enum Engine {
    Sequence(Sequence),
    Content(Box<Content>),
}

/// Microseconds since the first arrival; below 0 for what would have arrived earlier.
type Micros = i64;

impl Merge {
    /// One that has seen nothing. Values of `config` out of range are taken to the nearest that is in range.
    pub fn new(config: Config) -> Self {
        let window = config.window.clamp(Config::WINDOW_MIN, Config::WINDOW_MAX);
        let config = Config { paths: config.paths.clamp(1, PATHS_MAX), window };
        Self { config, start: None, engine: Engine::Sequence(Sequence::new(config)), news: VecDeque::new() }
    }

    /// Takes what arrived on a path: whole or partial TS packets, and the RTP header they came with. Times of arrival may not fall.
    pub fn push(&mut self, path: usize, arrival: Now, rtp: Option<Rtp>, data: &Bytes) {
        if path >= self.config.paths || data.is_empty() {
            return;
        }
        let at = self.micros(arrival);
        if let Engine::Sequence(engine) = &mut self.engine {
            match rtp {
                Some(rtp) if engine.push(path, at, rtp, data, &mut self.news) => {}
                numbered => self.go_by_content(numbered.is_some()),
            }
        }
        if let Engine::Content(engine) = &mut self.engine {
            engine.push(path, at, rtp, data, &mut self.news);
        }
        self.limit_news();
    }

    /// The next piece of the stream that is due.
    pub fn pop(&mut self, now: Now) -> Option<Merged> {
        let now = self.micros(now);
        let piece = match &mut self.engine {
            Engine::Sequence(engine) => engine.pop(now, &mut self.news),
            Engine::Content(engine) => engine.pop(now, &mut self.news),
        };
        self.limit_news();
        piece.map(|(at, path, data)| Merged { arrival: self.instant(at), path, data })
    }

    /// When to pop again although nothing arrives; `None` while nothing waits.
    pub fn wake_at(&self) -> Option<Now> {
        let at = match &self.engine {
            Engine::Sequence(engine) => engine.wake_at(),
            Engine::Content(engine) => engine.wake_at(),
        };
        at.map(|at| self.instant(at))
    }

    /// What happened since it was last asked, oldest first.
    pub fn news(&mut self) -> impl Iterator<Item = News> + '_ {
        self.news.drain(..)
    }

    /// How the paths fare.
    pub fn figures(&self, now: Now) -> Figures {
        let now = self.start.map_or(0, |start| micros_between(start, now));
        match &self.engine {
            Engine::Sequence(engine) => engine.figures(now),
            Engine::Content(engine) => engine.figures(now),
        }
    }

    fn go_by_content(&mut self, told: bool) {
        let Engine::Sequence(engine) = &mut self.engine else { return };
        let waiting = engine.give_up();
        let mut content = Box::new(Content::new(self.config));
        for (at, path, data) in waiting {
            content.push(path, at, None, &data, &mut self.news);
        }
        self.engine = Engine::Content(content);
        if told {
            self.news.push_back(News::ByContent);
        }
    }

    fn limit_news(&mut self) {
        let surplus = self.news.len().saturating_sub(NEWS_MAX);
        self.news.drain(..surplus);
    }

    fn micros(&mut self, at: Now) -> Micros {
        micros_between(*self.start.get_or_insert(at), at)
    }

    /// The instant on the host's steady clock; the wall clock's reading is counted on from the first arrival.
    fn instant(&self, at: Micros) -> Now {
        // Nothing waits before anything has arrived.
        let start = self.start.expect("something has arrived");
        start.after(Duration::from_micros(at.max(0).unsigned_abs()))
    }
}

fn micros_between(start: Now, at: Now) -> Micros {
    Micros::try_from(at.since(start).as_micros()).unwrap_or(Micros::MAX / 4)
}

fn micros_of(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX / 4)
}
