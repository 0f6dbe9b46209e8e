//! Recordings: a thread of its own for each, so that a disk that is slow, full or gone holds up nobody.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::archive::Archive;
use super::queue::Queue;
use super::{Event, FIGURES_EVERY, News, RETRY_AFTER};
use crate::clock::{self, Now};
use crate::config::Record;
use crate::media::OutputId;
use crate::monitor::{OutputFigures, RecordingStatus};
use crate::wire::ts::PACKET_BYTES;

/// Portions are collected for so long, and then written in one go.
const WRITE_EVERY: Duration = Duration::from_millis(100);
const BUFFER_BYTES: usize = 256 << 10;

/// Records what is queued until the queue is closed.
pub(super) fn start(id: &OutputId, record: Record, queue: Arc<Queue>, news: News, done: oneshot::Sender<()>) {
    let runtime = Handle::current();
    let failed = news.clone();
    let mut recorder = Recorder {
        id: id.clone(),
        folder: record.folder.clone(),
        record,
        archive: None,
        file: None,
        retry_at: None,
        deleted: 0,
        lost_bytes: 0,
        file_bytes: 0,
        unwritten: 0,
        figures: OutputFigures::default(),
        news,
    };
    let spawned = std::thread::Builder::new().name("recorder".into()).spawn(move || {
        let mut told_at = clock::now();
        loop {
            let portions = runtime.block_on(async { timeout(FIGURES_EVERY, queue.take()).await });
            let now = clock::now();
            match portions {
                Ok(Some(portions)) => recorder.take(now, portions),
                Ok(None) => break,
                Err(_) => {}
            }
            if now.since(told_at) >= FIGURES_EVERY {
                told_at = now;
                recorder.tell(queue.dropped());
            }
            std::thread::sleep(WRITE_EVERY);
        }
        recorder.close();
        recorder.tell(queue.dropped());
        let _ = done.send(());
    });
    if let Err(error) = spawned {
        failed.tell(Event::Failed { reason: format!("no thread to write in: {error}") });
    }
}

struct Recorder {
    id: OutputId,
    folder: PathBuf,
    record: Record,
    /// Made when the folder can be read.
    archive: Option<Archive>,
    file: Option<BufWriter<File>>,
    /// It failed, and tries again then.
    retry_at: Option<Now>,
    deleted: u64,
    lost_bytes: u64,
    /// Of the file being written: known to be in it, and on their way.
    file_bytes: u64,
    unwritten: u64,
    figures: OutputFigures,
    news: News,
}

impl Recorder {
    fn take(&mut self, now: Now, portions: VecDeque<Bytes>) {
        let bytes: u64 = portions.iter().map(|data| data.len() as u64).sum();
        if self.retry_at.is_some_and(|at| now.mono < at.mono) {
            self.lost_bytes += bytes;
            return;
        }
        let (before, trouble) = (self.figures.bytes, self.retry_at.is_some());
        match self.write(now, portions) {
            Ok(()) if trouble => {
                self.retry_at = None;
                self.news.tell(Event::Recovered);
            }
            Ok(()) => {}
            Err(error) => {
                self.lost_bytes += bytes.saturating_sub(self.figures.bytes - before);
                self.figures.errors += 1;
                self.retry_at = Some(now.after(RETRY_AFTER));
                self.give_up_file();
                // The folder may be another one when it is there again.
                self.archive = None;
                if !trouble {
                    self.news.tell(Event::Failed { reason: format!("{}: {error}", self.folder.display()) });
                }
            }
        }
    }

    fn write(&mut self, now: Now, portions: VecDeque<Bytes>) -> io::Result<()> {
        if self.archive.is_none() {
            self.archive = Some(self.look()?);
        }
        for data in portions {
            let bytes = data.len() as u64;
            if self.archive.as_ref().is_some_and(|archive| archive.rotates(now, bytes)) {
                self.flush()?;
                self.close();
            }
            let Some(archive) = &mut self.archive else { return Err(io::Error::other("no archive")) };
            while let Some(name) = archive.surplus(now, bytes) {
                // What cannot be deleted is told of once, and left alone.
                match fs::remove_file(self.folder.join(name)) {
                    Ok(()) => self.deleted += 1,
                    Err(_) => self.figures.errors += 1,
                }
            }
            let file = match &mut self.file {
                Some(file) => file,
                none => {
                    let path = self.folder.join(archive.begin(now));
                    // Never over a file that is there.
                    let file = File::options().write(true).create_new(true).open(path)?;
                    none.insert(BufWriter::with_capacity(BUFFER_BYTES, file))
                }
            };
            self.unwritten += bytes;
            file.write_all(&data)?;
            archive.wrote(bytes);
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush()?;
            self.file_bytes += self.unwritten;
            self.figures.bytes += std::mem::take(&mut self.unwritten);
        }
        Ok(())
    }

    /// Ends the file in good order.
    fn close(&mut self) {
        if self.flush().is_err() {
            self.figures.errors += 1;
            self.give_up_file();
            return;
        }
        self.file = None;
        self.file_bytes = 0;
        if let Some(empty) = self.archive.as_mut().and_then(Archive::close) {
            let _ = fs::remove_file(self.folder.join(empty));
        }
    }

    /// Ends a file that could not be written: what is sure to be in it stays, and if that is nothing it goes.
    fn give_up_file(&mut self) {
        self.unwritten = 0;
        let sure = std::mem::take(&mut self.file_bytes);
        let Some(file) = self.file.take() else { return };
        // Taken apart, so that it does not try once more to write what it holds.
        let (file, _) = file.into_parts();
        let name = self.archive.as_ref().and_then(|archive| archive.current().map(str::to_owned));
        match name {
            Some(name) if sure == 0 => drop(fs::remove_file(self.folder.join(name))),
            _ => drop(file.set_len(sure)),
        }
    }

