//! One programme's clock: what is wrong with its PCR, and how it arrives.
//!
//! In:    each PCR with the number of its packet and its arrival.
//! Out:   verdicts of ETSI TR 101 290 2.3 and 2.4; jitter and drift against arrival.
//! Never: takes a network's jitter for the encoder's fault: 2.3 and 2.4 are told by the stream alone.

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::{HZ, PCR_WRAP};
use crate::clock::Now;

/// Ticks between two PCR at most: 100 ms (2.3).
const STEP_MAX: u64 = HZ / 10;
/// Ticks a PCR may be wrong: 500 ns (2.4).
const ACCURACY: f64 = HZ as f64 * 500e-9;

/// PCR that a line is laid through.
const FIT: usize = 32;
/// From so many on it is believed.
const FIT_MIN: usize = 16;
/// A PCR that is off by more than this share of the interval before it speaks of a bit rate that is not constant.
const CONSTANT: f64 = 0.005;
/// So many in a row that lie off the line by much the same lie on another one: packets were taken out or put in.
const SHIFTED: u8 = 4;

/// What is wrong with a PCR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// 2.3a
    pub late: bool,
    /// 2.3b
    pub jumped: bool,
    /// 2.4
    pub wrong: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    pcr: u64,
    packet: u64,
    at: Now,
}

/// The clock of one programme.
#[derive(Debug)]
pub(super) struct Clock {
    pub pid: u16,
    last: Option<Seen>,
    /// Ticks and packets of the interval before.
    step: Option<(u64, u64)>,
    fit: Fit,
    pub arrival: Arrival,
    /// A PCR came since the last tick.
    heard: bool,
}

impl Clock {
    pub fn new(pid: u16) -> Self {
        Self { pid, last: None, step: None, fit: Fit::default(), arrival: Arrival::default(), heard: true }
    }

    /// Takes a PCR.
    pub fn pcr(&mut self, packet: u64, now: Now, pcr: u64, announced: bool) -> Verdict {
        self.heard = true;
        let before = self.last.replace(Seen { pcr, packet, at: now });
        let Some(before) = before.filter(|_| !announced) else {
            self.restart(now);
            return Verdict::default();
        };
        let step = (pcr + PCR_WRAP - before.pcr) % PCR_WRAP;
        let packets = packet - before.packet;
        let mut verdict = Verdict::default();
        if step > STEP_MAX {
            // A hole in the PCR, or a jump: did as much time pass as it says?
            let passed = u64::try_from(now.since(before.at).as_nanos() * 27 / 1000).unwrap_or(u64::MAX);
            let counted = self.step.map_or(0, |(ticks, of)| packets.saturating_mul(ticks) / of);
            let near = |time: u64| step.abs_diff(time) <= (step / 4).max(HZ / 20);
            verdict.late = near(passed) || near(counted);
            verdict.jumped = !verdict.late;
        }
        if verdict.jumped {
            self.restart(now);
            return verdict;
        }
        verdict.wrong = self.fit.add(step, packets);
        self.step = (packets > 0 && step > 0).then_some((step, packets));
        self.arrival.add(now, step);
        verdict
    }

    /// Packets are missing: what was counted in packets holds no more.
    pub fn hole(&mut self) {
        self.fit = Fit::default();
    }

    /// A second is over in which packets came. Whether none of them had a PCR.
    pub fn tick(&mut self, now: Now) -> bool {
        self.arrival.tick(now);
        let absent = !std::mem::take(&mut self.heard);
        if absent {
            // It has been counted; what comes next does not count it again.
            self.last = None;
        }
        absent
    }

    fn restart(&mut self, now: Now) {
        self.step = None;
        self.fit = Fit::default();
        self.arrival.restart(now);
    }
}

/// A line through the last PCR over the packets, where the bit rate is constant.
#[derive(Debug, Default)]
struct Fit {
    /// Packets and ticks from the first one on.
    points: VecDeque<(f64, f64)>,
    at: (f64, f64),
    /// How far off the last ones lay, and how many in a row.
    off: (f64, u8),
}

