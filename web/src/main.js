// The page: follows /v1/stream and shows what it says. It changes nothing.

import { byId, el, fill, icon, state } from "./dom.js";
import { Flow } from "./flow.js";
import * as format from "./format.js";
import * as judge from "./judge.js";
import { Player } from "./player.js";
import * as signal from "./signal.js";

const EVENTS_MAX = 200;

const player = new Player();
const flow = new Flow(byId("flow"));
const picker = byId("channel");
let channels = [];
let addresses = null;
/** When the newest status was told, ms since the epoch, by Tandem's clock. */
let toldAt = 0;
/** Per channel and pipeline: CPU seconds and when they were read, for a share of a core. */
const cpu = new Map();

picker.addEventListener("change", () => {
  location.hash = picker.value;
  show();
});
addEventListener("hashchange", show);
setInterval(() => { byId("clock").textContent = `${format.timeOfDay(new Date().toISOString())} UTC`; }, 500);

follow();
learnAddresses();

/** EventSource comes back by itself and names the last event it saw; only an answer other than 200 ends it for good. */
function follow() {
  const stream = new EventSource("/v1/stream");
  const lost = (is) => {
    byId("lost").hidden = !is;
    document.body.classList.toggle("stale", is);
  };
  stream.addEventListener("open", () => lost(false));
  stream.addEventListener("error", () => {
    lost(true);
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
  });
  stream.addEventListener("status", (message) => {
    const told = JSON.parse(message.data);
    channels = told.channels;
    toldAt = Date.parse(told.at);
    measureCpu(toldAt / 1000);
    show();
  });
  stream.addEventListener("event", (message) => showEvent(JSON.parse(message.data)));
}

async function learnAddresses() {
  try {
    addresses = await (await fetch("/v1/origin")).json();
    show();
  } catch {
    setTimeout(learnAddresses, 2000);
  }
}

function measureCpu(at) {
  for (const channel of channels) {
    for (const p of channel.pipelines) {
      const key = `${channel.id}/${p.id}`;
      const old = cpu.get(key);
      if (old && old.pid === p.pid && at - old.at < 0.8) continue;
      const share = old && old.pid === p.pid ? (p.cpu_seconds - old.seconds) / (at - old.at) : null;
      cpu.set(key, { pid: p.pid, seconds: p.cpu_seconds, at, share });
    }
  }
}

function show() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const channel = channels.find((c) => c.id === wanted) ?? channels[0];
  if (!channel) return;
  fill(picker, channels.map((c) => el("option", { value: c.id }, c.title || c.id)));
  picker.value = channel.id;
  picker.hidden = channels.length < 2;
  byId("title").hidden = channels.length > 1;
  byId("title").textContent = channel.title || channel.id;
  const verdict = judge.ofChannel(channel);
  document.title = `${channel.title || channel.id} – ${verdict.word} – Tandem`;
  byId("verdict").className = `pill s-${verdict.level}`;
  fill(byId("verdict"), icon(verdict.level), verdict.word);

  flow.show(channel);
  showCounters(channel.publish);
  fill(byId("sources").tBodies[0], channel.sources.flatMap((s) => [sourceRow(s), ...(s.merge?.paths ?? []).map((p) => pathRow(p, s.merge))]));
  signal.show(byId("signals"), channel);
  showPipelines(channel);
  fill(byId("renditions").tBodies[0], channel.publish.renditions.map((r) => renditionRow(r, channel.loudness.find((l) => l.rendition === r.id))));
  byId("outputs-card").hidden = !channel.outputs.length;
  fill(byId("outputs").tBodies[0], channel.outputs.flatMap(outputRows));
  if (addresses) {
    // A channel that only relays has nothing to play, and this player plays HLS alone.
    const playlist = channel.publish.manifests.find((m) => m.path.endsWith(".m3u8"));
    if (playlist) player.play(`${addresses.origin}/live/${channel.id}/${playlist.path}`);
    showAddresses(channel);
  }
}

