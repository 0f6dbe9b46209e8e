//! Which picture fills which slot of the grid, and when the clock has to fill one because no picture came.
//!
//! In:    times of decoded pictures in display order, and the current time.
//! Out:   every slot from the first of the job's first segment on, exactly once, rising.
//! Never: skips a slot, runs ahead of the clock without a picture, reads a clock.
//!
//! Real pictures win: as long as they keep coming out of the decoder, late or in a burst from a join buffer, the clock
//! fills nothing. It steps in when a slot is past its deadline *and* nothing has moved for a while; or when
//! slots lie so far in the past that real pictures can no longer be waited for ([`LATE_MAX`]), which is also how a
//! worker that is too slow for its host sheds load: repeats cost next to nothing.

use std::time::Duration;

use super::ipc::InputLoss;
use crate::clock::Now;
use crate::media::{ChannelTime, Grid, SegmentNumber, Slot};

/// How long nothing may move before the clock fills slots past their deadline.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// The same before anything has ever moved: the main process may still be filling the socket.
pub const PATIENCE_AT_START: Duration = Duration::from_secs(1);
/// Beyond its deadline by so much, a slot is filled whatever moves: twice the longest sensible join buffer.
pub const LATE_MAX: Duration = Duration::from_secs(10);
/// A hole of this length or less need not be the beginning of a loss.
const HICCUP: Duration = Duration::from_millis(200);
/// A picture so far ahead of the clock is a mistake of its source's timestamps.
pub const AHEAD_MAX: Duration = Duration::from_secs(10);

/// What goes into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The picture at hand, for the first time.
    Picture,
    /// The last picture, again.
    Repeat,
    /// Black.
    Black,
    /// The slate.
    Slate,
}

/// A slot and what goes into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// The slot.
    pub slot: Slot,
    /// What goes into it.
    pub fill: Fill,
}

/// What becomes of a decoded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fills this slot, behind repeats (black, slate) in the slots before it: [`Slots::pop_until`].
    Use(Slot),
    /// Its slot is filled already, or lies before the job's start.
    Past,
    /// Its time is more than [`AHEAD_MAX`] ahead of the clock.
    Ahead,
}

/// When the clock may step in. Sound follows the same rule as pictures.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    hold: Duration,
    moved: Now,
    wait: Duration,
}

impl Patience {
    /// What is missing `hold` after its time is past its deadline.
    pub fn new(hold: Duration, now: Now) -> Self {
        Self { hold, moved: now, wait: PATIENCE_AT_START }
    }

    /// Something came out of the decoder, or input is known to wait.
    pub fn moved(&mut self, now: Now) {
        self.moved = now;
        self.wait = PATIENCE;
    }

    /// Whether the clock has to fill what should have been there `at`. `idle`: no input waits to be decoded.
    pub fn is_over(&self, at: ChannelTime, idle: bool, now: Now) -> bool {
        let Some(late) = now.utc.checked_sub((at + self.hold).to_utc()) else { return false };
        late >= LATE_MAX || idle && now.since(self.moved) >= self.wait
    }

    /// How long to wait for input before asking again.
    pub fn wake_in(&self, at: ChannelTime, now: Now) -> Duration {
        let deadline = (at + self.hold).to_utc().saturating_sub(now.utc);
        deadline.max(self.wait.saturating_sub(now.since(self.moved)))
    }
}

/// The slot filling policy of one worker.
#[derive(Debug)]
pub struct Slots {
    grid: Grid,
    repeat_for: Duration,
    black_for: Duration,
    next: Slot,
    last_picture: Option<Slot>,
    patience: Patience,
}

impl Slots {
    /// Starts at the first slot of segment `start`. A slot is past its deadline `hold` after its time; `loss` says what it
    /// shows then.
    pub fn new(grid: Grid, start: SegmentNumber, hold: Duration, loss: &InputLoss, now: Now) -> Self {
        let next = grid.first_slot(start);
        let (repeat_for, black_for) = (loss.repeat_for, loss.black_for);
        Self { grid, repeat_for, black_for, next, last_picture: None, patience: Patience::new(hold, now) }
    }

