//! The model of a probe: it sees what the world says that a source shows, a moment after the media came.
//!
//! In:    pieces, with what is wrong with their source. Out: words, when they are due.

use std::collections::VecDeque;

use tandem::channel::Generation;
use tandem::config::Condition;
use tandem::media::TrackKind;
use tandem::probe::ipc::{FromProbe, HEARTBEAT_EVERY, Heartbeat, PictureSeen, Seen, SoundSeen, TOLD_EVERY, ToProbe};

/// From the arrival of a piece until it is told what it shows: a picture that waits for those it is reordered with.
const LATENCY_MS: u64 = 120;
/// From its start until its hello.
const STARTS_IN_MS: u64 = 300;

#[derive(Debug, Default)]
struct Source {
    seen: Seen,
    /// What was last seen of pictures, and of sound; of pictures only with the first key frame.
    picture: Option<PictureSeen>,
    sound: Option<SoundSeen>,
    told_ms: u64,
}

/// A probe that runs.
#[derive(Debug)]
pub struct Probe {
    pub generation: Generation,
    sources: Vec<Source>,
    /// When, and what; rising.
    words: VecDeque<(u64, FromProbe)>,
    beats_ms: u64,
    pub hung: bool,
}

impl Probe {
    pub fn new(generation: Generation, sources: usize, ms: u64) -> Self {
        let hello = ms + STARTS_IN_MS;
        let source = |source| Source { seen: Seen { source, ..Seen::default() }, ..Source::default() };
        Self {
            generation,
            sources: (0..).take(sources).map(source).collect(),
            words: VecDeque::from([(hello, FromProbe::Hello)]),
            beats_ms: hello,
            hung: false,
        }
    }

    /// It is told something; `shows`: what is wrong with the source now.
    pub fn hear(&mut self, ms: u64, message: ToProbe, shows: Option<Condition>) {
        let said = (ms + LATENCY_MS).max(self.words.back().map_or(0, |(due, _)| *due));
        match message {
            ToProbe::Job(_) => {}
            ToProbe::Anew { source, session } => {
                let source = &mut self.sources[usize::from(source)];
                *source = Source { seen: Seen { session, ..source.seen }, ..Source::default() };
                source.seen.picture = None;
                source.seen.sound = None;
            }
            ToProbe::Piece(piece) => {
                let source = &mut self.sources[usize::from(piece.source)];
                let since = |before: Option<u64>, condition| {
                    if shows == Some(condition) { before.or(Some(piece.arrival)) } else { None }
                };
                if piece.codec.kind() == TrackKind::Audio {
                    let before = source.sound.unwrap_or_default();
                    let silent_since = since(before.silent_since, Condition::Silent);
                    source.sound = Some(SoundSeen { at: piece.arrival, silent_since, level: -2000 });
                } else if piece.key || source.picture.is_some() {
                    let before = source.picture.unwrap_or_default();
                    source.picture = Some(PictureSeen {
                        at: piece.arrival,
                        black_since: since(before.black_since, Condition::Black),
                        still_since: since(before.still_since, Condition::Frozen),
                        errors_since: since(before.errors_since, Condition::DecoderErrors),
                        errors: before.errors + u64::from(shows == Some(Condition::DecoderErrors)),
                    });
                }
                let seen = Seen { picture: source.picture, sound: source.sound, ..source.seen };
                if states(&seen) != states(&source.seen) || ms >= source.told_ms + TOLD_EVERY.as_millis() as u64 {
                    (source.seen, source.told_ms) = (seen, ms);
                    self.words.push_back((said, FromProbe::Seen(seen)));
                }
            }
        }
    }

    /// What it says by now.
    pub fn step(&mut self, ms: u64) -> Vec<FromProbe> {
        if self.hung {
            return Vec::new();
        }
        let mut said = Vec::new();
        while let Some((_, word)) = self.words.pop_front_if(|(due, _)| *due <= ms) {
            said.push(word);
        }
        if ms >= self.beats_ms + HEARTBEAT_EVERY.as_millis() as u64 {
            self.beats_ms = ms;
            said.push(FromProbe::Heartbeat(Heartbeat::default()));
        }
        said
    }
}

fn states(seen: &Seen) -> [Option<u64>; 4] {
    let (picture, sound) = (seen.picture.unwrap_or_default(), seen.sound.unwrap_or_default());
    [picture.black_since, picture.still_since, picture.errors_since, sound.silent_since]
}
