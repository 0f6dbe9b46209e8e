// From the status of a channel to what it means: a level (colour and icon) and a word.

export function ofSource(source) {
  if (source.alarm) return { level: "warn", word: "unusable" };
  if (!source.connected) return { level: "off", word: "offline" };
  if (!source.flowing) return { level: "warn", word: "silent" };
  if (source.on_air.length) return { level: "air", word: `feeds ${source.on_air.map((p) => p.toUpperCase()).join(" + ")}` };
  return { level: "ready", word: "standby" };
}

/** A path of a merged source. */
export function ofPath(path) {
  if (path.merged) return { level: "air", word: "merged" };
  switch (path.alarm) {
    case "offline": return { level: "off", word: "offline" };
    case "silent": return { level: "warn", word: "silent" };
    case "not-the-same": return { level: "warn", word: "another stream" };
    default: return { level: "wait", word: "looked for" };
  }
}

/** An output, by what it does and whether anybody reads. */
export function ofOutput({ alarm, transport, bitrate, figures }) {
  if (alarm) return { level: "warn", word: "fails" };
  if (transport === "srt" && !figures.readers.length) return { level: "ready", word: "nobody reads" };
  if (!bitrate) return { level: "off", word: "nothing comes" };
  if (transport === "record") return { level: "air", word: "records" };
  const readers = figures.readers.length;
  return { level: "air", word: transport === "srt" ? `${readers} reader${readers > 1 ? "s" : ""}` : "sends" };
}

/** How well a source is, by its score. */
export function ofHealth({ connected, health }) {
  if (!connected) return { level: "off", word: "offline" };
  return { level: health.score >= 90 ? "air" : health.score >= 50 ? "warn" : "off", word: `health ${health.score}` };
}

export function ofPipeline(pipeline) {
  if (!pipeline.running) return { level: "off", word: pipeline.ingest ? "nothing comes" : "stopped" };
  if (!pipeline.locked) return { level: "wait", word: "locking" };
  const standby = pipeline.standby?.state;
  if (standby === "no-standby") return { level: "warn", word: "no standby" };
  if (standby === "stands-by") return { level: "ready", word: "standby" };
  if (pipeline.showing === "slate") return { level: "warn", word: "slate" };
  if (pipeline.showing === "black") return { level: "warn", word: "black" };
  if (pipeline.showing === "repeat") return { level: "warn", word: "repeating" };
  if (pipeline.on_air) return { level: "air", word: "on air" };
  return { level: "ready", word: "in lock" };
}

export function ofPackager(channel) {
  if (channel.publish.newest == null) return { level: "wait", word: "waiting" };
  return channel.pipelines.some((p) => p.on_air)
    ? { level: "air", word: "publishing" }
    : { level: "off", word: "no input" };
}

export function ofOrigin(channel) {
  return channel.publish.newest == null ? { level: "wait", word: "waiting" } : { level: "air", word: "serving" };
}

/** Nothing is encoded or served: what counts is that media goes on. */
function ofRelay({ sources, outputs }) {
  if (!sources.some((s) => s.flowing)) return { level: "off", word: "No input" };
  const whole = sources.every((s) => s.flowing) && outputs.every((o) => !o.alarm);
  return whole ? { level: "air", word: "Relays" } : { level: "warn", word: "Relays, not all of it" };
}

/** The channel as a whole, in the words of a viewer first and of redundancy second. */
export function ofChannel(channel) {
  if (!channel.encodes) return ofRelay(channel);
  if (channel.publish.newest == null) return { level: "wait", word: "Starting" };
  const onAir = channel.pipelines.find((p) => p.on_air);
  if (!onAir || !onAir.running) return { level: "off", word: "Off air" };
  if (onAir.showing === "slate") return { level: "off", word: "Slate on air" };
  if (onAir.showing === "black") return { level: "off", word: "Black on air" };
  if (onAir.showing === "repeat") return { level: "warn", word: "Picture held" };
  const whole = channel.pipelines.every((p) => p.running && p.locked) && channel.sources.every((s) => s.flowing && !s.alarm && (s.merge?.paths ?? []).every((p) => p.merged));
  return whole ? { level: "air", word: "On air" } : { level: "warn", word: "On air, redundancy reduced" };
}
