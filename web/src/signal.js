// What each source's transport stream is worth: a card a source, readable at a glance.

import { el, fill, icon, state } from "./dom.js";
import * as format from "./format.js";
import * as judge from "./judge.js";

const NAMES = {
  "1.1": "TS_sync_loss", 1.2: "Sync_byte_error", 1.3: "PAT_error", 1.4: "Continuity_count_error", 1.5: "PMT_error", 1.6: "PID_error",
  2.1: "Transport_error", 2.2: "CRC_error", "2.3a": "PCR_repetition_error", "2.3b": "PCR_discontinuity_indicator_error",
  2.4: "PCR_accuracy_error", 2.5: "PTS_error", 2.6: "CAT_error",
};

/** Cards stay, so that a list of PIDs that was opened stays open. */
const cards = new Map();

/** Shows the sources of a channel in `root`. */
export function show(root, channel) {
  const shown = channel.sources.map((source) => {
    const key = `${channel.id}/${source.name}`;
    if (!cards.has(key)) cards.set(key, newCard(source));
    fillCard(cards.get(key), source);
    return cards.get(key).root;
  });
  if (root.childElementCount !== shown.length || shown.some((card, i) => root.children[i] !== card)) root.replaceChildren(...shown);
}

function newCard(source) {
  const card = { head: el("header"), body: el("div"), pids: el("tbody"), summary: el("summary") };
  const heads = ["PID", "What", "Bitrate", "CC errors"].map((name, i) => el(`th${i > 1 ? ".n" : ""}`, { scope: "col" }, name));
  card.details = el("details", card.summary, el("div.scroll", { tabindex: 0, role: "region", "aria-label": `PIDs of ${source.name}` },
    el("table", el("thead", el("tr", heads)), card.pids)));
  card.root = el("article", card.head, card.body, card.details);
  return card;
}

function fillCard(card, source) {
  const { measured, health } = source;
  const judged = judge.ofHealth(source);
  card.root.className = `signal s-${judged.level}`;
  fill(card.head, el("b", source.name), state(judged));
  const figure = (name, value, title) => el("div", title ? { title } : null, el("dt", name), el("dd", value));
  const there = source.connected && measured.locked;
  fill(card.body,
    health.reasons.length > 0 && source.connected && el("p.reasons", health.reasons.join("; ")),
    el("ol.lights", { "aria-label": "TR 101 290" }, measured.indicators.map(light)),
    el("dl.figures", [
      figure("TS", there ? format.bitrate(measured.bitrate) : format.NONE),
      figure("Nulls", there ? `${(100 * measured.null_ratio).toFixed(1)} %` : format.NONE),
      figure("PCR jitter", measured.pcr_jitter_ms == null ? format.NONE : `${measured.pcr_jitter_ms.toFixed(1)} ms`, "Arrival against PCR over ten seconds"),
      figure("Drift", measured.pcr_drift_ppm == null ? format.NONE : `${measured.pcr_drift_ppm.toFixed(1)} ppm`, "By how much its clock is slow"),
    ]),
    source.content && el("p.content", contentText(source)),
    el("ul.tracks", measured.tracks.map((track) => el("li", trackText(track))), marks(measured)));
  fill(card.summary, `${format.whole(measured.pids.length + measured.pids_more)} PIDs`);
  card.details.hidden = measured.pids.length === 0;
  fill(card.pids, measured.pids.map(pidRow), measured.pids_more > 0 && el("tr", el("td", { colspan: 4 }, `and ${format.whole(measured.pids_more)} more`)));
}

/** What its picture shows and how loud its sound is; what nobody has looked at lately is not told. */
function contentText({ content, connected }) {
  const { black, frozen, silent, level, decoder_errors } = content;
  const parts = [];
  if (connected && black != null) parts.push(black ? "picture black" : frozen ? "picture stands still" : "picture moves");
  if (connected && silent != null) parts.push(silent ? "silence" : `sound ${level.toFixed(0)} dBFS`);
  if (decoder_errors > 0) parts.push(`${format.whole(decoder_errors)} pictures not decoded whole`);
  return parts.length > 0 ? parts.join(" · ") : "nobody looks into it now";
}

/** Red while it lasts, amber when it was there, quiet when never: and always as a number too. */
function light(it) {
  const last = it.last_ms == null ? "never" : `last ${format.timeOfDay(new Date(it.last_ms).toISOString())} UTC`;
  const pid = it.pid == null ? "" : `, PID ${format.pid(it.pid)}`;
  const title = `${it.clause} ${NAMES[it.clause]}: ${format.whole(it.count)} counted, ${last}${pid}`;
  const level = it.active ? ".s-off" : it.count ? ".s-warn" : "";
  return el(`li${level}`, { title }, el("span", it.clause), it.active && icon("warn"), el("b", it.count ? format.short(it.count) : "0"));
}

function trackText(track) {
  const parts = [format.track(track)];
  if (track.pictures_per_second != null) parts.push(`${track.pictures_per_second.toFixed(1)} pictures/s`);
  if (track.layout) parts.push(`${track.layout.channels}.${track.layout.lfe ? 1 : 0}`, `${track.layout.rate / 1000} kHz`);
  if (track.language) parts.push(track.language);
  return parts.join(" · ");
}

function marks({ tracks, scte35 }) {
  const words = [];
  if (tracks.some((t) => t.cea608)) words.push("CEA-608");
  if (tracks.some((t) => t.cea708)) words.push("CEA-708");
  if (scte35.length) words.push(`SCTE-35 (${format.whole(scte35.reduce((sum, s) => sum + s.messages, 0))})`);
  return words.length > 0 && el("li.marks", words.map((word) => el("span", word)));
}

function pidRow(pid) {
  const type = pid.stream_type == null ? "" : ` 0x${pid.stream_type.toString(16).padStart(2, "0")}`;
  return el("tr", el("td", el("code", format.pid(pid.pid))), el("td", `${pid.kind}${type}${pid.scrambled ? ", scrambled" : ""}`),
    el("td.n", format.bitrate(pid.bitrate)), el("td.n", format.whole(pid.continuity_errors)));
}
