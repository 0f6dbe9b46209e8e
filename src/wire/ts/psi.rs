//! Programme specific information (ISO/IEC 13818-1 §2.4.4): sections out of packets, PAT and PMT out of sections.

use super::descriptor::Descriptors;

/// Longest section of PAT and PMT: section_length is at most 1021.
const SECTION_MAX: usize = 1024;

/// Why a section was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PsiError {
    /// It is longer than the standard allows.
    #[error("section of {0} bytes")]
    TooLong(usize),
    /// It is too short for what must be in it.
    #[error("section too short")]
    TooShort,
    /// Its checksum is wrong.
    #[error("CRC")]
    Crc,
    /// It was cut short by another one.
    #[error("section cut short")]
    Cut,
    /// A length inside leads out of it.
    #[error("inner length")]
    BadLength,
}

/// A section in long syntax whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it is: 0 a PAT, 2 a PMT.
    pub table_id: u8,
    /// transport_stream_id of a PAT, programme number of a PMT.
    pub extension: u16,
    /// version_number, 5 bits.
    pub version: u8,
    /// current_next_indicator: it applies already.
    pub current: bool,
    /// Its place in the table.
    pub number: u8,
    /// The last place of the table.
    pub last: u8,
    /// What lies between header and checksum.
    pub body: &'a [u8],
}

impl<'a> Section<'a> {
    /// Checks a whole section, checksum included. `None`: it has the short syntax and therefore no place in PAT or PMT.
    pub fn parse(bytes: &'a [u8]) -> Option<Result<Self, PsiError>> {
        if bytes.get(1)? & 0x80 == 0 {
            return None;
        }
        let Some((&[table_id, _, _, e0, e1, version, number, last], rest)) = bytes.split_first_chunk() else {
            return Some(Err(PsiError::TooShort));
        };
        let Some((body, _)) = rest.split_last_chunk::<4>() else {
            return Some(Err(PsiError::TooShort));
        };
        // Over a section with its own checksum the remainder is 0 (annex A).
        if crc32(bytes) != 0 {
            return Some(Err(PsiError::Crc));
        }
        Some(Ok(Self {
            table_id,
            extension: u16::from_be_bytes([e0, e1]),
            version: version >> 1 & 0x1f,
            current: version & 1 == 1,
            number,
            last,
            body,
        }))
    }
}

/// Longest private section, and with it EIT's: section_length is at most 4093 (ETSI EN 300 468 §5.2.4).
const LONG_SECTION_MAX: usize = 4096;

/// Puts the sections of one PID together.
#[derive(Debug)]
pub struct SectionReader {
    /// Longest section it takes, bytes.
    max: usize,
    buf: Vec<u8>,
    /// A section is being collected; otherwise everything up to the next start is stuffing.
    open: bool,
}

impl Default for SectionReader {
    /// For PAT and PMT.
    fn default() -> Self {
        Self { max: SECTION_MAX, buf: Vec::new(), open: false }
    }
}

impl SectionReader {
    /// For tables whose sections may be longer than those of PAT and PMT: EIT and private ones.
    pub fn long() -> Self {
        Self { max: LONG_SECTION_MAX, ..Self::default() }
    }

    /// Takes a packet's payload; `sink` gets each section that is whole, unchecked, or why there is none.
    /// `starts` is the packet's payload_unit_start_indicator.
    pub fn push(&mut self, payload: &[u8], starts: bool, mut sink: impl FnMut(Result<&[u8], PsiError>)) {
        if !starts {
            return self.collect(payload, &mut sink);
        }
        let Some((&pointer, rest)) = payload.split_first() else { return };
        let Some((tail, begin)) = rest.split_at_checked(usize::from(pointer)) else {
            self.reset();
            return sink(Err(PsiError::BadLength));
        };
        self.collect(tail, &mut sink);
        if self.open && !self.buf.is_empty() {
            sink(Err(PsiError::Cut));
        }
        self.reset();
        self.open = true;
        self.collect(begin, &mut sink);
    }

    /// Forgets what has been collected: packets are missing.
    pub fn reset(&mut self) {
        self.buf.clear();
        self.open = false;
    }

    /// Bytes kept, at most 1,024, or 4,096 of long ones (and one packet while at work).
    pub fn buffered(&self) -> usize {
        self.buf.len()
    }

    fn collect(&mut self, bytes: &[u8], sink: &mut impl FnMut(Result<&[u8], PsiError>)) {
        if !self.open {
            return;
        }
        self.buf.extend_from_slice(bytes);
        let mut done = 0;
        loop {
            let rest = &self.buf[done..];
            // table_id 0xff is stuffing up to the end of the packet (§2.4.4).
            if rest.first() == Some(&0xff) {
                return self.reset();
            }
            let Some(&[_, high, low]) = rest.first_chunk() else { break };
            let length = 3 + (usize::from(high & 0x0f) << 8 | usize::from(low));
            if length > self.max {
                self.reset();
                return sink(Err(PsiError::TooLong(length)));
            }
            let Some(section) = rest.get(..length) else { break };
            sink(Ok(section));
            done += length;
        }
        self.buf.drain(..done);
    }
}

