//! What a publishing point says, put for the channel whose pipeline it is.

use std::net::SocketAddr;

use super::{Figures, Notice, Output, Word};
use crate::channel::{Input, Published, Said};
use crate::media::PipelineId;
use crate::monitor::{EventKind, IngestStatus, Severity};

/// The channel's input.
pub fn input(pipeline: PipelineId, word: Word) -> Input {
    let (peer, figures, said) = match word {
        Word::Came { peer, figures, outputs, .. } => (peer, figures, outputs.into_iter().filter_map(said).collect()),
        Word::Refused { peer, track, reason, figures } => {
            let text = format!("{peer}, track {track}: {reason}");
            (None, figures, vec![Said::News(Severity::Warning, EventKind::IngestRefused, text)])
        }
    };
    Input::Elsewhere(pipeline, Box::new(Published { status: status(peer, figures), said }))
}

fn said(output: Output) -> Option<Said> {
    let notice = match output {
        Output::Coded(unit) => return Some(Said::Coded(unit)),
        Output::SegmentEnd(end) => return Some(Said::SegmentEnd(end)),
        Output::Host(word) => return Some(Said::Host(word)),
        Output::Notice(notice) => notice,
    };
    let moved = |text: String| Said::News(Severity::Info, EventKind::IngestMoved, text);
    Some(match notice {
        // Each track has one, long before segments follow.
        Notice::Began { .. } => return None,
        Notice::Placed { moved: None } => Said::Up("its times are channel time".to_owned()),
        Notice::Placed { moved: Some(by) } => Said::Up(format!("{by:+.3} s lead from its times to channel time")),
        Notice::Anew { rendition } => moved(format!("its time began anew, seen in {rendition}")),
        Notice::Renumbered { by, after } => {
            moved(format!("drifted apart from the channel: numbers change by {by:+}, two segments behind {after}"))
        }
        Notice::Silent => Said::Silent,
    })
}

fn status(peer: Option<SocketAddr>, figures: Figures) -> IngestStatus {
    let Figures {
        bytes, segments, incomplete, duplicates, dropped, off_grid, regridded, astray, refused, anew, ..
    } = figures;
    IngestStatus {
        peer: peer.map(|peer| peer.to_string()),
        bytes,
        segments,
        incomplete,
        duplicates,
        dropped,
        off_grid,
        regridded,
        astray,
        refused,
        anew,
    }
}
