//! What the API says, as JSON.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ingest::srt::GatewayStatus;
use crate::media::{ChannelId, ChannelTime, PipelineId, SourceName};
use crate::monitor::{ChannelStatus, EventKind, Logged, Severity};

/// `/v1/channels` and the `status` event of `/v1/stream`.
#[derive(Debug, Serialize)]
pub struct Channels<'a> {
    /// When this was read, RFC 3339.
    pub at: String,
    /// By name.
    pub channels: Vec<&'a ChannelStatus>,
}

/// `/v1/events`.
#[derive(Debug, Serialize)]
pub struct Events<'a> {
    /// Oldest first.
    pub events: Vec<Entry<'a>>,
}

/// `/v1/gateways`.
#[derive(Debug, Serialize)]
pub struct Gateways {
    /// The processes that speak SRT, by name.
    pub gateways: Vec<GatewayStatus>,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// Its number since the start of the process.
    pub number: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// To whom.
    pub channel: &'a ChannelId,
    /// How bad.
    pub severity: Severity,
    /// What.
    pub kind: EventKind,
    /// Which source, where one is meant.
    pub source: Option<&'a SourceName>,
    /// Which pipeline, where one is meant.
    pub pipeline: Option<PipelineId>,
    /// When what it tells of began, RFC 3339, UTC, where that was earlier.
    pub since: Option<String>,
    /// For people.
    pub text: &'a str,
}

impl<'a> From<&'a Logged> for Entry<'a> {
    fn from(logged: &'a Logged) -> Self {
        let event = &logged.event;
        Self {
            number: logged.number,
            at: date(event.at),
            channel: &event.channel,
            severity: event.severity,
            kind: event.kind,
            source: event.source.as_ref(),
            pipeline: event.pipeline,
            since: event.since.map(date),
            text: &event.text,
        }
    }
}

/// `/v1/origin`: where things are, spelled with the host name the client itself used.
#[derive(Debug, Serialize)]
pub struct Addresses {
    /// Base URL of the origin, without a slash at its end.
    pub origin: String,
    /// Where publishers send each source that waits for one.
    pub publish: Vec<PublishAddress>,
}

/// Where one source is published.
#[derive(Debug, Serialize)]
pub struct PublishAddress {
    /// Of which channel.
    pub channel: ChannelId,
    /// Which source.
    pub source: SourceName,
    /// `srt://host:port?streamid=…`; never with a passphrase.
    pub url: String,
}

/// RFC 3339 with milliseconds.
pub fn date(at: ChannelTime) -> String {
    let millis = i128::try_from(at.to_utc().as_millis()).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000)
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_default()
}
