//! A folder's files as one channel: what the load test compares with nginx. Not part of the product's data path.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::{ChannelFeed, Directory, Limits, Running, start};
use crate::media::ChannelId;
use crate::package::{Cache, Lookup, Resource};

/// Serves the files of `folder` below `/live/bench/` as the packager would publish them, until it is stopped.
///
/// # Errors
/// The folder cannot be read, or the address cannot be bound.
pub fn run(folder: &Path, listen: SocketAddr, threads: usize) -> io::Result<Running> {
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name().and_then(|n| n.to_str())) {
            files.insert(name.to_owned(), resource(name, std::fs::read(&path)?.into())?);
        }
    }
    let directory = Arc::new(Directory::default());
    let channel = ChannelId::new("bench").map_err(io::Error::other)?;
    directory.insert(
        &channel,
        ChannelFeed::with(move |path| files.get(path).cloned().map_or(Lookup::Unknown, Lookup::Found)),
    );
    start(listen, threads, directory, Limits::default())
}

fn resource(name: &str, body: Bytes) -> io::Result<Resource> {
    let (content_type, text) = match name.rsplit_once('.').map(|(_, end)| end) {
        Some("m3u8") => ("application/vnd.apple.mpegurl", true),
        Some("mpd") => ("application/dash+xml", true),
        _ => ("video/mp4", false),
    };
    let digest: String = Sha256::digest(&body).iter().take(16).map(|b| format!("{b:02x}")).collect();
    let gzip = if text {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        io::Write::write_all(&mut encoder, &body)?;
        Some(Bytes::from(encoder.finish()?).into())
    } else {
        None
    };
    let cache = if text { Cache::For(Duration::from_secs(1)) } else { Cache::Immutable };
    Ok(Resource { content_type, etag: format!("\"{digest}\"").into(), cache, body: body.into(), gzip })
}
