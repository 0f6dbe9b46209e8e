// What a viewer would see and hear, measured inside the page.
//
// In:    the player's name and the address, from `watch`.
// Out:   `report`: plain figures, as they stand.
// Never: judges; verdict.mjs does.

import { age } from '/clock.mjs';
import { start } from '/players.mjs';

const TICK_MS = 100;
const LOOK_MS = 250;
/** A playhead that stands longer than this is a stall, with or without an event. */
const STAND_MS = 500;
/** The playhead may differ from the wall clock by this much between two ticks before it counts as a jump. */
const JUMP_S = 0.5;
/** Sounds above this are heard; the test signal's tone peaks at 0.25. */
const HEARD = 0.01;
/** A picture whose luma spans less than this shows nothing. */
const FLAT_LUMA = 16;

/** Errors kept of those that end nothing, and of those that do; a player without a server makes many a second. */
const ERRORS_MAX = 20;

const video = document.getElementById('video');
const now = () => performance.now();
const round = (x, digits = 2) => (Number.isFinite(x) ? Number(x.toFixed(digits)) : null);

const seen = {
  began: 0, // now() when the player was given the address
  started: null, // now() when the playhead first moved
  presented: 0, // pictures the compositor was given
  stalls: [], // { at_s: seconds after the start, ms, cause, ahead_s: media buffered when it began, open: no end came }
  jumps: [], // { at_s, by_s }
  seeks: 0,
  errors: [], // { at_ms: since `began`, fatal, text }
  ended: false,
  ahead: Infinity,
  played: 0,
  pictures: { looks: 0, last: null, changed: 0, distinct: new Set(), flat: 0, still_ms_max: 0 },
  audio: { peak: 0, heard: 0, silent_ms_max: 0 },
  heights: new Set(),
  codecs: new Set(),
  latencies: [],
  ages: [], // seconds from the moment a picture was filmed to its being seen, by the number it carries
};
let latency = () => null;
let codecNow = () => null;
let stall = null; // the open one
let head = { at: 0, moved: 0, position: 0 };

/** Gives the player the address. */
window.watch = async (name, url, codec) => {
  listen();
  seen.began = now();
  head = { at: now(), moved: now(), position: video.currentTime };
  setInterval(tick, TICK_MS);
  const hear = ear();
  setInterval(() => look(hear), LOOK_MS);
  ({ latency, codec: codecNow } = await start(name, video, url, codec, complain));
};

window.hasStarted = () => seen.started !== null;

window.report = () => {
  if (stall) close({ open: true });
  const quality = video.getVideoPlaybackQuality();
  return {
    started_ms: seen.started === null ? null : Math.round(seen.started - seen.began),
    watched_seconds: seen.started === null ? 0 : round((now() - seen.started) / 1000),
    played_seconds: round(seen.played),
    stalls: seen.stalls,
    jumps: seen.jumps,
    seeks: seen.seeks,
    ended: seen.ended,
    errors: seen.errors,
    decoded: quality.totalVideoFrames,
    dropped: quality.droppedVideoFrames,
    presented: seen.presented,
    heights: [...seen.heights],
    codecs: [...seen.codecs],
    least_ahead_s: round(seen.ahead),
    latency_s: spread(seen.latencies),
    age_s: spread(seen.ages),
    pictures: {
      looks: seen.pictures.looks,
      distinct: seen.pictures.distinct.size,
      flat: seen.pictures.flat,
      still_ms_max: Math.round(seen.pictures.still_ms_max),
    },
    audio: {
      peak: round(seen.audio.peak, 3),
      silent_ms_max: Math.round(seen.audio.silent_ms_max),
      decoded_bytes: video.webkitAudioDecodedByteCount ?? null,
    },
  };
};

function complain(fatal, text) {
  if (seen.errors.filter(e => e.fatal === fatal).length >= ERRORS_MAX) return;
  seen.errors.push({ at_ms: Math.round(now() - seen.began), fatal, text: String(text).trim().slice(0, 300) });
}

