//! The task that owns a publishing point: it takes what connections bring, one portion after the other, and gives on what comes out.
//!
//! In:    [`Order`]s of connections.
//! Out:   [`Word`]s; figures. Both queues are bounded: who is full lets the one before it wait, down to the sender's TCP.
//! Never: waits for a connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Figures, Object, Output, Point, Refusal};
use crate::clock::{self, Now};

/// Portions that may wait for the task: each some tens of kilobytes.
pub const ORDERS: usize = 16;

/// What a connection brings.
#[derive(Debug)]
pub enum Order {
    /// A body begins.
    Begin {
        /// Tells it from all others.
        body: u64,
        /// Its track.
        track: String,
        /// Who sends it.
        peer: SocketAddr,
        /// Where it is told why it is not taken any further.
        refused: oneshot::Sender<Refusal>,
    },
    /// The next bytes of a body.
    Portion {
        /// Which.
        body: u64,
        /// They.
        data: Bytes,
    },
    /// A body has ended, or its connection.
    End {
        /// Which.
        body: u64,
        /// It ended as it should.
        whole: bool,
        /// Where it is told how it fared, if it was not refused before.
        done: oneshot::Sender<Result<(), Refusal>>,
    },
}

/// What the pipeline's owner is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// What came out of the point.
    Came {
        /// When.
        at: Now,
        /// In this order.
        outputs: Vec<Output>,
    },
    /// A body was not taken.
    Refused {
        /// Who sent it.
        peer: SocketAddr,
        /// For which track.
        track: String,
        /// Why, for people.
        reason: String,
    },
}

struct Body {
    object: Object,
    track: String,
    peer: SocketAddr,
    refused: oneshot::Sender<Refusal>,
}

/// Owns a point until no connection can reach it any more, or nobody listens.
pub async fn run(
    mut point: Point,
    mut orders: mpsc::Receiver<Order>,
    words: mpsc::Sender<Word>,
    figures: watch::Sender<Figures>,
) {
    let mut bodies: BTreeMap<u64, Body> = BTreeMap::new();
    // Each track's, and that of a connection which takes its place; each may hold a box or a sample.
    let most = 2 * point.renditions() + 8;
    loop {
        let wake = point.wake_at().map_or(Duration::from_secs(3600), |at| at.since(clock::now()));
        let refused = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => carry_out(&mut point, &mut bodies, most, order),
                None => return,
            },
            () = tokio::time::sleep(wake) => {
                point.poll(clock::now());
                None
            }
        };
        let outputs = point.take();
        figures.send_replace(point.figures());
        let came = (!outputs.is_empty()).then(|| Word::Came { at: clock::now(), outputs });
        for word in came.into_iter().chain(refused) {
            if words.send(word).await.is_err() {
                return;
            }
        }
    }
}

fn carry_out(point: &mut Point, bodies: &mut BTreeMap<u64, Body>, most: usize, order: Order) -> Option<Word> {
    match order {
        Order::Begin { track, peer, refused, .. } if bodies.len() >= most => {
            let word = Word::Refused { peer, track, reason: Refusal::Crowded.to_string() };
            let _ = refused.send(Refusal::Crowded);
            Some(word)
        }
        Order::Begin { body, track, peer, refused } => {
            bodies.insert(body, Body { object: point.begin(&track), track, peer, refused });
            None
        }
        Order::Portion { body, data } => {
            let refusal = point.push(clock::now(), &mut bodies.get_mut(&body)?.object, &data).err()?;
            let body = bodies.remove(&body)?;
            let word = body.word(&refusal);
            let _ = body.refused.send(refusal);
            Some(word)
        }
        Order::End { body, whole, done } => {
            // One that was refused is gone already, and has been told.
            let body = bodies.remove(&body)?;
            let fared = if whole { point.finish(&body.object) } else { Ok(()) };
            let word = fared.as_ref().err().map(|refusal| body.word(refusal));
            let _ = done.send(fared);
            word
        }
    }
}

impl Body {
    fn word(&self, refusal: &Refusal) -> Word {
        Word::Refused { peer: self.peer, track: self.track.clone(), reason: refusal.to_string() }
    }
}
