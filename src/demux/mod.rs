//! TS bytes of one source → items on the source timeline.
//!
//! In:    bytes in any portions; packets of 188, 192 or 204 bytes.
//! Out:   [`Item`]s: the tracks of one programme, its first picture track and first sound track.
//! Never: reads a clock, waits, changes a payload, makes up a picture's timestamp.
//!
//! # What a unit is
//!
//! *Video*: the payload of one PES packet, as it came, with its PTS; where PES packets without a PTS follow, their payload
//! too. It is not promised to begin or end with an access unit: some multiplexers let NAL units overflow into the next
//! packet. A PES packet that states its length ends with its last byte. One that does not (PES_packet_length 0,
//! common for video) ends where the next one begins, *one picture later*: nothing but the next access unit says that this one is whole.
//!
//! *Audio*: one whole frame, cut at its sync word, with a PTS counted in samples from its PES packet's, to the nearest
//! tick. Frames may span PES packets. From its first PES packet with a PTS on, every unit is a function of the stream
//! alone: two demuxes that joined at different moments agree.
//!
//! # Time
//!
//! PTS is unwrapped from 33 bits over all tracks together, beginning with the first value as it stands. Two demuxes that
//! joined on different sides of a wrap differ by a multiple of 2³³. Where a track's times step, units go on as they are stamped, and
//! [`Demux::step`] tells by how much: whether that is a hole or a jump of the source's clock is seen by when it arrives.

mod audio;
mod pes;
mod programme;
mod stamps;
mod video;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use self::audio::AudioFramer;
use self::pes::{Assembler, Pes};
use self::programme::{Chooser, ProgrammeNews};
use self::stamps::{Placed, Stamps};
use crate::media::{Codec, Item, SourceTime, TrackId, TrackInfo, TrackKind, TrackSet, Unit, VideoShape};
use crate::wire::ts::{
    Continuity, Framer, NULL_PID, PACKET_BYTES, PAT_PID, PIDS, Packet, PesHeader, Pmt, Step, codec_of, language_of,
};

/// Most items that wait to be popped. Units that find the queue full are dropped and counted; a caller that pops after
/// each push of less than a megabyte never sees that.
const QUEUE_MAX: usize = 16 * 1024;

/// Most steps that wait to be asked for; of more the oldest are forgotten. One portion of bytes holds fewer packets.
const STEPS_MAX: usize = 1024;

/// Longest PES packet of sound, bytes. Only pictures may leave their length open (ISO/IEC 13818-1 §2.4.3.7), so 64 KiB and a
/// header suffice; twice that for those who do it nevertheless.
const SOUND_PES_BYTES_MAX: usize = 128 * 1024;

/// A time that steps by more, ticks, in a header of which bits may be wrong is not believed: one second.
const SUSPECT_STEP: i64 = 90_000;

/// What a demux is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Programme number to take. `None`: the first in the PAT with a decodable track, else the first.
    pub program: Option<u16>,
    /// Give units of every decodable audio track, not only of the first.
    pub all_audio: bool,
    /// Longest PES packet, bytes; longer ones are dropped and counted.
    pub pes_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        // An intra picture of a 100 Mbit/s contribution feed is below 1 MB.
        Self { program: None, all_audio: false, pes_bytes_max: 4 << 20 }
    }
}

/// What a demux has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets, null packets included.
    pub packets: u64,
    /// Bytes that belonged to no packet.
    pub discarded_bytes: u64,
    /// Times the sync byte was not where it had to be.
    pub sync_losses: u64,
    /// Packets whose header makes no sense.
    pub bad_packets: u64,
    /// Packets with transport_error_indicator.
    pub transport_errors: u64,
    /// Holes in the continuity counter of any PID (ETSI TR 101 290 1.4).
    pub continuity_errors: u64,
    /// Packets sent twice, as is allowed.
    pub duplicates: u64,
    /// Packets of chosen tracks that are scrambled; they are dropped.
    pub scrambled: u64,
    /// Sections of PAT and PMT with a wrong checksum.
    pub crc_errors: u64,
    /// Sections of PAT and PMT that are malformed otherwise.
    pub psi_errors: u64,
    /// PES packets whose header or length is wrong.
    pub pes_errors: u64,
    /// PES packets dropped because they are longer than [`Config::pes_bytes_max`].
    pub pes_too_long: u64,
    /// Bytes of audio that belong to no frame.
    pub audio_bytes_skipped: u64,
    /// PES packets whose time is not the one that should have come next on their track: jumps and holes.
    pub steps: u64,
    /// Items dropped because nobody popped.
    pub items_dropped: u64,
}

