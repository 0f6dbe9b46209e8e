//! What a channel shows of itself.

use crate::clock::Now;
use crate::encode::ipc::{Heartbeat, RenditionIndex, Showing};
use crate::media::PipelineId;
use crate::monitor::{
    ChannelStatus, EventKind, HealthStatus, LadderStatus, LoudnessStatus, PipelineStatus, PublishStatus, Severity,
    SourceStatus, StandbyState, StandbyStatus, Thumbnail,
};

use super::Channel;
use super::loudness;
use super::merging::Merging;
use super::probe::Probe;
use super::standby::{Figures, Role};
use crate::package::Packager;

impl Channel {
    /// Once a second: bit rates, and damage summed into one event.
    pub(super) fn count_bitrates(&mut self, now: Now) {
        self.outputs.count_bitrates();
        for at in 0..self.sources.len() {
            let source = &mut self.sources[at];
            source.bitrate = source.feed.take_bytes() * 8;
            if let Some(merging) = &mut source.merging {
                merging.tick();
            }
            for news in source.feed.tick(now) {
                self.indicator_news(now, at, news);
            }
            self.watch_alarm(now, at);
            let source = &mut self.sources[at];
            let errors = source.feed.stats().continuity_errors;
            let fresh = errors.saturating_sub(source.continuity_errors);
            source.continuity_errors = errors;
            if fresh > 0 {
                let text = format!("{fresh} continuity errors within a second");
                self.source_event(now, at, Severity::Warning, EventKind::SourceDamaged, text);
            }
        }
    }

    /// The channel at this moment.
    pub(super) fn status(&self, now: Now) -> ChannelStatus {
        let on_air = self.packager.as_ref().and_then(Packager::on_air);
        ChannelStatus {
            id: self.config.id.clone(),
            title: self.config.title.clone(),
            encodes: self.config.encodes(),
            sources: self.sources.iter().enumerate().map(|(at, _)| self.source_status(now, at)).collect(),
            pipelines: self
                .pipelines
                .iter()
                .map(|p| {
                    let (heartbeat, starts) = p.vitals();
                    PipelineStatus {
                        id: p.id,
                        running: p.runs(),
                        locked: p.is_locked(),
                        on_air: on_air == Some(p.id),
                        source: p.on_air().map(|at| self.sources[at].name.clone()),
                        sources: p.sources.iter().map(|&at| self.sources[at].name.clone()).collect(),
                        showing: heartbeat.showing,
                        starts,
                        pid: p.pid,
                        cpu_seconds: heartbeat.cpu.as_secs_f64(),
                        rss_bytes: heartbeat.rss_bytes,
                        lag_ms: u64::try_from(heartbeat.lag.as_millis()).unwrap_or(u64::MAX),
                        decoded: heartbeat.decoded,
                        repeated: heartbeat.repeated,
                        black: heartbeat.black,
                        slate: heartbeat.slate,
                        late_plans: heartbeat.late_plans,
                        standby: self.standby_status(p.id, &heartbeat),
                        ingest: p.elsewhere().map(|it| it.status.clone()),
                        // The shell knows.
                        publishing: Vec::new(),
                        thumbnail: p.thumbnail.as_ref().map(|it| Thumbnail {
                            slot: it.slot.0,
                            at_ms: u64::try_from(self.config.grid.slot_time(it.slot).to_utc().as_millis())
                                .unwrap_or(u64::MAX),
                            jpeg: it.jpeg.clone(),
                        }),
                    }
                })
                .collect(),
            ladder: self.fitting.plan().map_or_else(LadderStatus::default, |plan| LadderStatus {
                left_out: plan.left_out.clone(),
                note: plan.note.clone(),
            }),
            publish: self.packager.as_ref().map_or_else(PublishStatus::default, |p| p.status().clone()),
            dvr: self.dvr_status(),
            other_host: self.host_status(now),
            loudness: self.loudness_status(),
            probe: self.probe.as_ref().map(Probe::status),
            outputs: self.output_statuses(),
        }
    }

    fn loudness_status(&self) -> Vec<LoudnessStatus> {
        let Some(planner) = &self.loudness else { return Vec::new() };
        let status = |(index, figures): (RenditionIndex, loudness::Figures)| {
            let loudness::Figures { measured, gain, make_up, taken } = figures;
            let rendition = self.audio_rendition(index)?;
            Some(LoudnessStatus { rendition, measured, gain, make_up, taken })
        };
        planner.figures().filter_map(status).collect()
    }

    fn standby_status(&self, id: PipelineId, heartbeat: &Heartbeat) -> Option<StandbyStatus> {
        let pair = self.pair.as_ref()?;
        let state = match pair.role(id) {
            Role::Down => StandbyState::Down,
            Role::Encodes => StandbyState::Encodes,
            Role::Called => StandbyState::Called,
            Role::StandsBy if heartbeat.showing == Showing::Source => StandbyState::StandsBy,
            Role::StandsBy => StandbyState::NoStandby,
        };
        let Figures { calls, made } = pair.figures(id);
        Some(StandbyStatus {
            state,
            calls,
            made,
            held: heartbeat.held,
            held_bytes: heartbeat.held_bytes,
            forgotten: heartbeat.forgotten,
        })
    }

    fn source_status(&self, now: Now, at: usize) -> SourceStatus {
        let source = &self.sources[at];
        let score = source.feed.score(now);
        SourceStatus {
            name: source.name.clone(),
            transport: source.transport.to_owned(),
            connected: source.peer.is_some(),
            flowing: source.feed.health().flows(now, self.config.failover.loss_after),
            on_air: self.pipelines.iter().filter(|p| p.on_air() == Some(at)).map(|p| p.id).collect(),
            peer: source.merging.as_ref().map_or_else(|| source.peer.clone(), Merging::peer),
            bitrate: source.bitrate,
            continuity_errors: source.feed.stats().continuity_errors,
            drift_ppm: source.feed.drift_ppm(),
            tracks: source.feed.tracks().map_or_else(Vec::new, |t| t.tracks.clone()),
            link: source.link.clone(),
            alarm: source.alarm.clone(),
            health: HealthStatus {
                score: score.points,
                reasons: score.reasons.iter().map(|reason| super::report::reason(now, reason)).collect(),
            },
            content: self.probe.as_ref().and_then(|probe| probe.content(at)),
            measured: source.feed.measured(),
            merge: source.merging.as_ref().map(|merging| merging.status(now)),
        }
    }
}
