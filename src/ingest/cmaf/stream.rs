//! The bytes of a CMAF track, in any portions → header, fragments, samples (ISO/IEC 14496-12 §4.2, 23000-19 §7.3).
//!
//! In:    portions of one HTTP request's body; of each fragment, where its samples lie.
//! Out:   [`Element`]s, each as soon as its bytes are there: a sample does not wait for the end of its chunk.
//! Never: keeps more than one box of a header, or one sample, and the portion at hand; trusts a size.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::mp4::read::{Header, Sample};

/// Bytes of a box that is read whole. A header has some hundred bytes and a fragment 16 a sample.
const BOX_MAX: u64 = 1 << 20;
/// Bytes of a box that is passed over: indices, events, free space.
const SKIP_MAX: u64 = 16 << 20;
/// Bytes of an `mdat`: ten seconds of 400 Mbit/s.
const MEDIA_MAX: u64 = 512 << 20;
/// A sample above this is no picture, bytes: twice what a demux takes.
const SAMPLE_MAX: u32 = 8 << 20;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Something else than boxes.
    #[error("no CMAF: at byte {at} there should be a box")]
    NoBox {
        /// Where.
        at: u64,
    },
    /// A size beyond all reason.
    #[error("box `{}` of {bytes} bytes: {most} are possible", name.escape_ascii())]
    TooLong {
        /// Which box.
        name: [u8; 4],
        /// How long it says it is.
        bytes: u64,
        /// How long it may be.
        most: u64,
    },
    /// Samples of a fragment that does not hold them.
    #[error("sample at byte {at} lies outside of the fragment's `mdat`")]
    Outside {
        /// Where it should begin.
        at: u64,
    },
    /// ISO/IEC 23000-19 §7.3.2.3: a chunk is one `moof` and one `mdat`.
    #[error("`mdat` without a `moof` before it, or `moof` without `mdat`")]
    NoChunk,
    /// A sample of no bytes, or of more than any picture has.
    #[error("sample of {0} bytes")]
    SampleBytes(u32),
    /// The body ended in the middle of a box.
    #[error("cut off inside of a box")]
    Cut,
}

/// What a stream holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// Content of `moov`.
    Header(Bytes),
    /// Content of a `moof` that begins at `start`. [`Stream::expect`] must be told its samples.
    Fragment {
        /// Where it begins in the stream.
        start: u64,
        /// Its content.
        moof: Bytes,
    },
    /// A sample, whole.
    Sample(Sample, Bytes),
    /// Content of a `uuid` box.
    Aside(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A box begins.
    Begin,
    /// The content of this box, so many bytes, is collected; it began at `start`.
    Collect { name: [u8; 4], bytes: u64, start: u64 },
    /// So many bytes are passed over.
    Skip { left: u64 },
    /// Inside of `mdat`, up to this place; to the end of the stream where not said.
    Media { end: Option<u64> },
}

/// One body.
#[derive(Debug)]
pub struct Stream {
    state: State,
    /// Where the first byte of `buffer` lies.
    at: u64,
    buffer: BytesMut,
    /// Samples still to come, of the fragment at hand.
    samples: VecDeque<Sample>,
    /// A fragment's samples are known and its `mdat` has not begun.
    ready: bool,
    /// The last segment was begun (`mfra`, brand `lmsg`): the end of the body is the end of the track.
    last: bool,
}

impl Default for Stream {
    fn default() -> Self {
        let (state, samples) = (State::Begin, VecDeque::new());
        Self { state, at: 0, buffer: BytesMut::new(), samples, ready: false, last: false }
    }
}

impl Stream {
    /// Takes the next bytes. [`Self::element`] is then called until it has nothing more.
    pub fn push(&mut self, portion: &[u8]) {
        self.buffer.extend_from_slice(portion);
    }

    /// The samples of the fragment handed out last, in the order of their places.
    pub fn expect(&mut self, samples: Vec<Sample>) {
        self.samples = samples.into();
        self.ready = true;
    }