    fn tell(&mut self, queue_dropped: u64) {
        self.figures.dropped = queue_dropped + self.lost_bytes / PACKET_BYTES as u64;
        self.figures.recording = self.archive.as_ref().map(|archive| RecordingStatus {
            file: archive.current().map(str::to_owned),
            files: archive.files(),
            kept_bytes: archive.kept_bytes(),
            deleted: self.deleted,
        });
        self.news.tell(Event::Figures(Box::new(self.figures.clone())));
    }

    fn look(&self) -> io::Result<Archive> {
        fs::create_dir_all(&self.folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if let (true, Ok(name)) = (about.is_file(), entry.file_name().into_string()) {
                found.push((name, about.len()));
            }
        }
        Ok(Archive::new(&self.id, self.record.clone(), found.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::media::{ChannelId, OutputName};

    /// A recording into `folder`, files of ten packets, room for thirty.
    fn recording(folder: PathBuf) -> (Arc<Queue>, mpsc::Receiver<(OutputName, Event)>, oneshot::Receiver<()>) {
        let (channel, output) = (ChannelId::new("live").expect("a name"), OutputName::new("tap").expect("a name"));
        let (segment_bytes, bytes_max) = (10 * 188, 30 * 188);
        let record = Record { folder, segment: Duration::from_secs(3600), segment_bytes, bytes_max, age_max: None };
        let (queue, (sink, events)) = (Arc::new(Queue::new(1 << 20)), mpsc::channel(64));
        let (done, ended) = oneshot::channel();
        let news = News { name: output.clone(), sink };
        start(&OutputId { channel, output }, record, Arc::clone(&queue), news, done);
        (queue, events, ended)
    }

    fn packet(n: u8) -> Bytes {
        Bytes::from([vec![0x47, n], vec![n; 186]].concat())
    }

    async fn event(events: &mut mpsc::Receiver<(OutputName, Event)>, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let (_, event) = events.recv().await.expect("it goes on");
            if wanted(&event) {
                return event;
            }
        }
    }

    fn files(folder: &std::path::Path) -> Vec<Vec<u8>> {
        let mut names: Vec<PathBuf> =
            fs::read_dir(folder).expect("there").map(|e| e.expect("readable").path()).collect();
        names.sort();
        names.into_iter().map(|name| fs::read(name).expect("readable")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_are_what_came_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let (queue, _events, ended) = recording(folder.path().join("deep/er"));
        let all: Vec<Bytes> = (0..55).map(packet).collect();
        all.iter().for_each(|data| queue.push(data.clone()));
        queue.close();
        ended.await.expect("it ends");
        let files = files(&folder.path().join("deep/er"));
        assert!(files.iter().all(|file| file.len() <= 1880), "each within its size");
        let kept = files.concat();
        assert!((1880 * 2..=30 * 188).contains(&kept.len()), "{} bytes are kept", kept.len());
        assert!(all.concat().ends_with(&kept), "the newest, in order");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_that_is_none_is_told_of_and_taken_when_it_is_one() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("tap");
        fs::write(&folder, "a file").expect("written");
        let (queue, mut events, ended) = recording(folder.clone());
        queue.push(packet(1));
        let failed = event(&mut events, |e| matches!(e, Event::Failed { .. })).await;
        assert!(format!("{failed:?}").contains(&folder.display().to_string()), "{failed:?}");
        let dropped = event(&mut events, |e| matches!(e, Event::Figures(f) if f.dropped == 1)).await;
        assert!(matches!(&dropped, Event::Figures(f) if f.errors > 0 && f.bytes == 0), "{dropped:?}");
        fs::remove_file(&folder).expect("removed");
        let pushes = Arc::clone(&queue);
        let pusher = tokio::spawn(async move {
            loop {
                pushes.push(packet(2));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        event(&mut events, |e| *e == Event::Recovered).await;
        pusher.abort();
        queue.close();
        ended.await.expect("it ends");
        let kept = files(&folder).concat();
        assert!(!kept.is_empty() && kept.chunks(188).all(|p| p[..2] == [0x47, 2]), "{} bytes", kept.len());
    }

    /// Needs the right to mount; where there is none, it says so and passes.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_is_told_of_and_written_again_when_there_is_room() {
        let place = tempfile::tempdir().expect("a folder");
        let mount = |arguments: &[&str]| {
            let done = std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(place.path()).status();
            done.is_ok_and(|status| status.success())
        };
        if !mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "none"]) {
            println!("skipped: this user may not mount a small disk");
            return;
        }
        let ballast = place.path().join("ballast");
        let _ = fs::write(&ballast, vec![0; 1 << 20]);
        let (queue, mut events, ended) = recording(place.path().to_owned());
        queue.push(packet(1));
        let failed = event(&mut events, |e| matches!(e, Event::Failed { .. })).await;
        assert!(format!("{failed:?}").contains("No space left"), "{failed:?}");
        fs::remove_file(&ballast).expect("removed");
        tokio::time::sleep(RETRY_AFTER).await;
        queue.push(packet(2));
        event(&mut events, |e| *e == Event::Recovered).await;
        queue.close();
        ended.await.expect("it ends");
        let kept = files(place.path());
        mount(&["umount"]);
        assert_eq!(kept.concat(), packet(2), "whole packets, no empty files");
        assert_eq!(kept.len(), 1);
    }
}
