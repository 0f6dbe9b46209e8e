//! The indicators of ETSI TR 101 290 §5.2, first and second priority, and their counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// An indicator is over when it has not been counted for so long.
pub const CLEARS_AFTER: Duration = Duration::from_secs(5);

/// What may be wrong with a transport stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Indicator {
    /// 1.1: two sync bytes in a row were wrong, or packets are not found at all.
    TsSyncLoss,
    /// 1.2: a sync byte was wrong.
    SyncByteError,
    /// 1.3: no PAT for 0.5 s, or something else on its PID, or scrambled.
    PatError,
    /// 1.4: packets are missing, out of order, or there more than twice.
    ContinuityCountError,
    /// 1.5: a PMT did not come for 0.5 s, or scrambled.
    PmtError,
    /// 1.6: a PID of pictures or sound that a PMT names did not come for 5 s.
    PidError,
    /// 2.1: transport_error_indicator.
    TransportError,
    /// 2.2: the checksum of a table is wrong.
    CrcError,
    /// 2.3a: more than 100 ms without a PCR.
    PcrRepetitionError,
    /// 2.3b: PCR stepped by less than 0 or more than 100 ms, unannounced.
    PcrDiscontinuityError,
    /// 2.4: a PCR is wrong by more than 500 ns. It can only be told where the bit rate is constant.
    PcrAccuracyError,
    /// 2.5: more than 700 ms without a PTS on a PID of pictures or sound.
    PtsError,
    /// 2.6: scrambled packets without a CAT, or something else on its PID.
    CatError,
}

impl Indicator {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 13] = [
        Self::TsSyncLoss,
        Self::SyncByteError,
        Self::PatError,
        Self::ContinuityCountError,
        Self::PmtError,
        Self::PidError,
        Self::TransportError,
        Self::CrcError,
        Self::PcrRepetitionError,
        Self::PcrDiscontinuityError,
        Self::PcrAccuracyError,
        Self::PtsError,
        Self::CatError,
    ];

    /// Its number in the report.
    pub const fn clause(self) -> &'static str {
        match self {
            Self::TsSyncLoss => "1.1",
            Self::SyncByteError => "1.2",
            Self::PatError => "1.3",
            Self::ContinuityCountError => "1.4",
            Self::PmtError => "1.5",
            Self::PidError => "1.6",
            Self::TransportError => "2.1",
            Self::CrcError => "2.2",
            Self::PcrRepetitionError => "2.3a",
            Self::PcrDiscontinuityError => "2.3b",
            Self::PcrAccuracyError => "2.4",
            Self::PtsError => "2.5",
            Self::CatError => "2.6",
        }
    }

    /// Its name in metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TsSyncLoss => "ts-sync-loss",
            Self::SyncByteError => "sync-byte-error",
            Self::PatError => "pat-error",
            Self::ContinuityCountError => "continuity-count-error",
            Self::PmtError => "pmt-error",
            Self::PidError => "pid-error",
            Self::TransportError => "transport-error",
            Self::CrcError => "crc-error",
            Self::PcrRepetitionError => "pcr-repetition-error",
            Self::PcrDiscontinuityError => "pcr-discontinuity-error",
            Self::PcrAccuracyError => "pcr-accuracy-error",
            Self::PtsError => "pts-error",
            Self::CatError => "cat-error",
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::TsSyncLoss => "packets are not found any more",
            Self::SyncByteError => "wrong sync bytes",
            Self::PatError => "no PAT for 0.5 s, or a wrong one",
            Self::ContinuityCountError => "packets are missing or out of order",
            Self::PmtError => "a PMT did not come for 0.5 s, or is scrambled",
            Self::PidError => "a PID that a PMT names did not come for 5 s",
            Self::TransportError => "packets are marked as damaged",
            Self::CrcError => "the checksum of a table is wrong",
            Self::PcrRepetitionError => "more than 100 ms without a PCR",
            Self::PcrDiscontinuityError => "PCR jumped unannounced",
            Self::PcrAccuracyError => "PCR is wrong by more than 500 ns",
            Self::PtsError => "more than 700 ms without a PTS",
            Self::CatError => "scrambled packets without a CAT, or a wrong one",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// An indicator began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// Which.
    pub indicator: Indicator,
    /// It is there; else it is over.
    pub active: bool,
    /// Where, if it belongs to a PID.
    pub pid: Option<u16>,
    /// How often it was counted since it began.
    pub count: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    count: u64,
    last: Option<Now>,
    pid: Option<u16>,
    /// Count before it became active; `None`: it is not.
    active: Option<u64>,
    told: bool,
}

/// Counts of all indicators of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally([Entry; Indicator::ALL.len()]);

impl Tally {
    /// Counts one.
    pub fn add(&mut self, now: Now, indicator: Indicator, pid: Option<u16>) {
        let entry = &mut self.0[indicator.index()];
        entry.active = entry.active.or(Some(entry.count));
        entry.count += 1;
        entry.last = Some(now);
        entry.pid = pid;
    }

    /// How often it was counted.
    pub fn count(&self, indicator: Indicator) -> u64 {
        self.0[indicator.index()].count
    }

    /// What has begun since the last call, and what is over.
    pub fn news(&mut self, now: Now) -> Vec<News> {
        let mut news = Vec::new();
        for (entry, indicator) in self.0.iter_mut().zip(Indicator::ALL) {
            let (Some(before), Some(last)) = (entry.active, entry.last) else { continue };
            let mut say = |active| {
                news.push(News { indicator, active, pid: entry.pid, count: entry.count - before });
            };
            if !entry.told {
                say(true);
                entry.told = true;
            } else if now.since(last) >= CLEARS_AFTER {
                say(false);
                (entry.active, entry.told) = (None, false);
            }
        }
        news
    }

    /// All of them, in the order of the report.
    pub fn all(&self) -> impl Iterator<Item = super::IndicatorStatus> {
        self.0.iter().zip(Indicator::ALL).map(|(entry, indicator)| super::IndicatorStatus {
            indicator,
            clause: indicator.clause().to_owned(),
            count: entry.count,
            active: entry.active.is_some(),
            last_ms: entry.last.map(|at| u64::try_from(at.utc.as_millis()).unwrap_or(u64::MAX)),
            pid: entry.pid,
        })
    }
}
