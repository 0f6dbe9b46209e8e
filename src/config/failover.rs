//! What sources are left for, beside silence: `[channel.failover]`.

use super::checks::Checks;
use super::document::Mark;
use super::file::{FailoverFile, OrderFile, RateFile, StateFile};
use super::units::Time;
use super::{Condition, Failover, Limits, Revert, SourceOrder};

/// Neither a duration nor a hold-down of more makes sense.
const LONGEST: &str = "3600s";
/// Pictures and sound are missed after this, not sooner.
const STATE_MIN: &str = "500ms";
/// Errors are counted by the second.
const RATE_MIN: &str = "1s";
const RATE_MAX: u64 = 1_000_000;

impl Checks<'_, '_> {
    /// `plain` with the rest of what is written.
    pub(super) fn policy(&mut self, file: &FailoverFile, plain: Failover) -> Failover {
        let order = match &file.order {
            Some(Mark { span, value: OrderFile::Equal }) => {
                if matches!(plain.revert, Revert::After(_)) {
                    let wrong = "equal sources have no preferred one that could be gone back to";
                    self.document.mistake(span, wrong, "take revert out, or write order = \"preferred\"");
                }
                SourceOrder::Equal
            }
            _ => SourceOrder::Preferred,
        };
        let hold_down = match &file.hold_down {
            None => plain.hold_down,
            given => self.time(given.as_ref(), "10s", "0s", LONGEST),
        };
        let states = [
            (Condition::NoVideo, &file.no_video),
            (Condition::NoAudio, &file.no_audio),
            (Condition::SyncLoss, &file.sync_loss),
        ];
        let rates = [
            (Condition::Continuity, &file.continuity_errors),
            (Condition::Pid, &file.pid_errors),
            (Condition::Pcr, &file.pcr_errors),
        ];
        let mut conditions = Vec::new();
        for (condition, state) in states.into_iter().filter_map(|(c, s)| Some((c, s.as_ref()?))) {
            let StateFile { after, clear } = &state.value;
            conditions.push(self.limits(condition, after.as_ref(), clear.as_ref(), STATE_MIN));
        }
        for (condition, rate) in rates.into_iter().filter_map(|(c, r)| Some((c, r.as_ref()?))) {
            let RateFile { after, clear, per_second } = &rate.value;
            let mut limits = self.limits(condition, after.as_ref(), clear.as_ref(), RATE_MIN);
            if let Some(number) = per_second {
                if !(1..=RATE_MAX).contains(&number.value) {
                    self.document.mistake(
                        &number.span,
                        format!("{} a second", number.value),
                        "1 to 1000000 are possible",
                    );
                }
                limits.per_second = number.value.max(1);
            }
            conditions.push(limits);
        }
        let content = self.content(file, &mut conditions);
        Failover { order, hold_down, conditions, content, ..plain }
    }

    pub(super) fn limits(
        &mut self,
        condition: Condition,
        after: Option<&Mark<Time>>,
        clear: Option<&Mark<Time>>,
        least: &'static str,
    ) -> Limits {
        let usual = Limits::usual(condition);
        Limits {
            after: after.map_or(usual.after, |time| self.time(Some(time), RATE_MIN, least, LONGEST)),
            clear: clear.map_or(usual.clear, |time| self.time(Some(time), RATE_MIN, least, LONGEST)),
            ..usual
        }
    }
}
