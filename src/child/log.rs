//! What a child writes to its stderr, line by line, into the log.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::clock;

/// Longer lines are cut.
const LINE_BYTES_MAX: usize = 2000;
/// More lines than this in a second are counted instead of logged: a library in trouble writes one for every packet.
const LINES_A_SECOND: u32 = 50;

/// One line a child wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Without its end; cut at 2,000 bytes.
    pub text: String,
}

/// Reads to the end of `from`, always: a child must never block on its own complaints. Lines go to the log in the
/// caller's span, and to `copy` as far as it has room.
pub(super) async fn forward(from: impl AsyncRead + Unpin, copy: Option<mpsc::Sender<LogLine>>) {
    let mut from = BufReader::with_capacity(16 << 10, from);
    let mut line = Vec::new();
    let mut pace = Pace::default();
    loop {
        let Ok(portion) = from.fill_buf().await else { return };
        if portion.is_empty() {
            break;
        }
        let end = portion.iter().position(|&b| b == b'\n');
        let part = &portion[..end.unwrap_or(portion.len())];
        let room = LINE_BYTES_MAX - line.len();
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            say(&mut line, &mut pace, copy.as_ref());
        }
    }
    if !line.is_empty() {
        say(&mut line, &mut pace, copy.as_ref());
    }
    if pace.withheld > 0 {
        warn!(lines = pace.withheld, "lines of the child left out");
    }
}

fn say(line: &mut Vec<u8>, pace: &mut Pace, copy: Option<&mpsc::Sender<LogLine>>) {
    // Whatever the child printed, it moves no terminal's cursor.
    let text: String =
        String::from_utf8_lossy(line).trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.clear();
    let (fits, withheld) = pace.admit(clock::now().mono);
    if withheld > 0 {
        warn!(lines = withheld, "lines of the child left out");
    }
    if fits {
        info!(target: "child", "{text}");
        if let Some(copy) = copy {
            // A full queue loses a copy; the log above has it.
            let _ = copy.try_send(LogLine { text });
        }
    }
}

/// Lines admitted in the current second.
#[derive(Debug, Default)]
struct Pace {
    second: Option<Instant>,
    lines: u32,
    withheld: u64,
}

impl Pace {
    /// Whether a line at this time fits, and how many were withheld in the second that is over.
    fn admit(&mut self, now: Instant) -> (bool, u64) {
        let mut over = 0;
        if self.second.is_none_or(|s| now.saturating_duration_since(s) >= Duration::from_secs(1)) {
            self.second = Some(now);
            self.lines = 0;
            over = std::mem::take(&mut self.withheld);
        }
        self.lines += 1;
        let fits = self.lines <= LINES_A_SECOND;
        self.withheld += u64::from(!fits);
        (fits, over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_counted_not_logged() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let fitting = (0..1000).filter(|_| pace.admit(start).0).count();
        assert_eq!(fitting, LINES_A_SECOND as usize);
        let later = pace.admit(start + Duration::from_secs(1));
        assert_eq!(later, (true, 1000 - u64::from(LINES_A_SECOND)));
    }

    #[tokio::test]
    async fn lines_are_cut_and_the_last_one_needs_no_end() {
        let text = [b"one\x1b[2J\n".as_slice(), &[b'x'; 5000], b"\nlast \xff"].concat();
        let (copy, mut lines) = mpsc::channel(10);
        forward(text.as_slice(), Some(copy)).await;
        let mut next = || lines.try_recv().expect("a line").text;
        assert_eq!(next(), "one [2J");
        assert_eq!(next(), "x".repeat(LINE_BYTES_MAX));
        assert_eq!(next(), "last \u{fffd}");
    }
}
