//! The encode processes of a channel: their lives, what they say, and what they are told.
//!
//! In:    words of the processes, the time.
//! Out:   processes to start and kill, jobs, plans and orders for them; what they made, to the packager.
//! Never: trusts a word that it has not checked.

use std::time::Duration;

use super::loudness::{self, Short};
use super::onward::Made;
use super::pipeline::{Generation, Hung, Pipeline, Word};
use super::standby::{Call, Pair};
use super::{Action, Channel, Sent};
use crate::clock::Now;
use crate::config;
use crate::encode::ipc::{AUDIO_LEAD, FromWorker, Job, LoudnessReading, RenditionIndex, Standby, ToWorker};
use crate::encode::ladder::VideoRung;
use crate::media::{Grid, PipelineId, RenditionId, SegmentNumber};
use crate::monitor::{EventKind, Severity};

/// Sound handed to a fresh encode process from before its first segment.
const AUDIO_PREROLL: Duration = AUDIO_LEAD;

impl Channel {
    pub(super) fn encoder(&mut self, now: Now, id: PipelineId, generation: Generation, word: FromWorker) {
        let Some(at) = self.current(id, generation) else { return };
        if let Err(nonsense) = self.check_word(now, at, &word) {
            return self.kill(now, at, &nonsense.to_string());
        }
        if let (Some(pair), FromWorker::Heartbeat(beat)) = (&mut self.pair, &word) {
            pair.heartbeat(now, id, beat);
        }
        match self.pipelines[at].hear(now, word) {
            Word::Started(hello) => {
                if let Some(pair) = &mut self.pair {
                    pair.hello(id, &hello);
                }
                let mut text = format!("up: {}, x264 {}, {}", hello.gstreamer, hello.x264, hello.simd);
                for encoder in hello.encoders.iter().filter(|encoder| encoder.element != "x264enc") {
                    text += &format!(", {} by {}", encoder.rung, encoder.element);
                }
                self.pipeline_event(now, id, Severity::Info, EventKind::EncoderStarted, text);
                self.compare_encoders(now);
            }
            Word::Coded(unit) => {
                self.give_on(at, || Made::Coded(unit.clone()));
                if let Some(pair) = &mut self.pair {
                    pair.coded(now, id, &unit);
                }
                if let Some(packager) = &mut self.packager {
                    packager.coded(now, id, unit);
                }
            }
            Word::SegmentEnd(end) => {
                self.give_on(at, || Made::SegmentEnd(end));
                if let Some(pair) = &mut self.pair {
                    pair.segment_end(now, id, &end);
                }
                if let Some(packager) = &mut self.packager {
                    packager.segment_end(now, id, end);
                }
            }
            Word::Loudness(reading) => self.plan_gain(now, &reading),
            Word::SlateFailed(why) => self.pipeline_event(now, id, Severity::Warning, EventKind::SlateFailed, why),
            Word::Nothing => {}
        }
    }

    fn compare_encoders(&mut self, now: Now) {
        let running: Vec<_> = self.pipelines.iter().filter_map(|p| Some((p.id, p.hello()?))).collect();
        if let Some(text) = self.unlike.news(&running).filter(|_| self.config.deterministic) {
            self.event(now, Severity::Warning, EventKind::EncodersUnlike, text);
        }
    }

    /// Plans the gain of segments that nobody has been handed media for. Plans travel in order with media, so no process can have begun them,
    /// unless its clock fills in silence where media is more than a segment late.
    fn plan_gain(&mut self, now: Now, reading: &LoudnessReading) {
        let Some(planner) = &mut self.loudness else { return };
        let sent = self.pipelines.iter().filter_map(|p| p.sent.audio.max(p.sent.video)).max();
        let newest = sent.map_or(now.channel_time(), |sent| sent.max(now.channel_time()));
        let plan = planner.hear(reading, self.config.grid.segment_at(newest));
        let news = planner.news();
        if let Some(plan) = plan {
            for pipeline in self.pipelines.iter().filter(|p| p.is_up()) {
                self.actions.push(Action::Send(pipeline.id, pipeline.generation(), ToWorker::Plan(plan)));
            }
        }
        news.into_iter().for_each(|news| self.loudness_event(now, news));
    }

