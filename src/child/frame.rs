//! Messages on a byte stream: a little-endian `u32` length, then the message in postcard's encoding.
//!
//! Both ends are this same binary, so there is no version to negotiate; a length or encoding that makes no sense means
//! the child wrote garbage, and whoever reads it ends the conversation.

use std::io::{self, Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message. An intra picture of 2160p at the highest sane rate stays below a quarter of it.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Why a byte stream is not one of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is beyond [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes, more than {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// The bytes are no such message.
    #[error("a message that cannot be read")]
    Garbage(#[source] postcard::Error),
    /// The stream ended or failed.
    #[error("the socket to the other process")]
    Io(#[from] io::Error),
}

/// One message, ready to be written.
pub fn encode<T: Serialize>(message: &T) -> Result<Bytes, FrameError> {
    let mut buffer = BytesMut::with_capacity(256).writer();
    io::Write::write_all(&mut buffer, &[0; 4])?;
    let mut buffer = postcard::to_io(message, buffer).map_err(FrameError::Garbage)?.into_inner();
    let length = buffer.len() - 4;
    if length > MESSAGE_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    buffer[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(buffer.freeze())
}

/// Cuts messages out of bytes that arrive in any portions.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Where to read the next bytes into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message, if there is one.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < 4 + length {
            self.buffer.reserve(4 + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(4);
        let body = self.buffer.split_to(length);
        postcard::from_bytes(&body).map(Some).map_err(FrameError::Garbage)
    }
}

/// The child's side: blocking reads. `None` at a clean end of the stream.
pub fn read_message<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    postcard::from_bytes(&body).map(Some).map_err(FrameError::Garbage)
}

/// The child's side: blocking writes.
pub fn write_message<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), FrameError> {
    to.write_all(&encode(message)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_portions() {
        let sent: Vec<(u32, Bytes)> = (0..50).map(|i| (i, Bytes::from(vec![i as u8; i as usize * 37]))).collect();
        let stream: Vec<u8> = sent.iter().flat_map(|m| encode(m).expect("encodes").to_vec()).collect();
        for portion in [1, 3, 7, 1000, stream.len()] {
            let mut decoder = Decoder::default();
            let mut got: Vec<(u32, Bytes)> = Vec::new();
            for bytes in stream.chunks(portion) {
                decoder.buffer().extend_from_slice(bytes);
                while let Some(message) = decoder.pop().expect("ours") {
                    got.push(message);
                }
            }
            assert_eq!(got, sent, "portions of {portion}");
        }
    }

    #[test]
    fn a_mad_length_is_refused_before_memory_is_taken() {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.pop::<u8>(), Err(FrameError::TooLong(_))));
    }
}
