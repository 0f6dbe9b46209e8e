// The players under test, in one shape. Each keeps its own defaults: what a viewer's page would do.
//
// In:    the video element, the address, how the codec of its pictures is to begin (or undefined), and `tell`, which takes
//        what the player itself complains of.
// Out:   functions: `latency` says how many seconds behind live the player believes it is, `codec` what pictures it takes;
//        null where it does not know.
// Never: judges.

/** Player name to the file in node_modules that a page loads. */
export const SCRIPTS = {
  'hlsjs': 'hls.js/dist/hls.min.js',
  'dashjs': 'dashjs/dist/modern/umd/dash.all.min.js',
  'shaka-hls': 'shaka-player/dist/shaka-player.compiled.js',
  'shaka-dash': 'shaka-player/dist/shaka-player.compiled.js',
};

/** Starts `name` on `url`. */
export function start(name, video, url, codec, tell) {
  if (name === 'hlsjs') return hlsjs(video, url, codec, tell);
  if (name === 'dashjs') return dashjs(video, url, codec, tell);
  return shaka(video, url, codec, tell);
}

function hlsjs(video, url, codec, tell) {
  const { Hls } = window;
  const player = new Hls(codec ? { videoPreference: { videoCodec: codec } } : {});
  player.on(Hls.Events.ERROR, (_, e) => {
    tell(e.fatal, `${e.type} ${e.details} ${e.response?.code ?? ''} ${e.error?.message ?? ''}`);
  });
  player.attachMedia(video);
  player.loadSource(url);
  play(video, tell);
  return { latency: () => player.latency, codec: () => player.levels[player.currentLevel]?.videoCodec };
}

async function shaka(video, url, codec, tell) {
  const { shaka } = window;
  const text = e => `category ${e.category} code ${e.code} ${JSON.stringify(e.data ?? null)}`;
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  player.addEventListener('error', e => tell(e.detail.severity === 2, text(e.detail)));
  if (codec) player.configure({ preferredVideoCodecs: [codec] });
  await player.attach(video);
  try {
    await player.load(url);
  } catch (e) {
    tell(true, `load: ${text(e)}`);
  }
  play(video, tell);
  return {
    latency: () => player.getStats().liveLatency,
    codec: () => player.getVariantTracks().find(t => t.active)?.videoCodec,
  };
}

function dashjs(video, url, codec, tell) {
  const { dashjs } = window;
  const player = dashjs.MediaPlayer().create();
  // The clock for manifests without UTCTiming: its default is a server on the Internet.
  const value = new URL('/time', location.href).href;
  const defaultTimingSource = { scheme: 'urn:mpeg:dash:utc:http-xsdate:2014', value };
  player.updateSettings({ debug: { logLevel: 0 }, streaming: { utcSynchronization: { defaultTimingSource } } });
  const { events } = dashjs.MediaPlayer;
  player.on(events.ERROR, e => tell(true, `${e.error?.code ?? ''} ${e.error?.message ?? e.error}`));
  player.on(events.PLAYBACK_ERROR, e => tell(true, `playback ${e.error?.code ?? ''} ${e.error?.message ?? ''}`));
  player.on(events.FRAGMENT_LOADING_COMPLETED, e => {
    if (e.error) tell(false, `${e.request?.url}: ${e.error.message ?? e.error.code ?? e.error}`);
  });
  const right = r => !r.mimeType?.startsWith('video/') || r.codecs?.startsWith(codec);
  if (codec) player.registerCustomCapabilitiesFilter(right);
  // It plays by itself: started with video.play() it stalls at the live edge.
  player.initialize(video, url, true);
  return {
    latency: () => player.getCurrentLiveLatency(),
    codec: () => player.getCurrentRepresentationForType('video')?.codecs,
  };
}

function play(video, tell) {
  // Replaced sources reject an earlier play(); the player plays on.
  video.play().catch(e => e.name === 'AbortError' || tell(true, `play(): ${e}`));
}
