//! Which files an archive has, when the next one begins, and which go.
//!
//! In:    what lies in the folder, what was written, the time.
//! Out:   names of files to begin and to delete.
//! Never: touches a disk; names a file for deletion that is not its own, or the one being written.

use std::collections::VecDeque;
use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::clock::Now;
use crate::config::Record;
use crate::media::OutputId;

/// UTC, to the millisecond; sorts by time.
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");

#[derive(Debug)]
pub(super) struct Archive {
    prefix: String,
    limits: Record,
    /// Oldest first.
    files: VecDeque<Kept>,
    /// The last of them is being written, since then.
    open: Option<Now>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    name: String,
    /// UTC since the Unix epoch.
    began: Duration,
    bytes: u64,
}

impl Archive {
    /// `found`: names and sizes of what lies in the folder.
    pub(super) fn new(id: &OutputId, limits: Record, found: impl Iterator<Item = (String, u64)>) -> Self {
        let prefix = format!("{}.{}.", id.channel, id.output);
        let own = |(name, bytes): (String, u64)| {
            let began = began(&prefix, &name)?;
            Some(Kept { name, began, bytes })
        };
        let mut files: Vec<Kept> = found.filter_map(own).collect();
        files.sort_by(|a, b| (a.began, &a.name).cmp(&(b.began, &b.name)));
        Self { files: files.into(), prefix, limits, open: None }
    }

    /// Name of the file that is begun now. Names never repeat, whatever the clock does.
    pub(super) fn begin(&mut self, now: Now) -> String {
        let newest = self.files.back().map(|file| file.began);
        let least = newest.map(|newest| newest + Duration::from_millis(1));
        let began = now.utc.max(least.filter(|least| *least < now.utc + Duration::from_secs(60)).unwrap_or_default());
        let name = format!("{}{}.ts", self.prefix, stamp(began));
        self.files.push_back(Kept { name: name.clone(), began, bytes: 0 });
        self.open = Some(now);
        name
    }

    /// So many bytes more are in the file.
    pub(super) fn wrote(&mut self, bytes: u64) {
        if let (Some(file), Some(_)) = (self.files.back_mut(), self.open) {
            file.bytes += bytes;
        }
    }

    /// Whether the next `bytes` go into another file.
    pub(super) fn rotates(&self, now: Now, bytes: u64) -> bool {
        let (Some(since), Some(file)) = (self.open, self.files.back()) else { return false };
        file.bytes > 0 && (now.since(since) >= self.limits.segment || file.bytes + bytes > self.limits.segment_bytes)
    }

    /// The file is closed; its name if nothing is in it, and it is to be deleted.
    pub(super) fn close(&mut self) -> Option<String> {
        self.open.take()?;
        let empty = self.files.back().is_some_and(|file| file.bytes == 0);
        empty.then(|| self.files.pop_back()).flatten().map(|file| file.name)
    }

    /// The oldest file, if it has to go. To be asked until there is none; `bytes` are about to be written.
    pub(super) fn surplus(&mut self, now: Now, bytes: u64) -> Option<String> {
        let closed = self.files.len() - usize::from(self.open.is_some());
        let oldest = self.files.front().filter(|_| closed > 0)?;
        let old = self.limits.age_max.is_some_and(|age| now.utc.saturating_sub(oldest.began) > age);
        let over = self.kept_bytes() + bytes > self.limits.bytes_max;
        (old || over).then(|| self.files.pop_front()).flatten().map(|file| file.name)
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(super) fn files(&self) -> u64 {
        self.files.len() as u64
    }

    /// Name of the file being written.
    pub(super) fn current(&self) -> Option<&str> {
        self.open.and(self.files.back()).map(|file| &*file.name)
    }
}

fn stamp(utc: Duration) -> String {
    let nanos = i128::try_from(utc.as_nanos()).unwrap_or(0);
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(STAMP).unwrap_or_default()
}

/// When a file of ours was begun, by its name.
fn began(prefix: &str, name: &str) -> Option<Duration> {
    let text = name.strip_prefix(prefix)?.strip_suffix(".ts")?;
    let date = PrimitiveDateTime::parse(text, STAMP).ok()?.assume_utc();
    u64::try_from(date.unix_timestamp_nanos()).ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::media::{ChannelId, OutputName};

    fn id() -> OutputId {
        OutputId { channel: ChannelId::new("live").expect("a name"), output: OutputName::new("tap").expect("a name") }
    }

    fn limits(age_max: Option<Duration>) -> Record {
        let segment = Duration::from_secs(10);
        Record { folder: "x".into(), segment, segment_bytes: 1000, bytes_max: 2500, age_max }
    }

    fn zero() -> Now {
        // 2026-11-29T12:15:01.123Z
        Now { mono: Instant::now(), utc: Duration::from_millis(1_795_954_501_123) }
    }

    #[test]
    fn files_are_named_by_utc_and_begun_by_time_and_size() {
        let mut archive = Archive::new(&id(), limits(None), std::iter::empty());
        let now = zero();
        assert_eq!(archive.begin(now), "live.tap.20261129T121501.123Z.ts");
        let later = |s| now.after(Duration::from_secs(s));
        assert!(!archive.rotates(later(11), 10), "nothing is in it yet");
        archive.wrote(900);
        for (name, at, bytes, want) in [("fits", 1, 100, false), ("too large", 1, 101, true), ("too long", 10, 1, true)]
        {
            assert_eq!(archive.rotates(later(at), bytes), want, "{name}");
        }
        assert_eq!(archive.close(), None);
        // The clock stepped back: still a name of its own, behind the other.
        assert_eq!(
            archive.begin(Now { mono: later(1).mono, utc: now.utc - Duration::from_secs(5) }),
            "live.tap.20261129T121501.124Z.ts"
        );
        assert_eq!(archive.close().as_deref(), Some("live.tap.20261129T121501.124Z.ts"), "empty");
    }

    #[test]
    fn the_oldest_goes_and_nothing_else() {
        let found = |name: &str, bytes| (name.to_owned(), bytes);
        let all = [
            found("live.tap.20261129T121400.000Z.ts", 900),
            found("live.tap.20261129T121300.000Z.ts", 800),
            found("live.other.20261129T121300.000Z.ts", 9000),
            found("live.tap.20261129T121300.000Z.ts.bak", 9000),
            found("holiday.ts", 9000),
        ];
        let mut archive = Archive::new(&id(), limits(None), all.into_iter());
        assert_eq!((archive.files(), archive.kept_bytes()), (2, 1700));
        let now = zero();
        archive.begin(now);
        archive.wrote(700);
        assert_eq!(archive.surplus(now, 100), None, "2500 fit");
        assert_eq!(archive.surplus(now, 101).as_deref(), Some("live.tap.20261129T121300.000Z.ts"));
        assert_eq!(archive.surplus(now, 101), None);
        archive.wrote(900);
        assert_eq!(archive.surplus(now, 5000).as_deref(), Some("live.tap.20261129T121400.000Z.ts"));
        assert_eq!(archive.surplus(now, 5000), None, "never the one being written");
    }

    #[test]
    fn old_files_go() {
        let found = [("live.tap.20261129T121400.000Z.ts".to_owned(), 1)];
        let mut archive = Archive::new(&id(), limits(Some(Duration::from_secs(90))), found.into_iter());
        let now = zero();
        assert_eq!(archive.surplus(now, 0), None, "61 s old");
        assert!(archive.surplus(now.after(Duration::from_secs(30)), 0).is_some());
    }
}
