//! Bits, most significant first, and the Exp-Golomb codes of H.264 and HEVC.

/// Reads bits; `None` behind the end.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// `count` bits, at most 32.
    pub(super) fn read(&mut self, count: usize) -> Option<u32> {
        debug_assert!(count <= 32);
        let end = self.at + count;
        if end > self.bytes.len() * 8 {
            return None;
        }
        let mut value = 0u64;
        for byte in &self.bytes[self.at / 8..end.div_ceil(8)] {
            value = value << 8 | u64::from(*byte);
        }
        let behind = end.div_ceil(8) * 8 - end;
        self.at = end;
        Some((value >> behind & ((1u64 << count) - 1)) as u32)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count)?;
        (end <= self.bytes.len() * 8).then(|| self.at = end)
    }

    /// ue(v), ISO/IEC 14496-10 §9.1.
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u64 << zeros) - 1) as u32 + self.read(zeros)?)
    }

    /// se(v), ISO/IEC 14496-10 §9.1.1.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 } as i32)
    }
}

/// The payload of a NAL unit without emulation_prevention_three_byte (ISO/IEC 14496-10 §7.4.1).
pub(super) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_read() {
        // 1 | 010 | 011 | 00100 | 00101 | then four bits 1010
        let bytes = [0b1010_0110, 0b0100_0010, 0b1101_0000];
        let mut bits = Bits::new(&bytes);
        let codes: Vec<u32> = (0..5).map(|_| bits.unsigned().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        assert_eq!(bits.read(4), Some(0b1010));
        let mut bits = Bits::new(&bytes);
        let codes: Vec<i32> = (0..5).map(|_| bits.signed().unwrap()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
        assert_eq!(Bits::new(&[0; 3]).unsigned(), None, "nothing but zeros");
        assert_eq!(Bits::new(&[0, 0, 0, 0, 0xff]).unsigned(), None, "too long a code");
        assert_eq!(Bits::new(&[1, 2, 3, 4]).read(32), Some(0x0102_0304));
    }

    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(unescape(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [1, 0, 0, 1, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn reading_bit_by_bit_is_the_same(bytes in prop::collection::vec(any::<u8>(), 0..9), skip in 0usize..40, count in 0usize..33) {
            let (mut whole, mut single) = (Bits::new(&bytes), Bits::new(&bytes));
            if whole.skip(skip).is_some() {
                single.skip(skip).unwrap();
                let want = (0..count).try_fold(0u64, |v, _| Some(v << 1 | u64::from(single.flag()?)));
                prop_assert_eq!(whole.read(count).map(u64::from), want);
            }
        }
    }
}
