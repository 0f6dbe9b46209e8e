//! Delivery directives of LL-HLS clients (RFC 8216bis §6.2.5): what a playlist request asks for, and whether it is there.
//!
//! In:    the query of a request, where the live edge is. Out: answer now, later, or not at all.
//! Never: waits.

/// What a request asks of a playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// `_HLS_msn`: answer once this segment, or [`Self::part`] of it, is listed.
    msn: Option<u64>,
    /// `_HLS_part`.
    part: Option<u64>,
    /// `_HLS_skip`: a delta update will do.
    pub skip: bool,
}

/// Where the live edge of a playlist is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// The segment being published: the one behind the last one that is listed whole.
    pub next: u64,
    /// Its parts that are listed, and how many there will be.
    pub rows: u64,
    pub total: u64,
    /// Parts of the segment in front of it.
    pub total_before: u64,
    /// Seconds.
    pub part_target: f64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The playlist has what was asked for.
    Now,
    /// It will have.
    Wait,
    /// Not soon: 400.
    TooFar,
}

impl Directives {
    /// Reads a query. Parameters that are no directives are other people's.
    ///
    /// # Errors
    /// The text for a 400.
    pub fn read(query: &str) -> Result<Self, &'static str> {
        let mut asked = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = || {
                let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                plain.then(|| value.parse().ok()).flatten().ok_or("_HLS_msn and _HLS_part are whole numbers\n")
            };
            match name {
                "_HLS_msn" => asked.msn = Some(number()?),
                "_HLS_part" => asked.part = Some(number()?),
                // `v2` may leave out date ranges as well, of which there are none.
                "_HLS_skip" => asked.skip = matches!(value, "YES" | "v2"),
                _ => {}
            }
        }
        if asked.part.is_some() && asked.msn.is_none() {
            return Err("_HLS_part means nothing without _HLS_msn\n");
        }
        Ok(asked)
    }

    /// It asks for something by its number.
    pub fn blocks(&self) -> bool {
        self.msn.is_some()
    }

    /// What becomes of a request for a playlist whose live edge is here (§6.2.5.2).
    pub fn judge(&self, edge: &Edge) -> Verdict {
        let Some(mut msn) = self.msn else { return Verdict::Now };
        let Some(mut part) = self.part else {
            // The last one that is listed, and two more.
            return match msn {
                _ if msn < edge.next => Verdict::Now,
                _ if msn <= edge.next.saturating_add(1) => Verdict::Wait,
                _ => Verdict::TooFar,
            };
        };
        // A part behind a segment's last one is the next segment's first one.
        let total = if msn.checked_add(1) == Some(edge.next) { edge.total_before } else { edge.total };
        if msn.saturating_add(1) >= edge.next && part >= total && msn < edge.next.saturating_add(2) {
            let behind = part - total;
            if behind > self.advance_max(edge) {
                return Verdict::TooFar;
            }
            (msn, part) = (msn + 1, 0);
        }
        match msn {
            _ if msn < edge.next => Verdict::Now,
            _ if msn == edge.next && part < edge.rows => Verdict::Now,
            _ if msn > edge.next.saturating_add(1) => Verdict::TooFar,
            // How many parts it is behind the last one that is listed.
            _ => {
                let ahead = if msn == edge.next { part + 1 - edge.rows } else { edge.total - edge.rows + part + 1 };
                // What comes next is always worth waiting for, however few parts a segment has.
                if ahead > self.advance_max(edge).max(1) { Verdict::TooFar } else { Verdict::Wait }
            }
        }
    }

    /// §6.2.5.2, Advance Part Limit: parts that may be asked for ahead.
    fn advance_max(&self, edge: &Edge) -> u64 {
        if edge.part_target < 1.0 { (3.0 / edge.part_target).ceil() as u64 } else { 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segment 9 is whole, of segment 10 two of five parts are listed; parts last 0.4 s, so 8 may be asked for ahead.
    const EDGE: Edge = Edge { next: 10, rows: 2, total: 5, total_before: 5, part_target: 0.4 };

    #[test]
    fn every_rule() {
        use Verdict::{Now, TooFar, Wait};
        for (rule, query, want) in [
            ("no directive", "", Ok(Now)),
            ("other people's parameters", "token=_HLS_msn&a=b", Ok(Now)),
            ("1: a segment that is there", "_HLS_msn=9", Ok(Now)),
            ("1: a segment that is evicted", "_HLS_msn=0", Ok(Now)),
            ("1: the segment being published is not whole", "_HLS_msn=10", Ok(Wait)),
            ("1: the one behind it", "_HLS_msn=11", Ok(Wait)),
            ("2: a part that is there", "_HLS_msn=10&_HLS_part=1", Ok(Now)),
            ("2: the next part", "_HLS_msn=10&_HLS_part=2", Ok(Wait)),
            ("2: the last part", "_HLS_msn=10&_HLS_part=4", Ok(Wait)),
            ("2: the order does not matter", "_HLS_part=2&_HLS_msn=10", Ok(Wait)),
            ("3: behind the last part of a whole segment is the next one's first", "_HLS_msn=9&_HLS_part=5", Ok(Now)),
            ("3: the same far behind", "_HLS_msn=9&_HLS_part=12", Ok(Now)),
            ("3: behind the last part of the one being published", "_HLS_msn=10&_HLS_part=5", Ok(Wait)),
            ("4: already past", "_HLS_msn=8&_HLS_part=400", Ok(Now)),
            ("6: more than two behind the last", "_HLS_msn=12", Ok(TooFar)),
            ("6: the same with a part", "_HLS_msn=12&_HLS_part=0", Ok(TooFar)),
            ("6: the largest number there is", "_HLS_msn=18446744073709551615", Ok(TooFar)),
            ("6: the same with a part", "_HLS_msn=18446744073709551615&_HLS_part=18446744073709551615", Ok(TooFar)),
            ("6: eight parts ahead", "_HLS_msn=11&_HLS_part=4", Ok(Wait)),
            ("6: within a segment", "_HLS_msn=10&_HLS_part=14", Ok(TooFar)),
            ("7: a part of no segment", "_HLS_part=1", Err(())),
            ("no number", "_HLS_msn=ten", Err(())),
            ("nothing", "_HLS_msn=", Err(())),
            ("a sign", "_HLS_msn=+10", Err(())),
            ("below zero", "_HLS_msn=10&_HLS_part=-1", Err(())),
            ("too large for any number", "_HLS_msn=99999999999999999999", Err(())),
            ("skip alone does not block", "_HLS_skip=YES", Ok(Now)),
        ] {
            let verdict = Directives::read(query).map(|asked| asked.judge(&EDGE)).map_err(|_| ());
            assert_eq!(verdict, want, "{rule}: {query}");
        }
    }

    #[test]
    fn the_advance_part_limit_counts_parts_across_segments() {
        // Parts of 1.5 s: three may be asked for ahead.
        let edge = Edge { next: 10, rows: 1, total: 4, total_before: 4, part_target: 1.5 };
        for (query, want) in [
            ("_HLS_msn=10&_HLS_part=1", Verdict::Wait),
            ("_HLS_msn=10&_HLS_part=3", Verdict::Wait),
            ("_HLS_msn=11&_HLS_part=0", Verdict::TooFar),
            ("_HLS_msn=10&_HLS_part=4", Verdict::TooFar),
        ] {
            assert_eq!(Directives::read(query).expect("reads").judge(&edge), want, "{query}");
        }
        // One part a segment: the next one may be waited for.
        let edge = Edge { next: 10, rows: 0, total: 1, total_before: 1, part_target: 6.0 };
        let judge = |query| Directives::read(query).expect("reads").judge(&edge);
        assert_eq!(judge("_HLS_msn=10&_HLS_part=0"), Verdict::Wait);
        assert_eq!(judge("_HLS_msn=9&_HLS_part=1"), Verdict::Wait);
    }

    #[test]
    fn skip_is_asked_for_in_two_ways() {
        for (query, want) in [("_HLS_skip=YES", true), ("_HLS_skip=v2", true), ("_HLS_skip=no", false), ("", false)] {
            assert_eq!(Directives::read(query).expect("reads").skip, want, "{query}");
        }
        let both = Directives::read("_HLS_msn=3&_HLS_part=1&_HLS_skip=YES").expect("reads");
        assert_eq!((both.blocks(), both.skip), (true, true));
    }
}