    /// The slot to be filled next.
    pub fn next(&self) -> Slot {
        self.next
    }

    /// Something moved: a picture came out of the decoder, or input is known to wait.
    pub fn moved(&mut self, now: Now) {
        self.patience.moved(now);
    }

    /// Where a decoded picture goes. [`Verdict::Use`] asks to empty [`Self::pop_until`] and then to call [`Self::place`].
    pub fn judge(&self, at: ChannelTime, now: Now) -> Verdict {
        let slot = self.grid.slot_at(at);
        if slot < self.next {
            Verdict::Past
        } else if at > now.channel_time() + AHEAD_MAX {
            Verdict::Ahead
        } else {
            Verdict::Use(slot)
        }
    }

    /// A picture came from before the job's first slot: what that slot repeats if it has none of its own.
    pub fn precede(&mut self, at: ChannelTime) {
        self.last_picture = Some(self.grid.slot_at(at));
    }

    /// The next slot of a hole in front of `slot`, and what fills it.
    pub fn pop_until(&mut self, slot: Slot) -> Option<Filling> {
        (self.next < slot).then(|| self.fill_next())
    }

    /// The picture at hand fills the next slot.
    pub fn place(&mut self) -> Filling {
        let slot = self.next;
        self.last_picture = Some(slot);
        self.next = slot.next();
        Filling { slot, fill: Fill::Picture }
    }

    /// The next slot the clock has to fill, if any. `idle`: no input waits to be decoded.
    pub fn pop_due(&mut self, idle: bool, now: Now) -> Option<Filling> {
        self.patience.is_over(self.grid.slot_time(self.next), idle, now).then(|| self.fill_next())
    }

    /// How long to wait for input before asking [`Self::pop_due`] again.
    pub fn wake_in(&self, now: Now) -> Duration {
        self.patience.wake_in(self.grid.slot_time(self.next), now)
    }

    /// In a hole that is more than a hiccup: the slot from which on the slate will be shown if no picture comes any more.
    pub fn slate_begins(&self) -> Option<Slot> {
        let last = self.grid.slot_time(self.last_picture?);
        let near = self.grid.slot_at(last + self.repeat_for + self.black_for);
        let begins = [near, near.next()].into_iter().find(|slot| self.made_up(*slot) == Fill::Slate)?;
        let is_hiccup = self.grid.slot_time(self.next) - HICCUP <= last && begins.0 > self.next.0 + 1;
        (!is_hiccup).then_some(begins)
    }

    fn fill_next(&mut self) -> Filling {
        let slot = self.next;
        self.next = slot.next();
        Filling { slot, fill: self.made_up(slot) }
    }

