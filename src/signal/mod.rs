//! The test signal: pictures and sound that say who they are.
//!
//! In:    the wall clock, settings.
//! Out:   MPEG-TS with H.264 and AAC, the same bytes to any number of destinations, or several encodings of one picture.
//! Never: shares a line with the packager or the demux it helps to judge.
//!
//! Everything in the signal follows from UTC: picture *k* is the one shown at *k* ÷ rate seconds after the Unix epoch, it
//! carries *k* in its [`code`], and its PTS is that time in 90 kHz ticks. Two processes that run at the same moment
//! therefore agree without talking, also after a restart. `docs/measuring.md` describes the format.

pub mod code;
pub mod tone;

mod chain;
mod destination;
mod font;
mod options;
mod picture;
mod restamp;

use std::time::Duration;

use tracing::info;

use crate::child;
use crate::clock;
use crate::media::FrameRate;
use chain::Chain;
use picture::Painter;

pub use options::Options;

/// Why the signal ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// Settings that contradict each other.
    #[error("{0}")]
    Settings(String),
    /// GStreamer refused to build or run the encoder.
    #[error("the encoder failed: {0}")]
    Encoder(String),
    /// Standard input cannot be watched.
    #[error("watching standard input")]
    Watch(#[source] std::io::Error),
    /// A file could not be written.
    #[error("writing {to}")]
    Write {
        /// The destination as it was given.
        to: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The time of picture `index`, in 90 kHz ticks since the epoch, to the nearest tick.
fn ticks_of(index: u64, rate: FrameRate) -> u64 {
    let (num, den) = (u128::from(rate.num()), u128::from(rate.den()));
    ((u128::from(index) * 180_000 * den + num) / (2 * num)) as u64
}

/// The first picture that is shown at or after `ticks` of 90 kHz.
fn index_at(ticks: u64, rate: FrameRate) -> u64 {
    let (num, den) = (u128::from(rate.num()), u128::from(rate.den()));
    (u128::from(ticks) * num).div_ceil(90_000 * den) as u64
}

/// Generates the signal until `options.for_` has passed, or for ever.
///
/// # Errors
/// Settings that cannot be met, an encoder that fails, a file that cannot be written. A network destination that cannot
/// be reached is no error: it is tried again each second, and the others go on.
pub fn run(options: Options) -> Result<(), SignalError> {
    let plan = options.plan()?;
    if options.until_stdin_closes {
        child::end_with_parent(Duration::ZERO).map_err(SignalError::Watch)?;
    }
    gstreamer::init().map_err(|e| SignalError::Encoder(e.to_string()))?;
    // The next whole GOP from now on: every process that starts before it begins with the same picture.
    let gop = plan.gop_ticks;
    let from = plan.start_ticks.unwrap_or_else(|| clock::now().channel_time().ticks().unsigned_abs());
    let first = index_at(from.div_ceil(gop) * gop, plan.rate);
    let pictures = plan.length.map(|d| (d.as_secs_f64() * plan.rate.as_f64()).round() as u64);
    info!(first, rate = %plan.rate, width = plan.width, height = plan.height, "signal begins");

    let mut painter =
        Painter::new(plan.width, plan.height, if plan.interlaced { fields_of(plan.rate) } else { plan.rate });
    let mut chains =
        plan.variants.iter().map(|v| Chain::start(v, &plan, first)).collect::<Result<Vec<_>, SignalError>>()?;
    for index in first.. {
        if pictures.is_some_and(|n| index - first >= n) {
            break;
        }
        if plan.paced {
            wait_until(sent_at(ticks_of(first, plan.rate), ticks_of(index, plan.rate), plan.clock_ppm));
        }
        let picture = if plan.interlaced { painter.weave(2 * index) } else { painter.paint(index) };
        for chain in &mut chains {
            chain.push(index, picture)?;
        }
    }
    chains.into_iter().try_for_each(Chain::finish)
}

/// When a clock that runs `ppm` millionths fast, and was right at `first`, shows `ticks`.
fn sent_at(first: u64, ticks: u64, ppm: i32) -> u64 {
    let passed = u128::from(ticks - first) * 1_000_000 / u128::from((1_000_000 + i64::from(ppm)).unsigned_abs());
    first + passed as u64
}

/// Fields a second of interlaced frames.
fn fields_of(rate: FrameRate) -> FrameRate {
    FrameRate::new(2 * rate.num(), rate.den()).unwrap_or(rate)
}

fn wait_until(ticks: u64) {
    let due = Duration::from_nanos((u128::from(ticks) * 100_000 / 9) as u64);
    // A clock that was set back must not stop the signal for hours; it is read again each second.
    loop {
        let wait = due.saturating_sub(clock::now().utc);
        if wait.is_zero() {
            return;
        }
        std::thread::sleep(wait.min(Duration::from_secs(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_is_early_and_a_slow_one_late() {
        let hour = 3_600 * 90_000;
        assert_eq!(sent_at(7, 7 + hour, 0), 7 + hour);
        // 100 ppm of an hour are 360 ms.
        assert_eq!((7 + hour - sent_at(7, 7 + hour, 100)).div_ceil(90), 360);
        assert_eq!((sent_at(7, 7 + hour, -100) - 7 - hour) / 90, 360);
    }

    #[test]
    fn a_picture_begins_each_second_at_every_rate() {
        for (num, den) in [(25, 1), (30000, 1001), (24000, 1001), (50, 1), (60000, 1001)] {
            let rate = FrameRate::new(num, den).expect("good rate");
            for second in 1_700_000_000u64..1_700_000_020 {
                let k = index_at(second * 90_000, rate);
                assert!(ticks_of(k, rate) >= second * 90_000 - 1, "{rate} {second}");
                assert!(ticks_of(k - 1, rate) < second * 90_000, "{rate} {second}");
            }
        }
    }
}
