//! Descriptors of a programme map.

/// The descriptors of one stream: tag, length, data, again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors(Box<[u8]>);

impl From<&[u8]> for Descriptors {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Descriptors {
    /// Tag and data of each, as far as their lengths make sense.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&[tag, length], behind) = rest.split_first_chunk()?;
            let (data, next) = behind.split_at_checked(usize::from(length))?;
            rest = next;
            Some((tag, data))
        })
    }

    /// Data of the first one with this tag.
    pub(super) fn find(&self, tag: u8) -> Option<&[u8]> {
        self.iter().find(|&(t, _)| t == tag).map(|(_, data)| data)
    }

    /// Whether there is one with this tag.
    pub(super) fn has(&self, tag: u8) -> bool {
        self.find(tag).is_some()
    }

    /// format_identifier of the registration descriptor (ISO/IEC 13818-1 §2.6.8).
    pub(super) fn registration(&self) -> Option<&[u8; 4]> {
        self.find(0x05)?.first_chunk()
    }
}
