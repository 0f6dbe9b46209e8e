//! The built-in test signal as a source: a child process that writes TS to a pipe. Nothing of it runs in the main process.
//!
//! In:    the signal's shape.
//! Out:   [`IngestEvent`]s like those of any transport.
//! Never: generates a picture here.

use std::path::PathBuf;
use std::process::Stdio;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::IngestEvent;
use crate::child::Backoff;
use crate::clock;
use crate::config::SignalShape;
use crate::media::SourceId;

/// Bytes taken from the pipe at once: 50 TS packets.
const PORTION: usize = 50 * 188;

/// Keeps a generator running until `stop` turns true, or the channel goes away.
pub async fn run(
    program: PathBuf,
    id: SourceId,
    shape: SignalShape,
    sink: mpsc::Sender<(SourceId, IngestEvent)>,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::default();
    loop {
        backoff.started(clock::now().mono);
        let reason = tokio::select! {
            ended = live(&program, &id, &shape, &sink) => match ended {
                Some(reason) => reason,
                None => return,
            },
            _ = stop.wait_for(|stop| *stop) => return,
        };
        warn!(source = %id, %reason, "the signal's process ended");
        if sink.send((id.clone(), IngestEvent::Down { reason })).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.ended(clock::now().mono)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// One life of a generator. `None` when nobody listens any more.
async fn live(
    program: &PathBuf,
    id: &SourceId,
    shape: &SignalShape,
    sink: &mpsc::Sender<(SourceId, IngestEvent)>,
) -> Option<String> {
    let mut child = match spawn(program, shape) {
        Ok(child) => child,
        Err(error) => return Some(format!("it could not be started: {error}")),
    };
    let mut pipe = child.stdout.take().expect("stdout was asked for as a pipe");
    sink.send((id.clone(), IngestEvent::Up { peer: "built in".to_owned() })).await.ok()?;
    loop {
        let mut portion = BytesMut::with_capacity(PORTION);
        match pipe.read_buf(&mut portion).await {
            Ok(0) => break,
            Ok(_) => {
                let data = portion.freeze();
                sink.send((id.clone(), IngestEvent::Data { arrival: clock::now(), data, rtp: None })).await.ok()?;
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    Some(child.wait().await.map_or_else(|e| e.to_string(), |status| status.to_string()))
}

fn spawn(program: &PathBuf, shape: &SignalShape) -> std::io::Result<Child> {
    Command::new(program)
        .arg("signal")
        .arg("--size")
        .arg(format!("{}x{}", shape.width, shape.height))
        .arg("--rate")
        .arg(shape.rate.to_string())
        .arg("--bitrate")
        .arg(shape.bitrate.to_string())
        .args(["--to", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
}
