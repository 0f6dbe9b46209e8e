// Figures in, faults out: one sentence for each thing a viewer or an operator would mind.

/** A player that has not started by then will not. */
export const START_MS = 20_000;
/** A moving picture that stays the same longer than this is frozen. */
const STILL_MS = 1_500;
/** The longest silence in a sound that never rests for long (the test signal: 60 ms a second). */
const SILENT_MS = 1_500;
/** Late pictures are a busy machine's doing, not the stream's; but a slide show is not playing. */
const DROPPED = 0.1;
/** A player that asks for the same media more often is at odds with what it is told. */
const ASKED_MAX = 3;
/** The playhead keeps step with the wall clock within this. */
const STEP_S = 1.0;

/**
 * Faults of a report.
 * `seconds`: how long it was to play; `rate`: pictures a second there must be; `codec`: how their codec must begin. The
 * last two may be undefined.
 */
export function faults(report, { seconds, rate, codec }) {
  const r = report;
  const found = [];
  for (const e of r.errors) found.push(`${e.fatal ? 'fatal ' : ''}error after ${e.at_ms} ms: ${e.text}`);
  for (const e of r.http_errors) found.push(`HTTP: ${e}`);
  if (r.asked_most?.times > ASKED_MAX) found.push(`asked ${r.asked_most.times} times for ${r.asked_most.url}`);
  for (const e of r.page_errors) found.push(`page: ${e}`);
  if (r.started_ms === null) return [...found, `nothing played within ${START_MS} ms`];
  if (r.started_ms > START_MS) found.push(`started after ${r.started_ms} ms only`);
  for (const s of r.stalls) {
    const length = s.open ? `${s.ms} ms and no end` : `${s.ms} ms`;
    found.push(`stall ${s.at_s} s after the start, ${length}, ${s.ahead_s} s buffered (${s.cause})`);
  }
  for (const j of r.jumps) found.push(`the playhead jumped by ${j.by_s} s, ${j.at_s} s after the start`);
  if (r.seeks > 0) found.push(`${r.seeks} seeks while playing`);
  if (r.ended) found.push('the player took the stream for ended');
  if (r.played_seconds < seconds - STEP_S) found.push(`${r.played_seconds} of ${seconds} s played`);
  if (rate && r.decoded < rate * (r.played_seconds - STEP_S)) {
    found.push(`${r.decoded} pictures in ${r.played_seconds} s, not ${rate} a second`);
  }
  // avc1.64001e and avc1.4d401f are one format to a decoder, avc1 and av01 are not.
  const formats = new Set(r.codecs.map(c => c.split('.')[0]));
  if (formats.size > 1) found.push(`the codec changed: ${r.codecs.join(', ')}`);
  if (codec && !(formats.size === 1 && formats.has(codec))) found.push(`${r.codecs.join(', ')} played, not ${codec}`);
  if (r.decoded === 0 || r.dropped > r.decoded * DROPPED) found.push(`${r.dropped} of ${r.decoded} pictures dropped`);
  if (r.pictures.still_ms_max > STILL_MS) found.push(`the same picture for ${r.pictures.still_ms_max} ms`);
  if (r.pictures.flat > 0) found.push(`${r.pictures.flat} of ${r.pictures.looks} looks found an empty picture`);
  if (r.audio.silent_ms_max > SILENT_MS) found.push(`no sound for ${r.audio.silent_ms_max} ms`);
  return found;
}