function showCounters(publish) {
  const counter = (name, count, bad, title) =>
    el(`div${bad && count ? `.s-${bad}` : ""}`, { title }, el("dt", name),
      el("dd", bad && count ? icon("warn") : null, format.whole(count)));
  fill(byId("counters"), [
    counter("Segments", publish.segments, null, "Segments published since the start"),
    counter("Equal", publish.equal, null, "A and B delivered the same bytes"),
    counter("Different", publish.differs, "warn", "A and B delivered different bytes"),
    counter("One only", publish.one_missing, null, "Only one pipeline delivered"),
    counter("Gaps", publish.gaps, "off", "No pipeline delivered"),
  ]);
}

function sourceRow(source) {
  const { link, merge } = source;
  const number = (label, value) => el("td.n", { "data-label": label }, value);
  const why = source.alarm ?? (source.continuity_errors ? `${format.whole(source.continuity_errors)} continuity errors` : merge ? mergeText(merge) : source.peer);
  return el("tr",
    el("td", el("b", source.name), el("small", source.tracks.map(format.track).join(", ") || source.transport.toUpperCase())),
    el("td", state(judge.ofSource(source)), why && el("small", why)),
    number("Bitrate", source.connected ? format.bitrate(source.bitrate) : format.NONE),
    number("RTT", link && source.transport === "srt" ? milliseconds(link.rtt_ms) : format.NONE),
    el("td.n", { "data-label": "Lost", title: link ? linkDetails(link) : "" }, link ? lost(link) : format.NONE),
    number("Given up", link ? format.whole(link.dropped + link.undecrypted) : merge ? format.whole(merge.unrecovered) : format.NONE));
}

/** A path of a merged source, below it. */
function pathRow(path, { given }) {
  const { link } = path;
  const number = (label, value, title = "") => el("td.n", { "data-label": label, title }, value);
  const share = given ? `brought ${((100 * path.contributed) / given).toFixed(0)} %` : null;
  const skew = path.skew_ms != null && `${milliseconds(path.skew_ms)} behind`;
  return el("tr.path",
    el("td", el("b", path.name), el("small", path.transport.toUpperCase())),
    el("td", state(judge.ofPath(path)), el("small", { title: pathDetails(path) }, [skew, share].filter(Boolean).join(", ") || path.peer)),
    number("Bitrate", path.connected ? format.bitrate(path.bitrate) : format.NONE),
    number("RTT", link && path.transport === "srt" ? milliseconds(link.rtt_ms) : format.NONE),
    number("Lost", link ? lost(link) : format.NONE, link ? linkDetails(link) : ""),
    number("Given up", format.whole(path.lost), "Packets the other paths had to bring"));
}

function mergeText({ by_sequence, skew_ms, class: letter, window_ms }) {
  const how = by_sequence ? "merged by sequence number" : "merged by content";
  const skew = skew_ms != null && `${milliseconds(skew_ms)} apart${letter ? ` (class ${letter})` : ""}, of ${format.whole(window_ms)} ms`;
  return [how, skew].filter(Boolean).join(", ");
}

function pathDetails(path) {
  return [
    `${format.whole(path.packets)} arrived`,
    `${format.whole(path.saved)} that no other path had`,
    path.late && `${format.whole(path.late)} too late`,
    path.duplicates && `${format.whole(path.duplicates)} twice`,
    path.unusable && `${format.whole(path.unusable)} of no use`,
  ].filter(Boolean).join(", ");
}

