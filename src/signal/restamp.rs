//! Time stamps as other encoders have them: begun elsewhere, and jumping.
//!
//! In:    TS packets as the multiplexer wrote them.
//! Out:   the same with every PTS, DTS and PCR (ISO/IEC 13818-1 §2.4.3.4, §2.4.3.6) moved.
//! Never: moves by what came before: each stamp's own value decides, so that all encodings jump alike.

const PACKET: usize = 188;
const WRAP: i64 = 1 << 33;

/// How stamps are moved; times in ticks of 90 kHz.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restamp {
    /// The first picture's stamp, instead of its time since the epoch.
    pub start: Option<i64>,
    /// From so long behind the first picture on, stamps are so much higher, or lower.
    pub jumps: Vec<(i64, i64)>,
}

impl Restamp {
    /// Nothing is to be moved.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }

    /// Moves the stamps in whole packets. `first`: the first picture's time.
    pub fn apply(&self, packets: &mut [u8], first: i64) {
        for packet in packets.chunks_exact_mut(PACKET) {
            self.packet(packet, first);
        }
    }

    fn packet(&self, packet: &mut [u8], first: i64) {
        let (starts, adapted) = (packet[1] & 0x40 != 0, packet[3] & 0x20 != 0);
        let field = if adapted { usize::from(packet[4]) } else { 0 };
        if field >= 7 && packet[5] & 0x10 != 0 {
            let high = packet[6..10].iter().fold(0, |all, byte| all << 8 | i64::from(*byte));
            let base = self.moved(high << 1 | i64::from(packet[10] >> 7), first);
            packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
            packet[10] = packet[10] & 0x7f | (base as u8 & 1) << 7;
        }
        let payload = packet.get_mut(4 + if adapted { 1 + field } else { 0 }..).unwrap_or_default();
        if !starts || payload.len() < 19 || payload[..3] != [0, 0, 1] {
            return;
        }
        if payload[7] & 0x80 == 0 {
            return;
        }
        // A picture jumps as a whole, when its time of decoding comes.
        let has_dts = payload[7] & 0x40 != 0;
        let by = if has_dts { read(&payload[14..19]) } else { read(&payload[9..14]) };
        let by = self.moved(by, first) - by;
        Self::stamp(&mut payload[9..14], by);
        if has_dts {
            Self::stamp(&mut payload[14..19], by);
        }
    }

    fn stamp(field: &mut [u8], by: i64) {
        let t = (read(field) + by).rem_euclid(WRAP);
        field[0] = field[0] & 0xf1 | (t >> 29) as u8 & 0x0e;
        field[1] = (t >> 22) as u8;
        field[2] = (t >> 14) as u8 | 1;
        field[3] = (t >> 7) as u8;
        field[4] = (t << 1) as u8 | 1;
    }

    /// Where a stamp of 33 bits goes.
    fn moved(&self, stamp: i64, first: i64) -> i64 {
        let since = (stamp - first + WRAP / 2).rem_euclid(WRAP) - WRAP / 2;
        let jumped: i64 = self.jumps.iter().filter(|(after, _)| since >= *after).map(|(_, by)| by).sum();
        (self.start.unwrap_or(first) + since + jumped).rem_euclid(WRAP)
    }
}

/// A stamp of 33 bits in its five bytes.
fn read(field: &[u8]) -> i64 {
    let part = |at: usize| i64::from(field[at]);
    (part(0) & 0x0e) << 29 | part(1) << 22 | (part(2) & 0xfe) << 14 | part(3) << 7 | part(4) >> 1
}

/// Reads `30:3600`: half a minute on, an hour ahead. In seconds; the second may be below 0.
pub fn jump(text: &str) -> Result<(i64, i64), String> {
    let bad = || "write it as AFTER:BY in seconds, such as 30:3600 or 30:-0.7".to_owned();
    let (after, by) = text.split_once(':').ok_or_else(bad)?;
    let read = |text: &str| text.parse::<f64>().ok().filter(|s| s.abs() < 100_000.0).ok_or_else(bad);
    Ok(((read(after)? * 90_000.0).round() as i64, (read(by)? * 90_000.0).round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with PCR, PTS and DTS, all of this time.
    fn packet(t: i64) -> Vec<u8> {
        let mut packet = vec![0x47, 0x41, 0x00, 0x30, 7, 0x10];
        packet.extend(((t >> 1) as u32).to_be_bytes());
        packet.extend([(t as u8 & 1) << 7 | 0x7e, 0]);
        packet.extend([0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10]);
        for mark in [3u8, 1] {
            let field = [mark << 4 | (t >> 29) as u8 & 0x0e | 1, (t >> 22) as u8, (t >> 14) as u8 | 1];
            packet.extend(field);
            packet.extend([(t >> 7) as u8, (t << 1) as u8 | 1]);
        }
        packet.resize(PACKET, 0xaa);
        packet
    }

    #[test]
    fn every_stamp_of_a_packet_goes_where_it_should() {
        let restamp = Restamp { start: Some(WRAP - 900_000), jumps: vec![(450_000, 1_000_000), (990_000, -5_000_000)] };
        let first: i64 = 8_000_000_123;
        for (name, since, want) in [
            ("the first", 0, WRAP - 900_000),
            ("a DTS before it", -7_200, WRAP - 907_200),
            ("before the jump", 449_999, WRAP - 450_001),
            ("behind it, and the wrap", 450_000, 550_000),
            ("behind both", 990_000, WRAP - 3_910_000),
        ] {
            let mut bytes = packet((first + since).rem_euclid(WRAP));
            restamp.apply(&mut bytes, first);
            assert_eq!(bytes, packet(want), "{name}");
        }
        let mut same = packet(77);
        Restamp::default().apply(&mut same, 5_000);
        assert_eq!(same, packet(77));
    }

    #[test]
    fn jumps_are_read_in_seconds() {
        assert_eq!(jump("30:3600"), Ok((2_700_000, 324_000_000)));
        assert_eq!(jump("0.5:-0.7"), Ok((45_000, -63_000)));
        for bad in ["30", "a:b", "30:", "30:1e9"] {
            assert!(jump(bad).is_err(), "{bad}");
        }
    }
}