/// One section of the programme association table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatSection {
    /// Programme number → PID of its map. Programme 0 (the network's own PID) is left out.
    pub programmes: Vec<(u16, u16)>,
}

impl PatSection {
    /// Reads the body of a section with table_id 0.
    pub fn parse(section: &Section<'_>) -> Self {
        let programmes = section
            .body
            .chunks_exact(4)
            .map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), pid(entry[2], entry[3])))
            .filter(|&(number, _)| number != 0)
            .collect();
        Self { programmes }
    }
}

/// The programme association table, collected from its sections.
#[derive(Debug, Default)]
pub struct Pat {
    /// transport_stream_id, version, last section number.
    head: Option<(u16, u8, u8)>,
    sections: Vec<Option<PatSection>>,
    whole: bool,
}

impl Pat {
    /// Takes a section; the programmes in order of their sections as soon as the table is whole, once per version.
    pub fn push(&mut self, section: &Section<'_>) -> Option<Vec<(u16, u16)>> {
        if section.table_id != 0 || !section.current || section.number > section.last {
            return None;
        }
        let head = (section.extension, section.version, section.last);
        let entries = PatSection::parse(section);
        let place = usize::from(section.number);
        // Some multiplexers change the table and forget the version: its contents count too.
        let changed = self.sections.get(place).is_some_and(|old| old.as_ref().is_some_and(|old| *old != entries));
        if self.head != Some(head) || changed {
            self.head = Some(head);
            self.sections = vec![None; usize::from(section.last) + 1];
            self.whole = false;
        }
        self.sections[place] = Some(entries);
        if self.whole || self.sections.iter().any(Option::is_none) {
            return None;
        }
        self.whole = true;
        Some(self.sections.iter().flatten().flat_map(|s| s.programmes.iter().copied()).collect())
    }
}

/// One elementary stream of a programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// stream_type (Table 2-34).
    pub stream_type: u8,
    /// Its PID.
    pub pid: u16,
    /// Its descriptors.
    pub descriptors: Descriptors,
}

/// A programme map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmt {
    /// Whose map it is.
    pub programme: u16,
    /// PID of the programme's clock; 0x1fff where it has none.
    pub pcr_pid: u16,
    /// Its streams, in order.
    pub streams: Vec<Stream>,
}

impl Pmt {
    /// Reads a section with table_id 2; `None` for any other, or one that does not apply yet.
    pub fn parse(section: &Section<'_>) -> Option<Result<Self, PsiError>> {
        (section.table_id == 2 && section.current).then(|| Self::body(section))
    }

    fn body(section: &Section<'_>) -> Result<Self, PsiError> {
        let (&[p0, p1, l0, l1], rest) = section.body.split_first_chunk().ok_or(PsiError::TooShort)?;
        let mut rest = rest.get(length(l0, l1)..).ok_or(PsiError::BadLength)?;
        let mut streams = Vec::new();
        while let Some((&[stream_type, s0, s1, l0, l1], behind)) = rest.split_first_chunk() {
            let (descriptors, next) = behind.split_at_checked(length(l0, l1)).ok_or(PsiError::BadLength)?;
            streams.push(Stream { stream_type, pid: pid(s0, s1), descriptors: Descriptors::from(descriptors) });
            rest = next;
        }
        Ok(Self { programme: section.extension, pcr_pid: pid(p0, p1), streams })
    }
}

fn pid(high: u8, low: u8) -> u16 {
    u16::from(high & 0x1f) << 8 | u16::from(low)
}

fn length(high: u8, low: u8) -> usize {
    usize::from(high & 0x0f) << 8 | usize::from(low)
}