const milliseconds = (ms) => `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;

/** What only some transports know. */
function linkDetails(link) {
  return [
    link.recovered && `${format.whole(link.recovered)} restored by FEC`,
    link.retransmitted && `${format.whole(link.retransmitted)} sent again`,
    link.reordered && `${format.whole(link.reordered)} out of order`,
    link.duplicates && `${format.whole(link.duplicates)} twice`,
    link.jitter_ms && `jitter ${milliseconds(link.jitter_ms)}`,
    link.refused && `${format.whole(link.refused)} refused`,
    link.unread && `${format.whole(link.unread)} dropped unread by the kernel`,
  ].filter(Boolean).join(", ");
}

function lost({ lost, packets }) {
  if (!lost) return "0";
  const share = (100 * lost) / Math.max(1, packets + lost);
  return `${format.whole(lost)} (${share < 0.1 ? "<0.1" : share.toFixed(1)} %)`;
}

/** Pipelines' cards stay, so that a picture is there until the next one is loaded. */
const cards = new Map();

function showPipelines(channel) {
  const shown = channel.pipelines.map((p) => {
    const key = `${channel.id}/${p.id}`;
    if (!cards.has(key)) cards.set(key, pipelineCard(p));
    const card = cards.get(key);
    fillCard(card, channel, p);
    return card.root;
  });
  const root = byId("pipelines");
  if (root.childElementCount !== shown.length || shown.some((card, i) => root.children[i] !== card)) root.replaceChildren(...shown);
}

function pipelineCard(p) {
  const card = {
    img: el("img", { alt: `What pipeline ${p.id.toUpperCase()} puts out`, width: 320, height: 180, hidden: "" }),
    none: el("span.none", icon("off")),
    note: el("figcaption"),
    body: el("div.facts"),
  };
  card.root = el("article", el("figure", card.img, card.none, card.note), card.body);
  return card;
}

/** A picture older than this, ms, shows that nothing comes any more; one is made each two seconds. */
const OLD = 8000;

function fillCard(card, channel, p) {
  const judged = judge.ofPipeline(p);
  card.root.className = `pipe s-${judged.level}`;
  if (p.thumbnail) {
    const url = `/v1/channels/${channel.id}/pipelines/${p.id}/thumbnail.jpg?slot=${p.thumbnail.slot}`;
    if (card.img.getAttribute("src") !== url) card.img.src = url;
    const age = Math.max(0, toldAt - p.thumbnail.at_ms);
    card.root.classList.toggle("old", age > OLD);
    const text = age > OLD ? `${format.age(age)} old` : `${Math.round(age / 1000)} s ago`;
    fill(card.note, age > OLD && icon("warn"), el("span", { title: new Date(p.thumbnail.at_ms).toISOString() }, text));
  }
  card.img.hidden = !p.thumbnail;
  card.none.hidden = Boolean(p.thumbnail);
  const share = cpu.get(`${channel.id}/${p.id}`)?.share;
  const facts = p.ingest ? published(p.ingest, channel.other_host) : [
    ["Source", p.source ?? format.NONE],
    ["Behind the clock", p.running ? format.seconds(p.lag_ms) : format.NONE],
    ["CPU", p.running && share != null ? `${Math.round(100 * share)} % of a core` : format.NONE],
    ["Memory", p.running ? format.bytes(p.rss_bytes) : format.NONE],
    ["Starts", `${p.starts}${p.pid ? ` (process ${p.pid})` : ""}`],
    ["Made up", `${format.whole(p.repeated + p.black + p.slate)} frames`,
      `${format.whole(p.repeated)} repeats, ${format.whole(p.black)} black, ${format.whole(p.slate)} slate`],
  ];
  for (const { to, connected, trouble, lost } of p.publishing) {
    facts.push(["Goes on to", `${to}${connected ? "" : `: ${trouble ?? "not yet"}`}`, `${format.whole(lost)} segments were not sent whole`]);
  }
  fill(card.body,
    el("header", el("b", `Pipeline ${p.id.toUpperCase()}`), state(judged)),
    el("dl", facts.map(([name, value, title]) => [el("dt", name), el("dd", title ? { title } : null, value)])));
}

/** What an encoder elsewhere publishes. */
function published(ingest, host) {
  const left = ingest.dropped + ingest.off_grid + ingest.astray;
  return [
    ["Encoder", ingest.peer ?? "elsewhere, silent"],
    ...(host ? [["Its host", agreement(host), `${format.whole(host.moves)} moves, ${format.whole(host.refused)} not followed`]] : []),
    ["Published", format.bytes(ingest.bytes)],
    ["Segments", `${format.whole(ingest.segments)} whole, ${format.whole(ingest.incomplete)} incomplete`],
    ["Left out", `${format.whole(left)} samples`,
      `${format.whole(ingest.off_grid)} between two frames, ${format.whole(ingest.astray)} far from the clock, ${format.whole(ingest.dropped)} without use`],
    ["Refused", `${format.whole(ingest.refused)} bodies`],
  ];
}

/** Whether sources lie on the same slots on the host that publishes. */
function agreement(host) {
  if (!host.heard) return "not heard";
  if (host.apart) return `${host.apart} of ${host.apart + host.agree} sources on other frames`;
  return host.agree ? "sources on the same frames" : "no source in common";
}

function sound(level) {
  if (level?.measured == null) return "sound";
  const signed = (value) => `${value < 0 ? "−" : "+"} ${Math.abs(value).toFixed(1)}`;
  const limited = level.taken < 0.05 ? "" : ` ${signed(-level.taken)} by the limiter`;
  const title = `comes out at ${(level.measured + level.gain - level.taken).toFixed(1)} LUFS; of the gain, ${level.make_up.toFixed(1)} dB make up for the limiter`;
  return el("span", { title }, `sound, ${level.measured.toFixed(1)} LUFS ${signed(level.gain)} dB${limited}`);
}

function renditionRow(r, level) {
  const number = (label, value) => el("td.n", { "data-label": label }, value);
  return el("tr",
    el("td", el("b", r.id)),
    el("td", r.size ? `${r.size[0]}×${r.size[1]}` : sound(level)),
    el("td", el("code", r.codec)),
    number("Average", format.bitrate(r.average_bitrate)),
    number("Peak", format.bitrate(r.peak_bitrate)));
}

/** An output, and below it each of its readers. */
function outputRows(output) {
  const { figures } = output;
  const number = (label, value) => el("td.n", { "data-label": label }, value);
  const { recording } = figures;
  const files = recording && `${format.whole(recording.files)} files, ${format.bytes(recording.kept_bytes)}`;
  const why = output.alarm ?? files ?? output.target;
  const from = output.source && !output.takes.endsWith(output.source) ? `${output.takes}: ${output.source}` : output.takes;
  const row = el("tr",
    el("td", el("b", output.name), el("small", from)),
    el("td", state(judge.ofOutput(output)), el("small", { title: output.target }, why)),
    number("Bitrate", format.bitrate(output.bitrate)),
    number("Sent", format.bytes(figures.bytes)),
    number("RTT", format.NONE),
    number("Lost", figures.errors ? `${format.whole(figures.errors)} errors` : format.NONE),
    number("Left out", format.whole(figures.dropped)));
  const readers = figures.readers.map((r) => el("tr.part",
    el("td", el("small", "reader")),
    el("td", el("code", r.peer)),
    number("Bitrate", format.NONE),
    number("Sent", format.bytes(r.bytes)),
    number("RTT", milliseconds(r.rtt_ms)),
    el("td.n", { "data-label": "Lost", title: `${format.whole(r.retransmitted)} sent again` }, format.whole(r.lost)),
    number("Left out", format.whole(r.dropped))));
  return [row, ...readers];
}

function showAddresses(channel) {
  const base = `${addresses.origin}/live/${channel.id}`;
  const publish = addresses.publish.filter((p) => p.channel === channel.id);
  fill(byId("addresses"), [
    ...channel.publish.manifests.map((m) => address(m.name, `${base}/${m.path}`)),
    ...publish.map((p) => address(`Publish ${p.source}`, p.url)),
  ]);
}

function address(name, url) {
  return el("li", el("span", name), el("code", { tabindex: 0 }, url),
    el("button", { type: "button", "data-copy": url, "aria-label": `Copy ${name}` }, icon("copy"), el("span", "Copy")));
}

// One listener for all: rows come and go with the status.
byId("addresses").addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const word = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    word.textContent = "Copied";
  } catch {
    // Without a secure context there is no clipboard: mark the text, so that one key copies it.
    getSelection().selectAllChildren(button.closest("li").querySelector("code"));
    word.textContent = "Ctrl C";
  }
  setTimeout(() => { word.textContent = "Copy"; }, 1500);
});

const SEVERITY = {
  info: { level: "info", word: "info" },
  warning: { level: "warn", word: "warning" },
  error: { level: "off", word: "error" },
};

let newest = 0;

function showEvent(event) {
  const list = byId("events");
  // Tandem started anew and counts from one again.
  if (event.number <= newest) list.replaceChildren();
  newest = event.number;
  byId("no-events").hidden = true;
  const about = [event.channel, event.source, event.pipeline && `pipeline ${event.pipeline.toUpperCase()}`].filter(Boolean);
  list.prepend(el("li",
    el("time", { datetime: event.at, title: event.at }, format.timeOfDay(event.at)),
    state(SEVERITY[event.severity]),
    el("p", event.text, " ", el("em", `· ${about.join(" · ")}`))));
  while (list.childElementCount > EVENTS_MAX) list.lastElementChild.remove();
}
