//! What the main process is to have: media threads put it in, one thread writes it to the socket.

use std::io::{BufWriter, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use super::ipc::FromWorker;
use crate::child::frame::write_message;

/// Messages that wait for the main process to read them; media threads block when they are more.
const OUTBOX_MAX: usize = 256;

/// Where media threads put what the main process is to have. When it is full they wait; when the main process is gone, what
/// they put in is lost, and they end with their input.
#[derive(Clone, Debug)]
pub struct Outbox(SyncSender<FromWorker>);

impl Outbox {
    /// An empty one, and what [`write_all`] writes.
    pub fn new() -> (Self, Receiver<FromWorker>) {
        let (put, to_write) = sync_channel(OUTBOX_MAX);
        (Self(put), to_write)
    }

    /// Blocks while [`OUTBOX_MAX`] messages wait.
    pub fn send(&self, message: FromWorker) {
        // The writer ends only with the socket, and then the reader ends the process.
        let _ = self.0.send(message);
    }

    /// Puts a message in if there is room, and drops it if not: a main process that does not read misses nothing by missing
    /// this. False when nobody writes any more.
    pub fn offer(&self, message: FromWorker) -> bool {
        !matches!(self.0.try_send(message), Err(TrySendError::Disconnected(_)))
    }
}

/// Writes messages until no sender is left or the main process is gone.
pub fn write_all(messages: &Receiver<FromWorker>, socket: &UnixStream) {
    let mut out = BufWriter::with_capacity(1 << 18, socket);
    loop {
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => break,
            // Nothing waits: what is buffered goes out before we sleep.
            Err(TryRecvError::Empty) => match out.flush().map(|()| messages.recv()) {
                Ok(Ok(message)) => message,
                _ => break,
            },
        };
        if write_message(&mut out, &message).is_err() {
            break;
        }
    }
    let _ = out.flush();
    // If the main process cannot be written to, the reader need not wait for its end of file.
    let _ = socket.shutdown(Shutdown::Both);
}