function listen() {
  video.addEventListener('error', () => complain(true, `video ${video.error?.code} ${video.error?.message}`));
  video.addEventListener('ended', () => (seen.ended = true));
  video.addEventListener('seeking', () => (seen.seeks += seen.started === null ? 0 : 1));
  video.addEventListener('waiting', () => {
    if (seen.started === null) return;
    tick(); // What moved until now does not end the stall that begins now.
    open(now(), 'waiting');
  });
  const presented = (_, frame) => {
    seen.presented = frame.presentedFrames;
    video.requestVideoFrameCallback(presented);
  };
  video.requestVideoFrameCallback(presented);
}

function open(at, cause) {
  stall ??= { at, at_s: round((at - seen.started) / 1000), cause, ahead_s: round(ahead()) };
}

function close(more) {
  const { at, ...rest } = stall;
  seen.stalls.push({ ...rest, ms: Math.round(now() - at), ...more });
  stall = null;
}

/** Seconds of media buffered in front of the playhead. */
function ahead() {
  const { buffered, currentTime: t } = video;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= t + 0.05 && buffered.end(i) > t) return buffered.end(i) - t;
  }
  return 0;
}

/** Follows the playhead. */
function tick() {
  const at = now();
  const position = video.currentTime;
  const [moved, passed] = [position - head.position, (at - head.at) / 1000];
  if (seen.started === null) {
    // Players place the playhead at the live edge before they start: only a small step is playing.
    if (seen.presented > 0 && !video.paused && moved > 0 && moved < JUMP_S) {
      seen.started = at;
      head.moved = at;
    }
  } else {
    if (moved < 0 || moved > passed + JUMP_S) {
      seen.jumps.push({ at_s: round((at - seen.started) / 1000), by_s: round(moved - passed) });
      head.moved = at;
    } else if (moved > 0) {
      seen.played += moved;
      head.moved = at;
      if (stall) close();
    } else if (at - head.moved > STAND_MS) {
      open(head.moved, 'the playhead stands');
    }
    seen.ahead = Math.min(seen.ahead, ahead());
  }
  Object.assign(head, { at, position });
}

/** Looks at the picture and listens. */
function look(hear) {
  if (seen.started === null) return;
  const at = now();
  see(at);
  const { audio } = seen;
  const peak = hear();
  audio.peak = Math.max(audio.peak, peak);
  if (peak > HEARD) audio.heard = at;
  audio.silent_ms_max = Math.max(audio.silent_ms_max, at - Math.max(audio.heard, seen.started));
  const behind = latency();
  if (Number.isFinite(behind) && behind > 0) seen.latencies.push(behind);
  const since = age(video);
  if (since !== null) seen.ages.push(since);
  if (video.videoHeight) seen.heights.add(video.videoHeight);
  const codec = codecNow();
  if (codec) seen.codecs.add(codec);
}

const canvas = new OffscreenCanvas(64, 36);
const context = canvas.getContext('2d', { willReadFrequently: true });

function see(at) {
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let [hash, low, high] = [0, 255, 0];
  for (let i = 0; i < data.length; i += 4) {
    const luma = (data[i] * 2 + data[i + 1] * 5 + data[i + 2]) >> 3;
    hash = (Math.imul(hash, 31) + luma) | 0;
    low = Math.min(low, luma);
    high = Math.max(high, luma);
  }
  const { pictures } = seen;
  if (hash !== pictures.last) Object.assign(pictures, { last: hash, changed: at });
  pictures.still_ms_max = Math.max(pictures.still_ms_max, at - pictures.changed);
  pictures.looks += 1;
  pictures.distinct.add(hash);
  if (high - low < FLAT_LUMA) pictures.flat += 1;
}

/** A function that gives the peak of the last two thirds of a second: no sound falls between two looks. */
function ear() {
  const context = new AudioContext({ sampleRate: 48_000 });
  const analyser = new AnalyserNode(context, { fftSize: 32_768 });
  context.createMediaElementSource(video).connect(analyser).connect(context.destination);
  const samples = new Float32Array(analyser.fftSize);
  return () => {
    analyser.getFloatTimeDomainData(samples);
    return samples.reduce((peak, x) => Math.max(peak, Math.abs(x)), 0);
  };
}

function spread(values) {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  return { min: round(sorted[0]), median: round(median), max: round(sorted.at(-1)) };
}
