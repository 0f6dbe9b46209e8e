//! Long texts that change at their ends only: playlists and manifests of hours. What lies in the middle is written and
//! compressed once, and from then on only referred to.
//!
//! A gzip stream is one raw deflate stream (RFC 1952). Deflate can be cut at any full flush, behind which nothing refers to what
//! lies before it, and put together again; the sum at the end of gzip follows from the sums of the pieces.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

use super::content::{Content, Group, Run};
use super::digest::{Digest, Digester, Tag};
use super::names::entity_tag;
use super::snapshot::{Cache, Resource};

/// Compresses texts, one after the other, and remembers what lies in the middle of them.
#[derive(Debug)]
pub(super) struct Deflater {
    compress: Compress,
    /// The newest last. A text that is written again with each part has the same middle for minutes: putting a day together piece by
    /// piece each time would cost more than all the rest of it.
    middles: Vec<Middle>,
    /// Room to write and to compress in, kept from text to text: what becomes of them is copied to a place of its size, so that the heap
    /// of a long window does not fall to pieces.
    text: String,
    coded: Vec<u8>,
}

/// Middles that are remembered: of a dozen renditions' playlists and manifest, and of the minute before. Those of more are put together
/// each time.
const MIDDLES_MAX: usize = 48;

impl Default for Deflater {
    fn default() -> Self {
        // Raw, for the frame around it is ours. The fastest level: it is done at each publication.
        let compress = Compress::new(Compression::fast(), false);
        Self { compress, middles: Vec::new(), text: String::new(), coded: Vec::new() }
    }
}

impl Deflater {
    /// `text` as a piece of a deflate stream; `last` ends the stream.
    fn deflate(&mut self, text: &[u8], last: bool) -> &mut Vec<u8> {
        self.compress.reset();
        let flush = if last { FlushCompress::Finish } else { FlushCompress::Full };
        let out = &mut self.coded;
        out.clear();
        out.reserve(text.len() / 4 + 64);
        loop {
            let before = self.compress.total_in() as usize;
            let status = self.compress.compress_vec(&text[before..], out, flush);
            let done = self.compress.total_in() as usize == text.len() && out.len() < out.capacity();
            // No room for more is the one thing that can go wrong here.
            if done || !matches!(status, Ok(flate2::Status::Ok | flate2::Status::BufError)) {
                return out;
            }
            out.reserve(out.capacity().max(64));
        }
    }

    /// Pieces that were sealed one behind the other; `None` where there are none.
    fn middle<'s>(&mut self, mut pieces: impl DoubleEndedIterator<Item = &'s Sealed> + Clone) -> Option<Middle> {
        let first = pieces.clone().next()?;
        let ends = [first, pieces.clone().next_back()?].map(|end| (end.text.as_ptr().addr(), end.len));
        let known = self.middles.iter().position(|middle| middle.ends == ends).map(|at| self.middles.remove(at));
        let middle = known.unwrap_or_else(|| Middle::new(ends, first, &mut pieces));
        if self.middles.len() == MIDDLES_MAX {
            self.middles.remove(0);
        }
        self.middles.push(middle.clone());
        Some(middle)
    }

    /// A piece of text that will not change.
    pub fn seal(&mut self, text: String, before: Option<&Sealed>) -> Sealed {
        let deflated = Bytes::copy_from_slice(self.deflate(text.as_bytes(), false));
        let (crc_before, len_before) = before.map_or((0, 0), |b| (b.crc, b.len));
        let mut crc = Hasher::new_with_initial_len(crc_before, len_before);
        crc.update(text.as_bytes());
        let len = len_before + text.len() as u64;
        Sealed { crc_before, crc: crc.finalize(), len, text: Bytes::from(text), deflated }
    }
}

/// A piece of text that will not change, compressed.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub text: Bytes,
    deflated: Bytes,
    /// Sums of all sealed text since there is any: in front of this piece, and behind it; and the length behind it.
    crc_before: u32,
    crc: u32,
    len: u64,
}

/// Sealed pieces put together.
#[derive(Clone, Debug)]
struct Middle {
    /// Where the texts of the first and last piece lie, which stay there as long as they are in `plain`, and how long all sealed text is
    /// behind each: pieces between the same two are the same ones, and texts of no bytes make no difference.
    ends: [(usize, u64); 2],
    plain: Run,
    coded: Run,
    /// Sum of the text.
    crc: u32,
    /// Its bytes.
    len: u64,
}

impl Middle {
    fn new<'s>(
        ends: [(usize, u64); 2],
        first: &Sealed,
        pieces: &mut (impl DoubleEndedIterator<Item = &'s Sealed> + Clone),
    ) -> Self {
        let last = pieces.clone().next_back().unwrap_or(first);
        let len = last.len - (first.len - first.text.len() as u64);
        // The sum of what lies between two sums: the second is that of the first, moved along by the length, and this one.
        let mut moved = Hasher::new_with_initial_len(first.crc_before, 0);
        moved.combine(&Hasher::new_with_initial_len(0, len));
        let crc = last.crc ^ moved.finalize();
        let plain = Run::new(pieces.clone().map(|piece| piece.text.clone()));
        Self { ends, plain, coded: Run::new(pieces.map(|piece| piece.deflated.clone())), crc, len }
    }
}

/// A text in the making.
#[derive(Debug)]
pub(super) struct Rope<'a> {
    deflater: &'a mut Deflater,
    plain: Vec<Group>,
    coded: Vec<Group>,
    crc: Hasher,
    digester: Digester,
    /// What was written since the last sealed piece.
    open: String,
}