/// Where a track's times step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeStep {
    /// By how many ticks of 90 kHz its time is ahead of the one that should have come; below 0 it went back.
    pub by: i64,
    /// The stream said that a new time base begins (discontinuity_indicator).
    pub announced: bool,
}

/// The demux of one source. Push bytes, then pop until there is nothing.
#[derive(Debug)]
pub struct Demux {
    framer: Framer,
    core: Core,
}

impl Demux {
    /// One that has seen nothing.
    pub fn new(config: Config) -> Self {
        Self { framer: Framer::default(), core: Core::new(config) }
    }

    /// Takes bytes, in portions of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.framer.feed(rest);
            self.drain();
        }
    }

    /// Nothing more will come: closes what waits for its end. [`Item::End`] is left to the caller, who knows whether
    /// the source is over or only its connection.
    pub fn flush(&mut self) {
        self.framer.end();
        self.drain();
        if let Some(news) = self.core.chooser.end() {
            self.core.apply(news);
        }
        self.core.finish(|_| true);
    }

    /// The next item, in stream order.
    pub fn pop(&mut self) -> Option<Item<SourceTime>> {
        let item = self.core.out.queue.pop_front()?;
        self.core.out.popped += 1;
        Some(item)
    }

    /// Whether the track's times step with the unit popped last, which is of this track.
    pub fn step(&mut self, track: TrackId) -> Option<TimeStep> {
        let out = &mut self.core.out;
        let at = out.steps.iter().position(|(from, id, _)| *id == track && *from < out.popped)?;
        out.steps.remove(at).map(|(_, _, step)| step)
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        let framing = Stats {
            discarded_bytes: self.framer.discarded(),
            sync_losses: self.framer.losses(),
            ..self.core.out.stats
        };
        Stats { audio_bytes_skipped: self.core.audio_bytes_skipped(), ..framing }
    }

    /// Packets are being found.
    pub fn locked(&self) -> bool {
        self.framer.locked()
    }

    /// Number of the chosen programme.
    pub fn programme(&self) -> Option<u16> {
        self.core.chooser.chosen()
    }

    /// The tracks of the chosen programme as last sent.
    pub fn tracks(&self) -> Option<&Arc<TrackSet>> {
        self.core.out.sent.as_ref()
    }

    /// The last clock reference of the chosen programme, 27 MHz ticks, below 2³³ · 300.
    pub fn pcr(&self) -> Option<u64> {
        self.core.pcr
    }

    /// Bytes held back: less than a packet, unfinished sections, PES packets and audio frames. Items not popped come on top.
    pub fn buffered_bytes(&self) -> usize {
        let tracks: usize = self.core.active.iter().map(Active::buffered).sum();
        self.framer.buffered() + self.core.chooser.buffered() + tracks
    }

    fn drain(&mut self) {
        while let Some(packet) = self.framer.next() {
            self.core.packet(packet);
        }
    }
}

/// What packets of a PID are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Nothing,
    Tables,
    /// Place in [`Core::active`].
    Track(u8),
}

#[derive(Debug)]
struct Core {
    config: Config,
    continuity: Box<[Continuity]>,
    roles: Box<[Role]>,
    chooser: Chooser,
    pcr_pid: u16,
    pcr: Option<u64>,
    /// Formats as the PMT declares them, by PID; the streams themselves may know better.
    declared: Vec<(TrackId, Codec)>,
    active: Vec<Active>,
    stamps: Stamps,
    /// Bytes skipped by audio tracks that are gone.
    skipped_before: u64,
    out: Output,
}

