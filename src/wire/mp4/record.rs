//! What the decoder configuration records of all formats share.

use bytes::Bytes;

/// Why there is no sample entry for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A segment must bring all of them.
    #[error("parameter sets missing")]
    Missing,
    /// Cut short, or values outside the standard.
    #[error("parameter sets unreadable")]
    Unreadable,
    /// More than the record holds.
    #[error("too many parameter sets")]
    TooMany,
}

/// Whether the payload of an SEI NAL unit is a user_data_unregistered message (payloadType 5, ISO/IEC 14496-10 §D.1.7;
/// payloadSize in one or more bytes, then a UUID) of this author.
pub(super) fn is_signature(sei: &[u8], author: &[u8; 16]) -> bool {
    let Some((&[5], rest)) = sei.split_first_chunk() else { return false };
    let size_bytes = rest.iter().take_while(|&&b| b == 0xff).count() + 1;
    rest.get(size_bytes..).is_some_and(|payload| payload.starts_with(author))
}

/// A parameter set behind its length of 16 bits, as both records of ISO/IEC 14496-15 hold it.
pub(super) fn push_sized(record: &mut Vec<u8>, unit: &Bytes) -> Result<(), ConfigError> {
    let len = u16::try_from(unit.len()).map_err(|_| ConfigError::TooMany)?;
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(unit);
    Ok(())
}