impl Fit {
    /// Adds a PCR so many ticks and packets behind the one before. Whether it is wrong.
    fn add(&mut self, ticks: u64, packets: u64) -> bool {
        if packets == 0 {
            return false;
        }
        let before = self.at;
        self.at = (before.0 + packets as f64, before.1 + ticks as f64);
        if self.points.len() < 2 {
            self.points.push_back(self.at);
            return false;
        }
        let expected = self.line();
        let error = self.at.1 - expected(self.at.0);
        if error.abs() > CONSTANT * (ticks as f64).max(expected(self.at.0) - expected(before.0)) {
            *self = Self { points: VecDeque::from([self.at]), at: self.at, off: (0.0, 0) };
            return false;
        }
        if self.points.len() < FIT_MIN || error.abs() <= ACCURACY {
            self.off.1 = 0;
            if self.points.len() == FIT {
                self.points.pop_front();
            }
            self.points.push_back(self.at);
            return false;
        }
        // Not put on the line: one that is wrong must not make its neighbours seem so.
        self.off.1 = if (error - self.off.0).abs() <= 2.0 * ACCURACY { self.off.1 + 1 } else { 1 };
        self.off.0 = error;
        if self.off.1 == SHIFTED {
            *self = Self { points: VecDeque::from([self.at]), at: self.at, off: (0.0, 0) };
        }
        true
    }

    /// Ticks by packets, by least squares.
    fn line(&self) -> impl Fn(f64) -> f64 + use<> {
        let n = self.points.len() as f64;
        let (sx, sy) = self.points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        let (mx, my) = (sx / n, sy / n);
        let over = self.points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>();
        let under = self.points.iter().map(|p| (p.0 - mx) * (p.0 - mx)).sum::<f64>();
        let slope = if under > 0.0 { over / under } else { 0.0 };
        move |x| my + slope * (x - mx)
    }
}

/// Jitter is told over so many seconds.
const JITTER_OVER: usize = 10;
/// Drift is told over at most so many seconds,
const DRIFT_OVER: usize = 300;
/// and not before so many.
const DRIFT_MIN: usize = 60;

/// How a clock arrives: arrival − PCR, over time.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// When it began, and ticks of PCR since.
    began: Option<(Now, u64)>,
    /// Smallest and greatest of this second, ms.
    here: Option<(f64, f64)>,
    seconds: VecDeque<(f64, f64)>,
    /// Seconds since it began and the smallest of that second: packets come late, but never early.
    drift: VecDeque<(f64, f64)>,
}

impl Arrival {
    fn restart(&mut self, now: Now) {
        *self = Self { began: Some((now, 0)), ..Self::default() };
    }

    fn add(&mut self, now: Now, step: u64) {
        let Some((began, ticks)) = &mut self.began else { return };
        *ticks += step;
        let late = now.since(*began).as_secs_f64() * 1000.0 - *ticks as f64 / (HZ as f64 / 1000.0);
        let (low, high) = self.here.unwrap_or((late, late));
        self.here = Some((low.min(late), high.max(late)));
    }

    fn tick(&mut self, now: Now) {
        let (Some((began, _)), Some(here)) = (self.began, self.here.take()) else { return };
        if self.seconds.len() == JITTER_OVER {
            self.seconds.pop_front();
        }
        self.seconds.push_back(here);
        if self.drift.len() == DRIFT_OVER {
            self.drift.pop_front();
        }
        self.drift.push_back((now.since(began).as_secs_f64(), here.0));
    }

    /// From the earliest to the latest PCR over the last seconds; `None` before the first is over.
    pub fn jitter(&self) -> Option<Duration> {
        let low = self.seconds.iter().map(|s| s.0).reduce(f64::min)?;
        let high = self.seconds.iter().map(|s| s.1).reduce(f64::max)?;
        Some(Duration::from_secs_f64(((high - low) / 1000.0).max(0.0)))
    }

    /// By how much the clock is slow, in millionths; below 0 it is fast. `None` in its first minute.
    pub fn drift_ppm(&self) -> Option<f64> {
        if self.drift.len() < DRIFT_MIN {
            return None;
        }
        let n = self.drift.len() as f64;
        let (sx, sy) = self.drift.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        let (mx, my) = (sx / n, sy / n);
        let over: f64 = self.drift.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
        let under: f64 = self.drift.iter().map(|p| (p.0 - mx) * (p.0 - mx)).sum();
        // Milliseconds a second are thousandths.
        (under > 0.0).then(|| over / under * 1000.0)
    }
}