/// A track whose units are given out.
#[derive(Debug)]
struct Active {
    id: TrackId,
    declared: Codec,
    assembler: Assembler,
    media: Media,
    /// The time base may jump with the next PES packet: the discontinuity_indicator said so.
    announced: bool,
    /// Payload of the packet before, to tell a duplicate from a hole of 15 packets.
    last: LastPayload,
}

#[derive(Debug)]
enum Media {
    /// PTS of the unit before, for PES packets without one.
    Video {
        last: Option<SourceTime>,
    },
    Audio(AudioFramer),
}

impl Active {
    fn buffered(&self) -> usize {
        let frames = if let Media::Audio(framer) = &self.media { framer.buffered() } else { 0 };
        self.assembler.buffered() + frames
    }
}

/// A copy of one packet's payload.
#[derive(Debug)]
struct LastPayload {
    bytes: [u8; PACKET_BYTES],
    len: usize,
}

impl LastPayload {
    const NONE: Self = Self { bytes: [0; PACKET_BYTES], len: 0 };

    /// Whether it is the same as the one before; it is remembered in any case.
    fn repeats(&mut self, payload: &[u8]) -> bool {
        let same = self.bytes[..self.len] == *payload;
        if !same {
            self.len = payload.len();
            self.bytes[..self.len].copy_from_slice(payload);
        }
        same
    }
}

/// Where items and counts go.
#[derive(Debug, Default)]
struct Output {
    queue: VecDeque<Item<SourceTime>>,
    stats: Stats,
    tracks: TrackSet,
    sent: Option<Arc<TrackSet>>,
    /// Items put in and taken out.
    put: u64,
    popped: u64,
    /// Steps, each with the number of items before it.
    steps: VecDeque<(u64, TrackId, TimeStep)>,
}

impl Output {
    fn unit(&mut self, unit: Unit<SourceTime>) {
        self.put(QUEUE_MAX, Item::Unit(unit));
    }

    fn step(&mut self, track: TrackId, step: TimeStep) {
        self.stats.steps += 1;
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back((self.put, track, step));
    }

    /// News may still come where units may not.
    fn news(&mut self, item: Item<SourceTime>) {
        self.put(2 * QUEUE_MAX, item);
    }

    fn put(&mut self, max: usize, item: Item<SourceTime>) {
        if self.queue.len() < max {
            self.queue.push_back(item);
            self.put += 1;
        } else {
            self.stats.items_dropped += 1;
        }
    }

    /// Sends the tracks if they are not as last sent.
    fn send_tracks(&mut self) {
        if self.sent.as_deref() != Some(&self.tracks) {
            let tracks = Arc::new(self.tracks.clone());
            self.sent = Some(tracks.clone());
            self.news(Item::Tracks(tracks));
        }
    }

    fn learn(&mut self, id: TrackId, what: impl FnOnce(&mut TrackInfo)) {
        if let Some(track) = self.tracks.tracks.iter_mut().find(|t| t.id == id) {
            what(track);
            self.send_tracks();
        }
    }
}

impl Core {
    fn new(config: Config) -> Self {
        let mut roles = vec![Role::Nothing; PIDS].into_boxed_slice();
        roles[usize::from(PAT_PID)] = Role::Tables;
        Self {
            chooser: Chooser::new(config.program),
            config,
            continuity: vec![Continuity::default(); PIDS].into_boxed_slice(),
            roles,
            pcr_pid: NULL_PID,
            pcr: None,
            declared: Vec::new(),
            active: Vec::new(),
            stamps: Stamps::default(),
            skipped_before: 0,
            out: Output::default(),
        }
    }