    fn loudness_event(&mut self, now: Now, Short { rendition, by }: Short) {
        let Some(id) = self.audio_rendition(rendition) else { return };
        let (severity, kind, text) = match by {
            Some(by) => (
                Severity::Warning,
                EventKind::LoudnessShort,
                format!("{id} comes out {by:.1} LU below its target: the limiter takes more than may be made up"),
            ),
            None => (Severity::Info, EventKind::LoudnessReached, format!("{id} comes up to its target again")),
        };
        self.event(now, severity, kind, text);
    }

    /// What an audio rendition is called.
    pub(super) fn audio_rendition(&self, index: RenditionIndex) -> Option<RenditionId> {
        let plan = self.fitting.plan()?;
        let rung = plan.audio.get(usize::from(index.0).checked_sub(plan.video.len())?)?;
        Some(rung.id.clone())
    }

    pub(super) fn encoder_gone(&mut self, now: Now, id: PipelineId, generation: Generation, reason: &str) {
        let Some(at) = self.current(id, generation) else { return };
        let wait = self.pipelines[at].gone(now);
        self.give_on(at, || Made::Gone);
        if let Some(pair) = &mut self.pair {
            pair.gone(id);
        }
        if let Some(packager) = &mut self.packager {
            packager.pipeline(now, id, false);
        }
        let text = format!("encode process ended: {reason}; next start in {} ms", wait.as_millis());
        self.pipeline_event(now, id, Severity::Warning, EventKind::EncoderDied, text);
    }

    /// The place of a pipeline, if this is its running incarnation.
    pub(super) fn current(&self, id: PipelineId, generation: Generation) -> Option<usize> {
        let fits = |p: &Pipeline| p.id == id && p.generation() == generation && p.is_up();
        self.pipelines.iter().position(fits)
    }

    pub(super) fn end_hung(&mut self, now: Now, at: usize) {
        match self.pipelines[at].hangs(now) {
            Some(Hung::NoHello) => self.kill(now, at, "it did not start"),
            Some(Hung::NoHeartbeat) => self.kill(now, at, "its heartbeat stopped"),
            None => {}
        }
    }

    pub(super) fn kill(&mut self, now: Now, at: usize, why: &str) {
        let (id, generation) = (self.pipelines[at].id, self.pipelines[at].generation());
        self.actions.push(Action::KillEncoder(id, generation));
        self.encoder_gone(now, id, generation, &format!("killed, {why}"));
    }

    pub(super) fn start_due(&mut self, now: Now, at: usize) {
        let Some(plan) = self.fitting.plan() else { return };
        if self.packager.is_none() || !self.pipelines[at].start_is_due(now) {
            return;
        }
        let start = self.first_segment(now, at);
        let id = self.pipelines[at].id;
        let standby = self.pair.as_mut().map_or(Standby::Hot, |pair| pair.started(now, id, start));
        let job = Job {
            channel: self.config.id.clone(),
            pipeline: self.pipelines[at].id,
            grid: self.config.grid,
            start,
            hold: self.config.hold,
            loss: self.config.loss.clone(),
            deinterlace: self.config.deinterlace,
            loudness: self.config.loudness,
            plan: self.loudness.as_ref().map_or_else(Vec::new, loudness::Planner::plans),
            standby,
            video: plan.video.clone(),
            audio: plan.audio.clone(),
            template: self.config.template.clone(),
        };
        let generation = self.pipelines[at].started(now);
        self.actions.push(Action::StartEncoder(id, generation, Box::new(job)));
        if let Some(packager) = &mut self.packager {
            packager.pipeline(now, id, true);
            if standby == Standby::StandsBy {
                packager.expect_pictures(id, None, None);
            }
        }
        if let Some(source) = self.pipelines[at].on_air() {
            self.join(at, source, self.join_point(start), None);
        }
    }

