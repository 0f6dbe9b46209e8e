//! What a source is left for that is seen and heard only in its pictures and sound: `black`, `frozen`, `silent`, `decoder_errors` of
//! `[channel.failover]`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::checks::Checks;
use super::document::Mark;
use super::file::FailoverFile;
use super::units::{Level, Percent, Time};
use super::{Condition, Content, Limits};

/// Black, frozen and silent for less is what programmes do.
const AFTER_MIN: &str = "1s";
/// A single error counts for a second.
const ERRORS_AFTER_MIN: &str = "2s";
const ERRORS_MAX: u64 = 1000;

/// When a picture is black. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BlackFile {
    /// It must last so long, 1 s to 1 h. Default "2s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// A point of the picture is dark up to this share of the way from black to white, 0% to 50%. Default "10%".
    pub level: Option<Mark<Percent>>,
    /// The picture is black where so much of it is dark, 50% to 100%. Default "98%".
    pub share: Option<Mark<Percent>>,
}

/// When a picture stands still. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FrozenFile {
    /// It must last so long, 1 s to 1 h. Default "5s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// Something moves where the brightness of four areas, each 1/64 of the picture's width and 1/36 of its height, changes by more
    /// than this share of the way from black to white, 0.5% to 25%. Default "2%".
    pub change: Option<Mark<Percent>>,
}

/// When sound is silence. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SilentFile {
    /// It must last so long, 1 s to 1 h. Default "5s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 1 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// RMS of the loudest channel is below this, -100dBFS to -10dBFS. Default "-50dBFS".
    pub level: Option<Mark<Level>>,
}

/// When pictures cannot be decoded whole. An empty table, `{}`, takes it with its defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DecoderErrorsFile {
    /// It must last so long, 2 s to 1 h: a single error counts for a second. Default "2s".
    pub after: Option<Mark<Time>>,
    /// It must be away so long to be over, 2 s to 1 h. Default "5s".
    pub clear: Option<Mark<Time>>,
    /// So many pictures within a second, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub per_second: Option<Mark<u64>>,
}

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
