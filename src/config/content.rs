//! What a source is left for that is seen and heard only in its pictures and sound: `black`, `frozen`, `silent`, `decoder_errors` of
//! `[channel.failover]`.

use super::checks::Checks;
use super::document::Mark;
use super::file::{BlackFile, DecoderErrorsFile, FailoverFile, FrozenFile, SilentFile};
use super::units::Percent;
use super::{Condition, Content, Limits};

/// Black, frozen and silent for less is what programmes do.
const AFTER_MIN: &str = "1s";
/// A single error counts for a second.
const ERRORS_AFTER_MIN: &str = "2s";
const ERRORS_MAX: u64 = 1000;

impl Checks<'_, '_> {
    /// What is said of pictures and sound: when it counts, and what it is.
    pub(super) fn content(&mut self, file: &FailoverFile, conditions: &mut Vec<Limits>) -> Content {
        let mut content = Content::default();
        if let Some(Mark { value: BlackFile { after, clear, level, share }, .. }) = &file.black {
            conditions.push(self.limits(Condition::Black, after.as_ref(), clear.as_ref(), AFTER_MIN));
            content.dark_level = self.share(level.as_ref(), content.dark_level, 0.0, 0.5, "0% to 50%");
            content.dark_share = self.share(share.as_ref(), content.dark_share, 0.5, 1.0, "50% to 100%");
        }
        if let Some(Mark { value: FrozenFile { after, clear, change }, .. }) = &file.frozen {
            conditions.push(self.limits(Condition::Frozen, after.as_ref(), clear.as_ref(), AFTER_MIN));
            content.change = self.share(change.as_ref(), content.change, 0.005, 0.25, "0.5% to 25%");
        }
        if let Some(Mark { value: SilentFile { after, clear, level }, .. }) = &file.silent {
            conditions.push(self.limits(Condition::Silent, after.as_ref(), clear.as_ref(), AFTER_MIN));
            if let Some(level) = level {
                if !(-100.0..=-10.0).contains(&level.value.0) {
                    let wrong = format!("a level of {} dBFS", level.value.0);
                    self.document.mistake(&level.span, wrong, "-100dBFS to -10dBFS are possible");
                }
                content.silence = level.value.0;
            }
        }
        if let Some(Mark { value: DecoderErrorsFile { after, clear, per_second }, .. }) = &file.decoder_errors {
            let mut limits = self.limits(Condition::DecoderErrors, after.as_ref(), clear.as_ref(), ERRORS_AFTER_MIN);
            if let Some(number) = per_second {
                if !(1..=ERRORS_MAX).contains(&number.value) {
                    self.document.mistake(&number.span, format!("{} a second", number.value), "1 to 1000 are possible");
                }
                limits.per_second = number.value.clamp(1, ERRORS_MAX);
            }
            conditions.push(limits);
        }
        content
    }

    fn share(&mut self, share: Option<&Mark<Percent>>, usual: f32, min: f32, max: f32, range: &str) -> f32 {
        let Some(share) = share else { return usual };
        if !(min..=max).contains(&share.value.0) {
            let wrong = format!("{}%", (share.value.0 * 1e4).round() / 100.0);
            self.document.mistake(&share.span, wrong, format!("{range} are possible"));
        }
        share.value.0
    }
}