    /// The first segment of a process that starts now: the first that is not published yet, as far back as the join buffer
    /// reaches, and encoded faster than real time. So it is in lock as soon as the next segment is published, a segment
    /// from now at most wherever in it the fault fell, and not even the loss of both processes leaves a gap. Where its peer
    /// delivers, there is no more to it than the running segment and the one before, whose last pictures the peer's encoders
    /// still hold: one that is far behind has not the CPU for another that catches up.
    fn first_segment(&self, now: Now, at: usize) -> SegmentNumber {
        let grid = self.config.grid;
        let running = grid.segment_at(now.channel_time());
        let newest = self.packager.as_ref().and_then(|p| p.status().newest).map(SegmentNumber);
        let Some(newest) = newest else { return running };
        let peer_delivers = self.pipelines.iter().enumerate().any(|(i, p)| i != at && p.is_locked());
        let earliest = if peer_delivers { running.0.saturating_sub(1) } else { 0 };
        let feed = self.pipelines[at].on_air().map(|source| &self.sources[source].feed);
        let whole = |n: &SegmentNumber| feed.is_some_and(|feed| feed.reaches_back_to(self.join_point(*n)));
        let missed = (earliest.max(newest.0 + 1)..=running.0).map(SegmentNumber).find(whole);
        missed.unwrap_or_else(|| running.next())
    }

    /// What a process whose first segment is `n` need not be handed.
    fn join_point(&self, n: SegmentNumber) -> Sent {
        let begins = self.config.grid.segment_start(n);
        // Of a faster source the first slot shows a picture from a little before it.
        let pictures = begins - self.config.grid.slot_duration();
        Sent { video: Some(pictures), audio: Some(begins - AUDIO_PREROLL) }
    }

    /// Warm standby: tells the encode processes who makes which segments.
    pub(super) fn give_orders(&mut self, now: Now) {
        let (Some(pair), Some(packager)) = (&mut self.pair, &self.packager) else { return };
        let [a, b] = PipelineId::BOTH.map(|id| self.pipelines.iter().find(|p| p.id == id).and_then(Pipeline::on_air));
        pair.note(packager.status().newest.map(SegmentNumber), a == b);
        let heard = now.mono >= self.caught_up_at.mono;
        for Call { to, orders, news } in pair.decide(now, heard) {
            let Some(pipeline) = self.pipelines.iter().find(|p| p.id == to && p.is_up()) else { continue };
            if let Some(packager) = &mut self.packager {
                packager.expect_pictures(to, orders.from, orders.until);
            }
            self.actions.push(Action::Send(to, pipeline.generation(), ToWorker::Encode(orders)));
            if let Some(news) = news {
                self.standby_event(now, to, news);
            }
        }
    }

    pub(super) fn new_pair(&self, video: &[VideoRung]) -> Option<Pair> {
        let warm = self.config.redundancy == config::Redundancy::Warm && self.pipelines.len() == 2;
        if !warm || video.is_empty() {
            return None;
        }
        let grid = self.config.grid;
        let delay = video.iter().map(|rung| encoder_delay(rung, grid)).max().unwrap_or_default();
        Some(Pair::new(grid, video.len(), delay))
    }
}

/// How far a rung's coded pictures lie behind its raw ones by its settings alone.
fn encoder_delay(rung: &VideoRung, grid: Grid) -> Duration {
    let frames = if rung.zero_latency { 0 } else { rung.lookahead + rung.bframes };
    let waits = grid.segment() / u32::from(rung.gops.max(1)) * u32::from(rung.chains.max(1) - 1);
    Duration::from_secs(u64::from(frames + 1)) * grid.rate().den() / grid.rate().num() + waits
}
