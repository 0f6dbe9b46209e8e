// The player: hls.js where Media Source Extensions are, the browser's own HLS elsewhere (Safari on a phone). It starts
// muted, since no browser plays sound unasked, and never gives up: a channel that is down may come back any second.

import Hls from "hls.js";
import { byId, el, fill } from "./dom.js";
import { bitrate } from "./format.js";

const AGAIN_MS = 2000;

export class Player {
  constructor() {
    this.video = byId("video");
    this.unmute = byId("unmute");
    this.waiting = byId("waiting");
    this.quality = byId("quality");
    this.url = null;
    this.hls = null;
    this.unmute.addEventListener("click", () => {
      this.video.muted = false;
      this.video.play().catch(() => {});
    });
    this.video.addEventListener("volumechange", () => this.showMuted());
    this.video.addEventListener("playing", () => { this.waiting.hidden = true; this.showMuted(); });
    this.video.addEventListener("waiting", () => { if (!this.video.readyState) this.showWaiting(); });
    this.video.addEventListener("error", () => { if (!this.hls) this.again(); });
    this.quality.addEventListener("change", () => { if (this.hls) this.hls.nextLevel = Number(this.quality.value); });
    setInterval(() => this.showFigures(), 1000);
  }

  /** Plays another address; the same one goes on undisturbed. */
  play(url) {
    if (url === this.url) return;
    this.url = url;
    this.load();
  }

  load() {
    clearTimeout(this.timer);
    this.hls?.destroy();
    this.hls = null;
    this.showWaiting();
    this.quality.replaceChildren(el("option", { value: -1 }, "auto"));
    if (Hls.isSupported()) {
      // No worker: it would need a blob: script, and fragments are CMAF already, so there is nothing to remux.
      const hls = new Hls({ enableWorker: false, backBufferLength: 30 });
      this.hls = hls;
      hls.on(Hls.Events.MANIFEST_PARSED, () => {
        this.showLevels();
        this.video.play().catch(() => {});
      });
      hls.on(Hls.Events.ERROR, (_, error) => {
        if (!error.fatal) return;
        if (error.type === Hls.ErrorTypes.MEDIA_ERROR && !this.recovered) {
          this.recovered = true;
          setTimeout(() => { this.recovered = false; }, 10_000);
          hls.recoverMediaError();
        } else {
          this.again();
        }
      });
      hls.attachMedia(this.video);
      hls.loadSource(this.url);
    } else if (this.video.canPlayType("application/vnd.apple.mpegurl")) {
      this.video.src = this.url;
      this.video.play().catch(() => {});
    } else {
      this.waiting.textContent = "This browser plays no HLS. The addresses below work in VLC.";
    }
  }

  again() {
    clearTimeout(this.timer);
    this.showWaiting();
    this.timer = setTimeout(() => this.load(), AGAIN_MS);
  }

  showWaiting() {
    this.waiting.hidden = false;
    this.showMuted();
  }

  showMuted() {
    this.unmute.hidden = !(this.video.muted && this.waiting.hidden);
  }

  showLevels() {
    const levels = this.hls.levels.map((level, index) =>
      el("option", { value: index }, `${level.height ? `${level.height}p` : "sound"} · ${bitrate(level.bitrate)}`));
    this.quality.replaceChildren(el("option", { value: -1 }, "auto"), ...levels.reverse());
  }

  showFigures() {
    const { video, hls } = this;
    const parts = [];
    if (video.videoHeight && video.readyState > 1) parts.push(el("b", `${video.videoWidth}×${video.videoHeight}`));
    if (hls?.latency) parts.push(el("span", el("b", `${hls.latency.toFixed(1)} s`), " behind live"));
    const quality = video.getVideoPlaybackQuality?.();
    if (quality?.totalVideoFrames) parts.push(el("span", el("b", String(quality.droppedVideoFrames)), " dropped"));
    fill(byId("playing"), parts.flatMap((part, i) => (i ? [" · ", part] : [part])));
  }
}