    fn packet(&mut self, bytes: &[u8; PACKET_BYTES]) {
        let stats = &mut self.out.stats;
        stats.packets += 1;
        let Ok(packet) = Packet::parse(bytes) else {
            stats.bad_packets += 1;
            return;
        };
        if packet.error {
            stats.transport_errors += 1;
        }
        if packet.pid == NULL_PID {
            return;
        }
        let place = usize::from(packet.pid);
        let step = self.continuity[place].step(&packet);
        // Behind the error flag any bit may be wrong, the counter's too.
        let step = if packet.error { Step::Follows } else { step };
        if packet.pid == self.pcr_pid && !packet.error {
            self.clock(&packet);
        }
        match self.roles[place] {
            Role::Nothing => match step {
                Step::Follows => {}
                Step::Repeats => self.out.stats.duplicates += 1,
                Step::Stands | Step::Jumps => self.out.stats.continuity_errors += 1,
            },
            Role::Tables => {
                if let Some(news) = self.chooser.packet(&packet, step, &mut self.out.stats) {
                    self.apply(news);
                }
            }
            Role::Track(track) => self.media_packet(usize::from(track), &packet, step),
        }
    }

    fn clock(&mut self, packet: &Packet<'_>) {
        self.pcr = packet.pcr.or(self.pcr);
        if packet.discontinuity {
            for track in &mut self.active {
                track.announced = true;
            }
        }
    }

    fn media_packet(&mut self, place: usize, packet: &Packet<'_>, step: Step) {
        let track = &mut self.active[place];
        let stats = &mut self.out.stats;
        let same = packet.payload.is_some_and(|p| track.last.repeats(p));
        match step {
            Step::Follows => {}
            Step::Repeats if same => {
                stats.duplicates += 1;
                return;
            }
            Step::Stands if same => {
                stats.continuity_errors += 1;
                return;
            }
            // Equal counters over different bytes: 15 packets are missing.
            Step::Repeats | Step::Stands | Step::Jumps => {
                stats.continuity_errors += 1;
                track.assembler.hole();
            }
        }
        let Some(payload) = packet.payload else { return };
        if packet.scrambled {
            stats.scrambled += 1;
            return track.assembler.hole();
        }
        if packet.error {
            track.assembler.hole();
        }
        let goes_on = if packet.starts { track.assembler.continues_at(payload) } else { Some(0) };
        let payload = match goes_on {
            Some(from) => &payload[from..],
            None => {
                let before = track.assembler.finish(stats);
                let announced = std::mem::take(&mut track.announced);
                track.assembler.begin(announced, packet.error);
                let behind = PesHeader::parse(payload).ok().and_then(|header| payload.get(header.header_bytes..));
                let whole = step == Step::Follows
                    && !packet.error
                    && behind.is_some_and(|behind| video::is_delimiter(track.declared, behind));
                self.take(place, before, whole);
                payload
            }
        };
        let stats = &mut self.out.stats;
        let whole = self.active[place].assembler.push(payload, stats);
        self.take(place, whole, false);
    }

    /// A PES packet is whole: find its place in time and give out what is in it. `delimited`: behind it comes an access unit delimiter.
    fn take(&mut self, place: usize, pes: Option<Pes>, delimited: bool) {
        let Some(pes) = pes else { return };
        let id = self.active[place].id;
        let pts = match pes.header.pts {
            None => None,
            Some(pts) => {
                let dts = pes.header.dts;
                if pes.header_suspect && self.stamps.step(id, pts, dts).abs() > SUSPECT_STEP {
                    self.out.stats.pes_errors += 1;
                    return;
                }
                let Placed { at, step } = self.stamps.place(id, pts, dts);
                if step != 0 {
                    self.out.step(id, TimeStep { by: step, announced: pes.announced });
                }
                Some(at)
            }
        };
        let track = &mut self.active[place];
        match &mut track.media {
            Media::Video { last } => {
                *last = pts.or(*last);
                if let Some(pts) = *last {
                    video::give(&mut self.out, id, track.declared, pts, pes, delimited);
                }
            }
            Media::Audio(framer) => framer.push(pts, pes, &mut self.out, id),
        }
    }

