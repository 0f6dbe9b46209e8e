//! Long texts that change at their ends only: playlists and manifests of hours. What lies in the middle is written and
//! compressed once, and from then on only referred to.
//!
//! A gzip stream is one raw deflate stream (RFC 1952). Deflate can be cut at any full flush, behind which nothing refers to what
//! lies before it, and put together again; the sum at the end of gzip follows from the sums of the pieces.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};
use sha2::{Digest, Sha256};

use super::content::Content;
use super::names::entity_tag;
use super::snapshot::{Cache, Resource};

/// Compresses texts, one after the other.
#[derive(Debug)]
pub(super) struct Deflater(Compress);

impl Default for Deflater {
    fn default() -> Self {
        // Raw, for the frame around it is ours. The fastest level: it is done at each publication.
        Self(Compress::new(Compression::fast(), false))
    }
}

impl Deflater {
    /// `text` as a piece of a deflate stream; `last` ends the stream.
    fn deflate(&mut self, text: &[u8], last: bool) -> Vec<u8> {
        self.0.reset();
        let flush = if last { FlushCompress::Finish } else { FlushCompress::Full };
        let mut out = Vec::with_capacity(text.len() / 4 + 64);
        loop {
            let before = self.0.total_in() as usize;
            let status = self.0.compress_vec(&text[before..], &mut out, flush);
            let done = self.0.total_in() as usize == text.len() && out.len() < out.capacity();
            // No room for more is the one thing that can go wrong here.
            if done || !matches!(status, Ok(flate2::Status::Ok | flate2::Status::BufError)) {
                return out;
            }
            out.reserve(out.capacity().max(64));
        }
    }

    /// A piece of text that will not change.
    pub fn seal(&mut self, text: String, before: Option<&Sealed>) -> Sealed {
        let deflated = Bytes::from(self.deflate(text.as_bytes(), false));
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

/// A text in the making.
#[derive(Debug)]
pub(super) struct Rope<'a> {
    deflater: &'a mut Deflater,
    plain: Vec<Bytes>,
    coded: Vec<Bytes>,
    crc: Hasher,
    digest: Sha256,
    /// What was written since the last sealed piece.
    open: String,
}

/// The gzip header (RFC 1952 §2.3): deflate, no name, no time, so that equal texts have equal bytes; fastest; Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];

impl<'a> Rope<'a> {
    pub fn new(deflater: &'a mut Deflater) -> Self {
        let coded = vec![Bytes::from_static(&GZIP_HEADER)];
        let (crc, digest) = (Hasher::new(), Sha256::new());
        Self { deflater, plain: Vec::new(), coded, crc, digest, open: String::new() }
    }

    /// Where to write.
    pub fn text(&mut self) -> &mut String {
        &mut self.open
    }

    /// Goes on with pieces that were sealed one behind the other.
    pub fn sealed<'s>(&mut self, mut pieces: impl DoubleEndedIterator<Item = &'s Sealed> + Clone) {
        let (Some(first), Some(last)) = (pieces.clone().next(), pieces.clone().next_back()) else { return };
        self.flush(false);
        let len = last.len - (first.len - first.text.len() as u64);
        // The sum of what lies between two sums: the second is that of the first, moved along by the length, and this one.
        let mut moved = Hasher::new_with_initial_len(first.crc_before, 0);
        moved.combine(&Hasher::new_with_initial_len(0, len));
        let crc = last.crc ^ moved.finalize();
        self.crc.combine(&Hasher::new_with_initial_len(crc, len));
        // The tag stands for the bytes without looking at all of them each time.
        self.digest.update(crc.to_be_bytes());
        self.digest.update(len.to_be_bytes());
        for piece in pieces.by_ref() {
            self.plain.push(piece.text.clone());
            self.coded.push(piece.deflated.clone());
        }
    }

    fn flush(&mut self, last: bool) {
        if self.open.is_empty() && !last {
            return;
        }
        let text = std::mem::take(&mut self.open);
        self.crc.update(text.as_bytes());
        self.digest.update((text.len() as u64).to_be_bytes());
        self.digest.update(text.as_bytes());
        let mut coded = self.deflater.deflate(text.as_bytes(), last);
        if last {
            coded.extend_from_slice(&self.crc.clone().finalize().to_le_bytes());
            let len: usize = self.plain.iter().map(Bytes::len).sum::<usize>() + text.len();
            coded.extend_from_slice(&((len & 0xffff_ffff) as u32).to_le_bytes());
        }
        self.plain.push(Bytes::from(text));
        self.coded.push(Bytes::from(coded));
    }

    /// The text as it can be served.
    pub fn finish(mut self, content_type: &'static str, cache: Cache) -> Resource {
        self.flush(true);
        let digest = std::mem::take(&mut self.digest);
        self.finished(digest, content_type, cache)
    }

    /// The same of a text that stays as it is while what it is made of is sealed: its tag does not depend on what was sealed by
    /// then.
    pub fn finish_settled(mut self, content_type: &'static str, cache: Cache) -> Resource {
        self.flush(true);
        let len: usize = self.plain.iter().map(Bytes::len).sum();
        let digest =
            Sha256::new().chain_update(self.crc.clone().finalize().to_be_bytes()).chain_update(len.to_be_bytes());
        self.finished(digest, content_type, cache)
    }

    fn finished(self, digest: Sha256, content_type: &'static str, cache: Cache) -> Resource {
        let etag = entity_tag(&digest.finalize());
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