    /// What a slot without a picture of its own shows. Measured on the grid, not on the clock: two pipelines with the
    /// same hole fill it alike.
    fn made_up(&self, slot: Slot) -> Fill {
        let at = self.grid.slot_time(slot);
        let within = |time: Duration| self.last_picture.is_some_and(|last| at - time <= self.grid.slot_time(last));
        if within(self.repeat_for) {
            Fill::Repeat
        } else if within(self.repeat_for + self.black_for) {
            Fill::Black
        } else {
            Fill::Slate
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ipc::Slate;
    use crate::media::FrameRate;
    use proptest::prelude::*;
    use std::time::Instant;

    const HOLD: Duration = Duration::from_millis(500);
    const REPEAT: Duration = Duration::from_secs(2);
    const BLACK: Duration = Duration::from_millis(200);
    const START: SegmentNumber = SegmentNumber(900_000_000);

    fn grid() -> Grid {
        Grid::new(Duration::from_secs(2), FrameRate::new(25, 1).expect("good rate")).expect("good grid")
    }

    /// A `Now` at which the wall clock shows the first slot's time.
    fn at_start() -> Now {
        Now { mono: Instant::now(), utc: grid().slot_time(grid().first_slot(START)).to_utc() }
    }

    fn slots(now: Now) -> Slots {
        let loss = InputLoss { repeat_for: REPEAT, black_for: BLACK, slate: Slate::default() };
        Slots::new(grid(), START, HOLD, &loss, now)
    }

    fn time_of(index: u64) -> ChannelTime {
        grid().slot_time(Slot(grid().first_slot(START).0 + index))
    }

    /// Offers a picture and returns all fillings, as offsets from the first slot.
    fn offer(s: &mut Slots, index: u64, now: Now) -> Vec<(u64, Fill)> {
        s.moved(now);
        let mut out = Vec::new();
        if let Verdict::Use(slot) = s.judge(time_of(index), now) {
            while let Some(f) = s.pop_until(slot) {
                out.push(f);
            }
            out.push(s.place());
        }
        out.iter().map(|f| (f.slot.0 - grid().first_slot(START).0, f.fill)).collect()
    }

    fn due(s: &mut Slots, idle: bool, now: Now) -> Vec<Fill> {
        std::iter::from_fn(|| s.pop_due(idle, now)).map(|f| f.fill).collect()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_hole_is_filled_with_the_last_picture_then_black_then_slate() {
        let now = at_start();
        let mut s = slots(now);
        assert_eq!(offer(&mut s, 0, now), [(0, Fill::Picture)]);
        assert_eq!(offer(&mut s, 3, now.after(ms(120))), [(1, Fill::Repeat), (2, Fill::Repeat), (3, Fill::Picture)]);
        let long = offer(&mut s, 3 + 60, now.after(ms(2520)));
        // Behind slot 3: 2 s are 50 slots, 200 ms are 5, and of the 59 empty ones 4 are left.
        let want = [(Fill::Repeat, 50), (Fill::Black, 5), (Fill::Slate, 4), (Fill::Picture, 1)];
        let want: Vec<Fill> = want.into_iter().flat_map(|(fill, count)| std::iter::repeat_n(fill, count)).collect();
        assert_eq!(long.iter().map(|f| f.1).collect::<Vec<_>>(), want);
    }

    #[test]
    fn times_of_input_loss_count_from_the_last_picture_at_any_rate() {
        for (name, rate, repeat_for, black_for, want) in [
            ("MediaLive's", (25, 1), 1000, 1000, (25, 25)),
            ("29.97", (30_000, 1001), 1000, 1000, (29, 30)),
            ("59.94, one and a half frames", (60_000, 1001), 25, 0, (1, 0)),
            ("slate at once", (50, 1), 0, 0, (0, 0)),
            ("black at once", (50, 1), 0, 100, (0, 5)),
        ] {
            let grid = Grid::new(Duration::from_secs(2), FrameRate::new(rate.0, rate.1).expect("good")).expect("good");
            let loss = InputLoss { repeat_for: ms(repeat_for), black_for: ms(black_for), slate: Slate::default() };
            let mut s = Slots::new(grid, START, HOLD, &loss, at_start());
            let first = s.place().slot;
            let end = Slot(first.0 + 600);
            let fills: Vec<Fill> = std::iter::from_fn(|| s.pop_until(end)).map(|f| f.fill).collect();
            let count = |fill| fills.iter().filter(|f| **f == fill).count();
            assert_eq!((count(Fill::Repeat), count(Fill::Black)), want, "{name}");
            let slate = fills.iter().take_while(|f| **f != Fill::Slate).count() as u64;
            assert_eq!(s.slate_begins(), Some(Slot(first.0 + 1 + slate)), "{name}");
            assert!(fills.is_sorted_by_key(|f| [Fill::Repeat, Fill::Black, Fill::Slate].iter().position(|k| k == f)));
        }
    }

    #[test]
    fn a_picture_for_a_filled_slot_is_dropped_and_an_absurd_one_too() {
        let now = at_start();
        let mut s = slots(now);
        offer(&mut s, 5, now);
        assert_eq!(s.judge(time_of(5), now), Verdict::Past);
        assert_eq!(s.judge(time_of(0).offset(-90_000), now), Verdict::Past);
        assert_eq!(s.judge(time_of(25 * 11), now), Verdict::Ahead);
    }

    #[test]
    fn what_came_before_the_first_slot_is_repeated_in_it() {
        let now = at_start();
        let mut s = slots(now);
        let before = time_of(0).offset(-3600);
        assert_eq!(s.judge(before, now), Verdict::Past);
        s.precede(before);
        assert_eq!(offer(&mut s, 1, now), [(0, Fill::Repeat), (1, Fill::Picture)]);
    }

    #[test]
    fn without_any_picture_slate_follows_the_clock_and_never_runs_ahead() {
        let start = at_start();
        let mut s = slots(start);
        assert_eq!(due(&mut s, true, start.after(ms(900))), [], "still patient");
        // At 1 s slots up to 0.5 s are past their deadline: 0 ms, 40 ms … 480 ms.
        assert_eq!(due(&mut s, true, start.after(ms(1000))), [Fill::Slate; 13]);
        assert_eq!(due(&mut s, true, start.after(ms(1019))), []);
        assert_eq!(due(&mut s, true, start.after(ms(1020))), [Fill::Slate]);
    }

    #[test]
    fn when_pictures_stop_repeats_begin_at_the_deadline() {
        let start = at_start();
        let mut s = slots(start);
        offer(&mut s, 0, start);
        assert_eq!(due(&mut s, true, start.after(ms(539))), []);
        assert_eq!(s.wake_in(start.after(ms(500))), ms(40));
        assert_eq!(due(&mut s, true, start.after(ms(540))), [Fill::Repeat]);
        // A late picture whose slot is not filled yet is used.
        assert_eq!(offer(&mut s, 2, start.after(ms(541))), [(2, Fill::Picture)]);
    }

    #[test]
    fn a_burst_of_old_pictures_wins_over_the_clock() {
        // Started four seconds late; the join buffer is replayed faster than real time.
        let start = at_start().after(ms(4000));
        let mut s = slots(start);
        for i in 0..100 {
            let now = start.after(ms(500 + 10 * i));
            assert_eq!(due(&mut s, true, now), [], "before picture {i}");
            assert_eq!(offer(&mut s, i, now), [(i, Fill::Picture)]);
        }
    }

    #[test]
    fn input_that_moves_but_is_hopelessly_late_cannot_stop_the_cadence() {
        let start = at_start();
        let mut s = slots(start);
        let now = start.after(ms(11_000));
        s.moved(now);
        assert_eq!(due(&mut s, false, now).len(), 13, "slots more than 10.5 s old");
    }

    proptest! {
        #[test]
        fn every_slot_once_rising_and_never_ahead_of_the_clock_without_a_picture(
            steps in prop::collection::vec((0u64..200, prop::option::of(0u64..400), any::<bool>()), 1..200),
        ) {
            let start = at_start();
            let mut s = slots(start);
            let mut now = start;
            let mut expected = 0;
            for (passed, picture, idle) in steps {
                now = now.after(ms(passed));
                if let Some(index) = picture {
                    for (slot, _) in offer(&mut s, index, now) {
                        prop_assert_eq!(slot, expected);
                        expected += 1;
                    }
                }
                while let Some(f) = s.pop_due(idle, now) {
                    prop_assert_eq!(f.slot.0 - grid().first_slot(START).0, expected);
                    prop_assert!(grid().slot_time(f.slot) + HOLD <= now.channel_time());
                    expected += 1;
                }
            }
        }
    }
}