    /// Closes the tracks that `which` names.
    fn finish(&mut self, which: impl Fn(TrackId) -> bool) {
        for place in 0..self.active.len() {
            if which(self.active[place].id) {
                let last = self.active[place].assembler.finish(&mut self.out.stats);
                self.take(place, last, false);
            }
        }
    }

    fn apply(&mut self, news: ProgrammeNews) {
        match news {
            ProgrammeNews::Listen => {}
            ProgrammeNews::Map(pmt) => self.map(&pmt),
        }
        self.roles.fill(Role::Nothing);
        self.roles[usize::from(PAT_PID)] = Role::Tables;
        for pid in self.chooser.map_pids() {
            self.roles[usize::from(pid)] = Role::Tables;
        }
        for (place, track) in self.active.iter().enumerate() {
            self.roles[usize::from(track.id.0)] = Role::Track(place as u8);
        }
    }

    /// The programme's map is new or has changed. Tracks that stay keep what they are in the middle of.
    fn map(&mut self, pmt: &Pmt) {
        self.pcr_pid = pmt.pcr_pid;
        let mut declared: Vec<(TrackId, Codec)> = Vec::new();
        let mut tracks = Vec::new();
        for stream in &pmt.streams {
            let (id, codec) = (TrackId(stream.pid), codec_of(stream));
            if declared.iter().any(|&(known, _)| known == id) {
                continue;
            }
            declared.push((id, codec));
            let known = self.out.tracks.get(id).filter(|_| self.declared.contains(&(id, codec)));
            let (codec, shape) = known.map_or((codec, None), |k| (k.codec, k.shape));
            tracks.push(TrackInfo { id, codec, language: language_of(stream), shape });
        }
        let wanted = self.wanted(&declared);
        self.finish(|id| !wanted.iter().any(|&(w, _)| w == id));
        self.declared = declared;
        self.out.tracks = TrackSet { tracks };
        self.out.send_tracks();
        let mut before = std::mem::take(&mut self.active);
        for (id, codec) in wanted {
            let stays = before.iter().position(|a| (a.id, a.declared) == (id, codec)).map(|at| before.swap_remove(at));
            self.active.push(stays.unwrap_or_else(|| self.activate(id, codec)));
        }
        for gone in before {
            self.skipped_before += gone.media.skipped();
            self.stamps.forget(gone.id);
        }
    }

    /// The tracks whose units are given out.
    fn wanted(&self, declared: &[(TrackId, Codec)]) -> Vec<(TrackId, Codec)> {
        let of = |kind| declared.iter().copied().filter(move |(_, codec)| codec.kind() == kind);
        let sound = if self.config.all_audio { 64 } else { 1 };
        of(TrackKind::Video).take(1).chain(of(TrackKind::Audio).take(sound)).collect()
    }

    fn activate(&self, id: TrackId, codec: Codec) -> Active {
        let video = codec.kind() == TrackKind::Video;
        let max = if video { self.config.pes_bytes_max } else { self.config.pes_bytes_max.min(SOUND_PES_BYTES_MAX) };
        Active {
            id,
            declared: codec,
            assembler: Assembler::new(max, video),
            media: if video { Media::Video { last: None } } else { Media::Audio(AudioFramer::new(codec)) },
            announced: false,
            last: LastPayload::NONE,
        }
    }

    fn audio_bytes_skipped(&self) -> u64 {
        self.skipped_before + self.active.iter().map(|a| a.media.skipped()).sum::<u64>()
    }
}

impl Media {
    fn skipped(&self) -> u64 {
        if let Self::Audio(framer) = self { framer.skipped() } else { 0 }
    }
}

/// Kept apart from [`Output::learn`] because most units have none.
fn learn_shape(out: &mut Output, id: TrackId, shape: Option<VideoShape>) {
    if shape.is_some() {
        out.learn(id, |track| track.shape = shape);
    }
}
