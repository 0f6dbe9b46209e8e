//! The transport packet (ISO/IEC 13818-1 §2.4.3.2) and its continuity counter.

/// Bytes of a transport packet.
pub const PACKET_BYTES: usize = 188;

/// A packet, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Whose it is, 13 bits.
    pub pid: u16,
    /// transport_error_indicator: some bit is wrong, nobody knows which.
    pub error: bool,
    /// payload_unit_start_indicator: a PES packet or a section begins.
    pub starts: bool,
    /// transport_scrambling_control is not 0.
    pub scrambled: bool,
    /// continuity_counter, 4 bits.
    pub counter: u8,
    /// discontinuity_indicator: counter, and on the PCR's PID the time base, may jump here.
    pub discontinuity: bool,
    /// Programme clock reference, 27 MHz ticks, below 2³³ · 300.
    pub pcr: Option<u64>,
    /// `None`: there is no payload, and the counter stands still.
    pub payload: Option<&'a [u8]>,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It does not begin with 0x47.
    #[error("no sync byte")]
    NoSync,
    /// adaptation_field_length leads out of the packet.
    #[error("adaptation field of {0} bytes")]
    AdaptationTooLong(u8),
    /// adaptation_field_control 00 is reserved; decoders discard such packets.
    #[error("neither adaptation field nor payload")]
    Reserved,
}

impl<'a> Packet<'a> {
    /// Takes a packet apart.
    pub fn parse(bytes: &'a [u8; PACKET_BYTES]) -> Result<Self, PacketError> {
        if bytes[0] != 0x47 {
            return Err(PacketError::NoSync);
        }
        let control = bytes[3] >> 4 & 3;
        let mut packet = Self {
            pid: u16::from(bytes[1] & 0x1f) << 8 | u16::from(bytes[2]),
            error: bytes[1] & 0x80 != 0,
            starts: bytes[1] & 0x40 != 0,
            scrambled: bytes[3] & 0xc0 != 0,
            counter: bytes[3] & 0x0f,
            discontinuity: false,
            pcr: None,
            payload: None,
        };
        let mut rest = &bytes[4..];
        if control == 0 {
            return Err(PacketError::Reserved);
        }
        if control & 2 != 0 {
            let (length, behind) = (rest[0], &rest[1..]);
            let Some((field, payload)) = behind.split_at_checked(usize::from(length)) else {
                return Err(PacketError::AdaptationTooLong(length));
            };
            if let Some((flags, field)) = field.split_first() {
                packet.discontinuity = flags & 0x80 != 0;
                packet.pcr = if flags & 0x10 != 0 { field.first_chunk().map(pcr) } else { None };
            }
            rest = payload;
        }
        if control & 1 != 0 {
            packet.payload = Some(rest);
        }
        Ok(packet)
    }
}

fn pcr(field: &[u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = field.map(u64::from);
    let base = a << 25 | b << 17 | c << 9 | d << 1 | e >> 7;
    base * 300 + ((e & 1) << 8 | f)
}

/// What a counter says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It follows the one before it, or nothing is known of that one.
    Follows,
    /// It repeats the counter of the one before it: a duplicate if the bytes are equal as well (§2.4.3.3).
    Repeats,
    /// It does so again, which no packet may. Tables of some multiplexers never count at all.
    Stands,
    /// Packets are missing in between.
    Jumps,
}

/// The continuity counter of one PID.
#[derive(Clone, Copy, Debug, Default)]
pub struct Continuity {
    /// Counter of the packet before, with [`Self::SEEN`] and [`Self::REPEATED`].
    state: u8,
}

impl Continuity {
    const SEEN: u8 = 0x80;
    const REPEATED: u8 = 0x40;