/// CRC-32 of MPEG-2 sections (annex A): polynomial 0x04c11db7, all ones first, nothing reflected or inverted.
pub fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut crc = (at as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    bytes.iter().fold(u32::MAX, |crc, &b| crc << 8 ^ TABLE[usize::from((crc >> 24) as u8 ^ b)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn section(table_id: u8, extension: u16, version: u8, place: (u8, u8), body: &[u8]) -> Vec<u8> {
        let length = 5 + body.len() + 4;
        let mut out = vec![table_id, 0xb0 | (length >> 8) as u8, length as u8];
        out.extend(extension.to_be_bytes());
        out.extend([0xc1 | version << 1, place.0, place.1]);
        out.extend(body);
        out.extend(crc32(&out).to_be_bytes());
        out
    }

    fn read(packets: &[(&[u8], bool)]) -> Vec<Result<Vec<u8>, PsiError>> {
        let mut reader = SectionReader::default();
        let mut got = Vec::new();
        for &(payload, starts) in packets {
            reader.push(payload, starts, |s| got.push(s.map(<[u8]>::to_vec)));
        }
        got
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7, "check value of CRC-32/MPEG-2");
    }

    #[test]
    fn sections_are_put_together() {
        let long = section(2, 1, 0, (0, 0), &[0x55; 300]);
        let short = section(2, 1, 0, (0, 0), &[0x66; 10]);
        let first = [&[0][..], &long[..183]].concat();
        let second = [&[(long.len() - 183) as u8][..], &long[183..], &short, &[0xff; 9]].concat();
        let two = [&[0][..], &short, &short, &[0xff, 0xff]].concat();
        let bare = [&[0][..], &short].concat();
        for (name, packets, want) in [
            ("one", &[(&bare[..], true)][..], vec![Ok(short.clone())]),
            ("two in a packet", &[(&two, true)], vec![Ok(short.clone()), Ok(short.clone())]),
            (
                "over packets, with another behind",
                &[(&first, true), (&second, true)],
                vec![Ok(long.clone()), Ok(short.clone())],
            ),
            ("begins in the middle", &[(&long[183..], false), (&bare, true)], vec![Ok(short.clone())]),
            ("cut short", &[(&first, true), (&bare, true)], vec![Err(PsiError::Cut), Ok(short.clone())]),
            ("pointer out of the packet", &[(&[9, 0], true)], vec![Err(PsiError::BadLength)]),
            ("too long", &[(&[0, 2, 0xbf, 0xff], true)], vec![Err(PsiError::TooLong(4098))]),
        ] {
            assert_eq!(read(packets), want, "{name}");
        }
    }

    #[test]
    fn a_wrong_bit_is_found() {
        let good = section(0, 1, 3, (0, 0), &[0, 1, 0xe1, 0]);
        assert!(matches!(Section::parse(&good), Some(Ok(Section { version: 3, current: true, .. }))));
        for bit in 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(!matches!(Section::parse(&bad), Some(Ok(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_pat_of_two_sections_is_whole_with_the_second() {
        let mut pat = Pat::default();
        let mut push = |bytes: &[u8]| pat.push(&Section::parse(bytes).unwrap().unwrap());
        assert_eq!(push(&section(0, 1, 0, (1, 1), &[0, 2, 0xe2, 0])), None);
        let network_and_one = [0, 0, 0xe0, 0x10, 0, 1, 0xe1, 0];
        assert_eq!(push(&section(0, 1, 0, (0, 1), &network_and_one)), Some(vec![(1, 0x100), (2, 0x200)]));
        assert_eq!(push(&section(0, 1, 0, (0, 1), &network_and_one)), None, "nothing new");
        assert_eq!(push(&section(0, 1, 1, (0, 0), &[0, 1, 0xe3, 0])), Some(vec![(1, 0x300)]), "new version");
        assert_eq!(push(&section(0, 1, 1, (0, 0), &[0, 1, 0xe4, 0])), Some(vec![(1, 0x400)]), "new without saying so");
    }

    #[test]
    fn a_pmt_lists_its_streams() {
        let body =
            [0xe1, 0, 0xf0, 2, 0x09, 0, 0x1b, 0xe1, 1, 0xf0, 0, 0x0f, 0xe1, 2, 0xf0, 6, 10, 4, b'd', b'e', b'u', 0];
        let bytes = section(2, 7, 0, (0, 0), &body);
        let pmt = Pmt::parse(&Section::parse(&bytes).unwrap().unwrap()).unwrap().unwrap();
        assert_eq!((pmt.programme, pmt.pcr_pid), (7, 0x100));
        assert_eq!(
            pmt.streams.iter().map(|s| (s.stream_type, s.pid)).collect::<Vec<_>>(),
            [(0x1b, 0x101), (0x0f, 0x102)]
        );
        let cut = section(2, 7, 0, (0, 0), &body[..body.len() - 1]);
        assert_eq!(Pmt::parse(&Section::parse(&cut).unwrap().unwrap()), Some(Err(PsiError::BadLength)));
    }

    proptest! {
        #[test]
        fn any_packets_are_survived(
            packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..184), any::<bool>()), 0..20),
        ) {
            let mut reader = SectionReader::default();
            for (payload, starts) in &packets {
                reader.push(payload, *starts, |section| {
                    if let Ok(bytes) = section
                        && let Some(Ok(section)) = Section::parse(bytes)
                    {
                        let _ = Pmt::parse(&section);
                    }
                });
                prop_assert!(reader.buffered() <= SECTION_MAX);
            }
        }

        #[test]
        fn any_body_of_a_pmt_is_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = section(2, 1, 0, (0, 0), &body);
            let _ = Pmt::parse(&Section::parse(&bytes).unwrap().unwrap());
        }
    }
}
