//! Outputs added and removed while running: the only requests that change anything.
//!
//! They are answered on loopback alone, as there is no password. A page of another site cannot make them: `Content-Type:
//! application/json` and `DELETE` need the consent of a preflight request that nobody here gives, and an `Origin` that is not ours
//! is refused besides.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::desk::Shared;
use super::orders::Orders;
use crate::channel::Input;
use crate::config::{OUTPUTS_MAX, Output};
use crate::media::{ChannelId, OutputName};

/// Longest request; a usual one has 200 bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 << 10;
/// Why nothing was changed.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

fn refuse(status: StatusCode, why: &str) -> Refused {
    Refused(status, why.to_owned())
}

/// The channel did not do as it was told, in time.
fn silent() -> Refused {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "the channel does not answer")
}

/// Who may change something, and what: the channel's orders.
fn orders(control: &Shared, headers: &HeaderMap, channel: &str) -> Result<Orders, Refused> {
    if !control.check_host {
        let why =
            "outputs are changed on loopback alone: this port listens where other hosts reach it, and has no password";
        return Err(refuse(StatusCode::FORBIDDEN, why));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let ours = host.map(|host| format!("http://{host}"));
    if let Some(origin) = headers.get(header::ORIGIN)
        && origin.to_str().ok() != ours.as_deref()
    {
        return Err(refuse(StatusCode::FORBIDDEN, "a page of another site may not change anything"));
    }
    let found = ChannelId::new(channel).ok().and_then(|id| control.board.orders(&id));
    found.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "no such channel"))
}

/// `POST /v1/channels/{id}/outputs`
pub(super) async fn add(
    State(control): State<Shared>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    added(&control, &headers, &channel, &body).await.into_response()
}

async fn added(control: &Shared, headers: &HeaderMap, channel: &str, body: &[u8]) -> Result<Response, Refused> {
    let orders = orders(control, headers, channel)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().is_none_or(|kind| kind.trim() != "application/json") {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
    }
    let json: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("no JSON: {error}")))?;
    let output = Output::parse_json(&json, &orders.config)
        .map_err(|report| refuse(StatusCode::BAD_REQUEST, &report.to_string()))?;
    let (name, before) = (output.id.output.to_string(), orders.status.borrow().clone());
    if Orders::has(&before, &name) {
        return Err(refuse(StatusCode::CONFLICT, "there is an output of this id"));
    }
    if before.outputs.len() >= OUTPUTS_MAX {
        return Err(refuse(StatusCode::CONFLICT, "the channel has as many outputs as it may have"));
    }
    let status = orders
        .give(Input::AddOutput(Box::new(output)), |status| Orders::has(status, &name))
        .await
        .ok_or_else(silent)?;
    let shown = status.outputs.iter().find(|output| output.name.as_str() == name);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// `DELETE /v1/channels/{id}/outputs/{name}`
pub(super) async fn remove(
    State(control): State<Shared>,
    Path((channel, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    removed(&control, &headers, &channel, &name).await.into_response()
}

async fn removed(control: &Shared, headers: &HeaderMap, channel: &str, name: &str) -> Result<Response, Refused> {
    let orders = orders(control, headers, channel)?;
    let known = Orders::has(&orders.status.borrow(), name);
    let Some(output) = OutputName::new(name).ok().filter(|_| known) else {
        return Err(refuse(StatusCode::NOT_FOUND, "no such output"));
    };
    orders.give(Input::RemoveOutput(output), |status| !Orders::has(status, name)).await.ok_or_else(silent)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