    /// Judges the next packet of the PID.
    pub fn step(&mut self, packet: &Packet<'_>) -> Step {
        let (last, seen) = (self.state & 0x0f, self.state & Self::SEEN != 0);
        let free = !seen || packet.discontinuity;
        if packet.payload.is_none() {
            // The counter stands still; what it says is only taken over where it may begin anew.
            if free {
                self.state = Self::SEEN | packet.counter;
            }
            return if free || packet.counter == last { Step::Follows } else { Step::Jumps };
        }
        let repeated = self.state & Self::REPEATED != 0;
        self.state = Self::SEEN | packet.counter;
        if free || packet.counter == (last + 1) & 0x0f {
            Step::Follows
        } else if packet.counter == last {
            self.state |= Self::REPEATED;
            if repeated { Step::Stands } else { Step::Repeats }
        } else {
            Step::Jumps
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(head: &[u8]) -> [u8; PACKET_BYTES] {
        let mut bytes = [0xff; PACKET_BYTES];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let bytes = packet(&[0x47, 0x41, 0x23, 0x1a, 1, 2, 3]);
        let plain = Packet::parse(&bytes).unwrap();
        assert_eq!((plain.pid, plain.starts, plain.counter, plain.error), (0x123, true, 10, false));
        assert_eq!(plain.payload, Some(&bytes[4..]));

        let bytes = packet(&[0x47, 0x80, 0x20, 0xb3, 7, 0x90, 0xff, 0xff, 0xff, 0xff, 0xff, 0x2b]);
        let full = Packet::parse(&bytes).unwrap();
        assert!(full.error && full.scrambled && full.discontinuity && !full.starts);
        assert_eq!(full.pcr, Some(((1 << 33) - 1) * 300 + 0x12b));
        assert_eq!(full.payload.map(<[u8]>::len), Some(176));
    }

    #[test]
    fn malformed_packets_are_refused() {
        for (name, head, want) in [
            ("no sync", &[0x48, 0, 0, 0x10][..], PacketError::NoSync),
            ("reserved", &[0x47, 0, 0, 0x00], PacketError::Reserved),
            ("adaptation field too long", &[0x47, 0, 0, 0x30, 184], PacketError::AdaptationTooLong(184)),
        ] {
            assert_eq!(Packet::parse(&packet(head)), Err(want), "{name}");
        }
    }

    #[test]
    fn counters_are_judged() {
        use Step::{Follows, Jumps, Repeats, Stands};
        // (counter, has payload, discontinuity_indicator)
        for (name, packets, want) in [
            ("wraps", &[(14, true, false), (15, true, false), (0, true, false)][..], &[Follows, Follows, Follows][..]),
            ("twice is allowed", &[(3, true, false), (3, true, false), (4, true, false)], &[Follows, Repeats, Follows]),
            (
                "three times is not",
                &[(3, true, false), (3, true, false), (3, true, false)],
                &[Follows, Repeats, Stands],
            ),
            ("a hole", &[(3, true, false), (5, true, false), (6, true, false)], &[Follows, Jumps, Follows]),
            ("announced", &[(3, true, false), (9, true, true), (10, true, false)], &[Follows, Follows, Follows]),
            ("no payload", &[(3, true, false), (3, false, false), (4, true, false)], &[Follows, Follows, Follows]),
        ] {
            let mut counter = Continuity::default();
            let got: Vec<Step> = packets
                .iter()
                .map(|&(n, payload, discontinuity)| {
                    let payload = payload.then_some(&[][..]);
                    let mut packet = Packet::parse(&NULL).unwrap();
                    packet = Packet { counter: n, discontinuity, payload, ..packet };
                    counter.step(&packet)
                })
                .collect();
            assert_eq!(got, want, "{name}");
        }
    }

    const NULL: [u8; PACKET_BYTES] = {
        let mut bytes = [0xff; PACKET_BYTES];
        bytes[0] = 0x47;
        bytes[3] = 0x10;
        bytes
    };

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), PACKET_BYTES)) {
            bytes[0] = 0x47;
            let _ = Packet::parse(bytes.first_chunk().unwrap());
        }
    }
}