    /// The next element; `None` until more bytes come.
    ///
    /// # Errors
    /// The bytes make no sense. Nothing more comes of this stream.
    pub fn element(&mut self) -> Result<Option<Element>, StreamError> {
        loop {
            match self.state {
                State::Begin => {
                    if !self.begin()? {
                        return Ok(None);
                    }
                }
                State::Collect { name, bytes, start } => {
                    if (self.buffer.len() as u64) < bytes {
                        return Ok(None);
                    }
                    let content = self.take(bytes as usize);
                    self.state = State::Begin;
                    match &name {
                        b"moov" => return Ok(Some(Element::Header(content))),
                        b"moof" => return Ok(Some(Element::Fragment { start, moof: content })),
                        b"uuid" => return Ok(Some(Element::Aside(content))),
                        // §8.16.2: major brand, its version, then brands. DASH's `lmsg` marks the last one (23009-1 §6.3.4.2).
                        _ => self.last |= content.chunks_exact(4).any(|brand| brand == b"lmsg"),
                    }
                }
                State::Skip { left } => {
                    let here = self.pass_over(left);
                    if here < left {
                        self.state = State::Skip { left: left - here };
                        return Ok(None);
                    }
                    self.state = State::Begin;
                }
                State::Media { end } => match self.media(end)? {
                    Some(element) => return Ok(Some(element)),
                    None if self.state == State::Begin => {}
                    None => return Ok(None),
                },
            }
        }
    }

    /// The body has ended. Says whether the track has, too.
    ///
    /// # Errors
    /// In the middle of a box, or without the media of a fragment.
    pub fn finish(&self) -> Result<bool, StreamError> {
        let between = match self.state {
            State::Begin => self.buffer.is_empty() && !self.ready,
            State::Media { end: None } => true,
            _ => false,
        };
        if between && self.samples.is_empty() { Ok(self.last) } else { Err(StreamError::Cut) }
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Reads the header of a box, if it is there.
    fn begin(&mut self) -> Result<bool, StreamError> {
        let wide = self.buffer.get(..4) == Some(&[0, 0, 0, 1]);
        if self.buffer.len() < if wide { Header::BYTES_MAX } else { 8 } {
            return Ok(false);
        }
        let (start, wrong) = (self.at, StreamError::NoBox { at: self.at });
        let Header { name, header, total } = Header::parse(&self.buffer).ok_or(wrong)?;
        if !name.iter().all(|letter| (b' '..=b'~').contains(letter)) {
            return Err(wrong);
        }
        self.take(header as usize);
        let content = total.map(|total| total - header);
        let within = |most: u64| match content {
            Some(bytes) if bytes <= most => Ok(bytes),
            // Only media may last as long as the stream does.
            _ => Err(StreamError::TooLong { name, bytes: content.unwrap_or(u64::MAX), most }),
        };
        self.state = match &name {
            b"mdat" => {
                if !std::mem::take(&mut self.ready) {
                    return Err(StreamError::NoChunk);
                }
                let bytes = if total.is_some() { Some(within(MEDIA_MAX)?) } else { None };
                State::Media { end: bytes.map(|bytes| self.at + bytes) }
            }
            b"moof" if self.ready => return Err(StreamError::NoChunk),
            // Index of all fragments: behind the last one.
            b"mfra" => {
                self.last = true;
                State::Skip { left: within(MEDIA_MAX)? }
            }
            b"moov" | b"moof" | b"styp" => State::Collect { name, bytes: within(BOX_MAX)?, start },
            // Strangers' may be long, and ours is not.
            b"uuid" if content.is_some_and(|bytes| bytes <= 1024) => {
                State::Collect { name, bytes: within(1024)?, start }
            }
            _ => State::Skip { left: within(SKIP_MAX)? },
        };
        Ok(true)
    }

    /// The next sample of the `mdat` at hand.
    fn media(&mut self, end: Option<u64>) -> Result<Option<Element>, StreamError> {
        let Some(sample) = self.samples.front().copied() else {
            // What lies behind the last sample is of nobody.
            let left = end.map_or(u64::MAX, |end| end - self.at);
            if self.pass_over(left) == left {
                self.state = State::Begin;
            }
            return Ok(None);
        };
        if !(1..=SAMPLE_MAX).contains(&sample.bytes) {
            return Err(StreamError::SampleBytes(sample.bytes));
        }
        let behind = sample.offset.saturating_add(u64::from(sample.bytes));
        if sample.offset < self.at || end.is_some_and(|end| behind > end) {
            return Err(StreamError::Outside { at: sample.offset });
        }
        self.pass_over(sample.offset - self.at);
        if self.at < sample.offset || self.buffer.len() < sample.bytes as usize {
            return Ok(None);
        }
        self.samples.pop_front();
        let data = self.take(sample.bytes as usize);
        Ok(Some(Element::Sample(sample, data)))
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.at += bytes as u64;
        self.buffer.split_to(bytes).freeze()
    }

    /// Passes over so many bytes, or those that are there; says how many.
    fn pass_over(&mut self, bytes: u64) -> u64 {
        let here = bytes.min(self.buffer.len() as u64);
        self.buffer.advance(here as usize);
        self.at += here;
        here
    }
}
