//! The main process's end of a child of a channel: its life from start to burial, told to the channel's owner as inputs.
//!
//! In:    what the child says; its memory; whether the owner wants it dead.
//! Out:   inputs: it was started, what it said, that it is gone and why.
//! Never: starts it again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::Instrument;

use super::{Generation, Input};
use crate::child::{self, Child, Sender};
use crate::encode::ipc::{FromWorker, ToWorker};
use crate::media::PipelineId;
use crate::probe::ipc::{FromProbe, ToProbe};

/// How often a process's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a process has to leave by itself.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// What a process is to its channel.
pub(super) trait Role: Copy + Send + Sync + 'static {
    /// What it is told.
    type To: Serialize;
    /// What it says.
    type From: DeserializeOwned + Send + 'static;

    fn spawned(self, pid: u32) -> Input;
    fn said(self, word: Self::From) -> Input;
    fn gone(self, reason: String) -> Input;
}

/// A pipeline's encode process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encodes(pub PipelineId, pub Generation);

impl Role for Encodes {
    type To = ToWorker;
    type From = FromWorker;

    fn spawned(self, pid: u32) -> Input {
        Input::EncoderSpawned(self.0, self.1, pid)
    }

    fn said(self, word: FromWorker) -> Input {
        Input::Encoder(self.0, self.1, word)
    }

    fn gone(self, reason: String) -> Input {
        Input::EncoderGone(self.0, self.1, reason)
    }
}

/// The probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks(pub Generation);

impl Role for Looks {
    type To = ToProbe;
    type From = FromProbe;

    fn spawned(self, pid: u32) -> Input {
        Input::ProbeSpawned(self.0, pid)
    }

    fn said(self, word: FromProbe) -> Input {
        Input::Probe(self.0, word)
    }

    fn gone(self, reason: String) -> Input {
        Input::ProbeGone(self.0, reason)
    }
}

/// The main process's end of a child. Dropping `kill` ends the process.
pub(super) struct Process<R: Role> {
    pub role: R,
    pub sender: Sender<R::To>,
    /// Raised when the process does not take what is said to it any more.
    pub deaf: Arc<Notify>,
    pub kill: watch::Sender<bool>,
    pub reaper: JoinHandle<()>,
}

impl<R: Role> Process<R> {
    /// Starts it, and sends it its job.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(role: R, spec: child::Spec, job: &R::To, inputs: &mpsc::Sender<Input>) -> io::Result<Self> {
        let span = spec.span.clone();
        let (child, sender, receiver) = child::spawn::<R::To, R::From>(spec)?;
        let (kill, killed) = watch::channel(false);
        // The queue is empty, so the job fits.
        let _ = sender.send(job);
        let deaf = Arc::new(Notify::new());
        let orders = Orders { killed, deaf: Arc::clone(&deaf) };
        let reaper = tokio::spawn(attend(role, child, receiver, inputs.clone(), orders).instrument(span));
        Ok(Self { role, sender, deaf, kill, reaper })
    }
}

/// Waits until a flag is raised, or nobody is left who could raise it.
pub(super) async fn told(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}

/// What the channel has to say about a process.
struct Orders {
    killed: watch::Receiver<bool>,
    deaf: Arc<Notify>,
}

/// Reads what a process says until it ends or is to be killed; tells its end once, with the cause.
async fn attend<R: Role>(
    role: R,
    mut child: Child,
    mut receiver: child::Receiver<R::From>,
    inputs: mpsc::Sender<Input>,
    mut orders: Orders,
) {
    let _ = inputs.send(role.spawned(child.pid())).await;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reason = loop {
        tokio::select! {
            // The sender is dropped when the channel lets go of the process: that means "kill" too.
            () = told(&mut orders.killed) => {
                let _ = child.kill().await;
                return;
            }
            () = orders.deaf.notified() => break leave(&mut child).await,
            _ = look.tick() => {
                if let Some(limit) = child.over_limit() {
                    let _ = child.kill().await;
                    break format!("killed, it is beyond its memory limit of {} MB", limit / 1_000_000);
                }
            }
            word = receiver.next() => match word {
                Some(Ok(word)) => {
                    if inputs.send(role.said(word)).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => {
                    let _ = child.kill().await;
                    break format!("killed, it spoke nonsense: {error}");
                }
                None => break leave(&mut child).await,
            },
        }
    };
    let _ = inputs.send(role.gone(reason)).await;
}

/// It closed its end of the socket: it has a moment to leave by itself, and then says how it did.
async fn leave(child: &mut Child) -> String {
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(Ok(ended)) => match child.was_near_limit() {
            Some(limit) if !ended.well() => {
                format!("{ended}, near its memory limit of {} MB", limit / 1_000_000)
            }
            _ => ended.to_string(),
        },
        _ => {
            let _ = child.kill().await;
            "killed, it closed its socket and stayed".to_owned()
        }
    }
}
