//! When and how pipelines change source.

use std::time::Duration;

/// When and how pipelines change source.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// Silence after which the next source takes over. Default 200 ms.
    pub loss_after: Duration,
    /// How much of each source is kept, so that a key frame is at hand at once. Default 4 s.
    pub join_buffer: Duration,
    /// When to go back to a preferred source.
    pub revert: Revert,
    /// Whether the order of a pipeline's sources counts.
    pub order: SourceOrder,
    /// No change of source within this time of the last one, unless the source on air goes silent; and as long a source
    /// must have been well before it is gone back to. Default: the time of `revert`, or 10 s.
    pub hold_down: Duration,
    /// What else a source is left for; nothing where not said.
    pub conditions: Vec<Limits>,
    /// What black, frozen and silent mean.
    pub content: Content,
}

impl Failover {
    /// The usual values around these.
    pub fn new(loss_after: Duration, join_buffer: Duration, revert: Revert) -> Self {
        let hold_down = match revert {
            Revert::Never => HOLD_DOWN,
            Revert::After(well) => well,
        };
        Self {
            loss_after,
            join_buffer,
            revert,
            order: SourceOrder::Preferred,
            hold_down,
            conditions: Vec::new(),
            content: Content::default(),
        }
    }
}

/// What is black, frozen and silent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Content {
    /// A point is dark up to this share of the way from black to white. Default 0.1.
    pub dark_level: f32,
    /// A picture is black where so much of it is dark, 0 to 1. Default 0.98.
    pub dark_share: f32,
    /// An area has changed where its brightness has, by more than this share of the way from black to white. Default 0.02.
    pub change: f32,
    /// Sound whose loudest channel is below is silence, RMS, dBFS. Default −50.
    pub silence: f32,
}

impl Default for Content {
    fn default() -> Self {
        // Level and share as ffmpeg's blackdetect has them, silence as MediaLive's automatic input failover has it.
        Self { dark_level: 0.1, dark_share: 0.98, change: 0.02, silence: -50.0 }
    }
}

/// Hold-down where nothing says otherwise.
const HOLD_DOWN: Duration = Duration::from_secs(10);

/// Whether the order of a pipeline's sources counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceOrder {
    /// The first one that is well is the best.
    #[default]
    Preferred,
    /// The one with the best score is the best, and nobody is gone back to.
    Equal,
}

/// What may be wrong with a source that flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It has a video track, and no picture comes.
    NoVideo,
    /// It has an audio track, and no sound comes.
    NoAudio,
    /// Packets are not found in what comes.
    SyncLoss,
    /// Packets are missing.
    Continuity,
    /// A PID of its programme is missing (ETSI TR 101 290 1.6).
    Pid,
    /// Its PCR is late or jumps (2.3).
    Pcr,
    /// Its pictures are black.
    Black,
    /// Its pictures stand still.
    Frozen,
    /// Its sound is silence.
    Silent,
    /// Its pictures cannot be decoded without errors.
    DecoderErrors,
}

impl Condition {
    /// All of them, the worst first.
    pub const ALL: [Self; 10] = [
        Self::SyncLoss,
        Self::NoVideo,
        Self::Black,
        Self::Frozen,
        Self::NoAudio,
        Self::DecoderErrors,
        Self::Silent,
        Self::Continuity,
        Self::Pid,
        Self::Pcr,
    ];

    /// It is told in numbers a second, not as a state.
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::Continuity | Self::Pid | Self::Pcr)
    }

    /// It is seen or heard only in decoded pictures or sound.
    pub const fn is_content(self) -> bool {
        matches!(self, Self::Black | Self::Frozen | Self::Silent | Self::DecoderErrors)
    }
}

/// When a condition counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Which.
    pub condition: Condition,
    /// It must last so long.
    pub after: Duration,
    /// It must be away so long to be over.
    pub clear: Duration,
    /// Of errors: so many within a second.
    pub per_second: u64,
}

impl Limits {
    /// The usual values.
    pub const fn usual(condition: Condition) -> Self {
        let (after, per_second) = match condition {
            Condition::SyncLoss => (Duration::from_millis(500), 1),
            Condition::NoVideo | Condition::NoAudio => (Duration::from_secs(1), 1),
            Condition::Continuity => (Duration::from_secs(2), 5),
            Condition::DecoderErrors => (Duration::from_secs(2), 1),
            // The report counts a PID that stays away once in 5 s.
            Condition::Pid => (Duration::from_secs(1), 1),
            Condition::Pcr => (Duration::from_secs(3), 1),
            Condition::Black => (Duration::from_secs(2), 1),
            Condition::Frozen | Condition::Silent => (Duration::from_secs(5), 1),
        };
        Self { condition, after, clear: Duration::from_secs(5), per_second }
    }
}

/// When to go back to a preferred source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revert {
    /// Stay until the one on air fails.
    Never,
    /// After the preferred source has been well for so long.
    After(Duration),
}
