// Figures for people. A value that is not there is a dash, never a zero.

export const NONE = "–";

export function bitrate(bits) {
  if (!bits) return NONE;
  if (bits < 1e6) return `${Math.round(bits / 1e3)} kb/s`;
  return `${(bits / 1e6).toFixed(bits < 1e7 ? 2 : 1)} Mb/s`;
}

export function bytes(count) {
  if (!count) return NONE;
  return count < 1 << 30 ? `${Math.round(count / (1 << 20))} MiB` : `${(count / (1 << 30)).toFixed(2)} GiB`;
}

export function seconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Of something that ought to be fresh: 12 s, 3 min, 2 h. */
export function age(ms) {
  const s = Math.round(ms / 1000);
  return s < 120 ? `${s} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

export const whole = (count) => count.toLocaleString("en", { useGrouping: true }).replaceAll(",", "\u202f");

/** A count that has to fit in a chip: 999, 12k, 3M. */
export const short = (count) => count < 1000 ? String(count) : count < 1e6 ? `${Math.floor(count / 1e3)}k` : `${Math.floor(count / 1e6)}M`;

/** 0x0100 */
export const pid = (number) => `0x${number.toString(16).padStart(4, "0")}`;

/** 13:37:05 of an RFC 3339 date, UTC as it stands there. */
export const timeOfDay = (date) => date.slice(11, 19);

const CODECS = {
  h264: "H.264", hevc: "HEVC", "mpeg2-video": "MPEG-2", "aac-adts": "AAC", "aac-latm": "AAC (LATM)",
  "mpeg-audio": "MPEG audio", ac3: "AC-3", eac3: "E-AC-3",
};

/** One track of a source in a few words. */
export function track({ codec, shape }) {
  const name = typeof codec === "string" ? (CODECS[codec] ?? codec) : `type 0x${codec.other.toString(16)}`;
  return shape ? `${name} ${shape.width}×${shape.height}${shape.interlaced ? "i" : ""}` : name;
}