/// The gzip header (RFC 1952 §2.3): deflate, no name, no time, so that equal texts have equal bytes; fastest; Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];

impl<'a> Rope<'a> {
    pub fn new(deflater: &'a mut Deflater) -> Self {
        let coded = vec![Bytes::from_static(&GZIP_HEADER).into()];
        let (crc, digester) = (Hasher::new(), Digester::default());
        let mut open = std::mem::take(&mut deflater.text);
        open.clear();
        Self { deflater, plain: Vec::new(), coded, crc, digester, open }
    }

    /// Where to write.
    pub fn text(&mut self) -> &mut String {
        &mut self.open
    }

    /// Goes on with pieces that were sealed one behind the other.
    pub fn sealed<'s>(&mut self, pieces: impl DoubleEndedIterator<Item = &'s Sealed> + Clone) {
        let Some(Middle { plain, coded, crc, len, .. }) = self.deflater.middle(pieces) else { return };
        self.flush(false);
        self.crc.combine(&Hasher::new_with_initial_len(crc, len));
        // The tag stands for the bytes without looking at all of them each time.
        self.digester.update(&crc.to_be_bytes());
        self.digester.update(&len.to_be_bytes());
        self.plain.push(Group::Run(plain));
        self.coded.push(Group::Run(coded));
    }

    fn flush(&mut self, last: bool) {
        if self.open.is_empty() && !last {
            return;
        }
        let text = self.open.as_bytes();
        self.crc.update(text);
        self.digester.update(&(text.len() as u64).to_be_bytes());
        self.digester.update(text);
        let coded = self.deflater.deflate(text, last);
        if last {
            coded.extend_from_slice(&self.crc.clone().finalize().to_le_bytes());
            let len: usize = self.plain.iter().map(Group::len).sum::<usize>() + text.len();
            coded.extend_from_slice(&((len & 0xffff_ffff) as u32).to_le_bytes());
        }
        self.plain.push(Bytes::copy_from_slice(text).into());
        self.coded.push(Bytes::copy_from_slice(coded).into());
        self.open.clear();
    }

    /// The text as it can be served.
    pub fn finish(mut self, content_type: &'static str, cache: Cache) -> Resource {
        self.flush(true);
        let tag = self.digester.digest().tag();
        self.finished(tag, content_type, cache)
    }

    /// The same of a text that stays as it is while what it is made of is sealed: its tag does not depend on what was sealed by
    /// then.
    pub fn finish_settled(mut self, content_type: &'static str, cache: Cache) -> Resource {
        self.flush(true);
        let len: usize = self.plain.iter().map(Group::len).sum();
        let said = [self.crc.clone().finalize().to_be_bytes().to_vec(), len.to_be_bytes().to_vec()];
        self.finished(Digest::of_pieces(said).tag(), content_type, cache)
    }

    fn finished(self, tag: Tag, content_type: &'static str, cache: Cache) -> Resource {
        self.deflater.text = self.open;
        let etag = entity_tag(&tag);
        Resource { content_type, etag, cache, body: Content::of(self.plain), gzip: Some(Content::of(self.coded)) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn unpacked(coded: &[u8]) -> String {
        let mut text = String::new();
        // One member: browsers read no further than the first.
        GzDecoder::new(coded).read_to_string(&mut text).expect("gzip");
        text
    }

    fn line() -> impl Strategy<Value = String> {
        prop::collection::vec("#EXTINF:2.00[0-9]{4},\nt[0-9]{1,14}\\.m4s\n", 0..40).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_the_text_is_one(
            sealed in prop::collection::vec(line(), 0..8),
            (head, middle, tail) in (line(), line(), line()),
            (a, b) in (0usize..9, 0usize..9),
        ) {
            let mut deflater = Deflater::default();
            let mut pieces: Vec<Sealed> = Vec::new();
            for text in &sealed {
                let piece = deflater.seal(text.clone(), pieces.last());
                pieces.push(piece);
            }
            let (a, b) = (a.min(b).min(pieces.len()), a.max(b).min(pieces.len()));
            let mut rope = Rope::new(&mut deflater);
            rope.text().push_str(&head);
            rope.sealed(pieces[a..b].iter());
            rope.text().push_str(&middle);
            // A manifest has one such run for each kind of track.
            rope.sealed(pieces[..a].iter());
            rope.text().push_str(&tail);
            let found = rope.finish("text/plain", Cache::Immutable);
            let want = [head, sealed[a..b].concat(), middle, sealed[..a].concat(), tail].concat();
            prop_assert_eq!(&found.body.bytes()[..], want.as_bytes());
            prop_assert_eq!(unpacked(&found.gzip.expect("coded").bytes()), want);
        }
    }

    #[test]
    fn other_text_has_another_tag() {
        let mut deflater = Deflater::default();
        let one = deflater.seal("one\n".to_owned(), None);
        let two = deflater.seal("two\n".to_owned(), Some(&one));
        let mut tag = |sealed: &[&Sealed], tail: &str| {
            let mut rope = Rope::new(&mut deflater);
            rope.sealed(sealed.iter().copied());
            rope.text().push_str(tail);
            rope.finish("text/plain", Cache::Immutable).etag
        };
        let all = [tag(&[&one], "t"), tag(&[&two], "t"), tag(&[&one, &two], "t"), tag(&[&one], "u"), tag(&[], "t")];
        for (i, a) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|b| a == b), Some(i));
        }
        assert_eq!(tag(&[&one, &two], "t"), all[2]);
    }
}
