// The signal flow: sources → pipelines → packager → origin. Nodes are ordinary elements in a grid (side by side, or
// below each other on a phone); the cables between them are drawn where the nodes came to lie.

import { el, fill, state, svg } from "./dom.js";
import { bitrate, whole } from "./format.js";
import * as judge from "./judge.js";

/** Another host that gets what a pipeline makes. */
const goesTo = ({ to, connected }) => `${connected ? "goes" : "does not go"} to ${host(to)}`;
const host = (to) => to.replace(/^http:\/\//, "").replace(/\/.*$/, "");

export class Flow {
  constructor(root) {
    this.root = root;
    this.cables = svg("svg", { "aria-hidden": "true" });
    this.columns = ["Sources", "Pipelines", "Packager", "Origin"].map((name) =>
      el("div.stagecol", { role: "group", "aria-label": name }));
    root.replaceChildren(this.cables, ...this.columns);
    this.links = [];
    new ResizeObserver(() => this.draw()).observe(root);
  }

  show(channel) {
    const { sources, pipelines, publish } = channel;
    const packager = judge.ofPackager(channel);
    const origin = judge.ofOrigin(channel);
    this.columns[0].style.setProperty("--rows", Math.ceil(sources.length / 2));
    fill(this.columns[0], sources.map((s) =>
      node(`s-${s.name}`, s.name, judge.ofSource(s), [carriers(s), s.flowing && bitrate(s.bitrate)])));
    fill(this.columns[1], pipelines.map((p) =>
      node(`p-${p.id}`, `Pipeline ${p.id.toUpperCase()}`, judge.ofPipeline(p), [p.ingest ? `from ${p.ingest.peer ?? "elsewhere"}` : p.source ? `takes ${p.source}` : "no source", ...p.publishing.map(goesTo)])));
    fill(this.columns[2], [node("packager", "Packager", packager, [publish.newest != null && whole(publish.newest)])]);
    fill(this.columns[3], [node("origin", "Origin", origin, [publish.manifests.map((m) => m.name).filter((name) => !name.includes(" ")).join(", ")])]);

    this.links = [];
    for (const pipeline of pipelines) {
      for (const source of sources) {
        const feeds = source.on_air.includes(pipeline.id);
        if (!feeds && !pipeline.sources.includes(source.name)) continue;
        const level = feeds && source.flowing ? "air" : source.flowing ? "ready" : "idle";
        this.links.push([`s-${source.name}`, `p-${pipeline.id}`, level]);
      }
      const { level } = judge.ofPipeline(pipeline);
      const out = pipeline.on_air && pipeline.running ? (level === "warn" ? "warn" : "air") : level === "off" || level === "wait" ? "idle" : "ready";
      this.links.push([`p-${pipeline.id}`, "packager", out]);
    }
    this.links.push(["packager", "origin", packager.level === "air" ? "air" : "idle"]);
    this.draw();
  }

  draw() {
    const frame = this.root.getBoundingClientRect();
    if (!frame.width) return;
    const at = new Map([...this.root.querySelectorAll("[data-node]")].map((n) => [n.dataset.node, n.getBoundingClientRect()]));
    // What carries the programme is drawn last, above the rest.
    const order = ["idle", "ready", "warn", "air"];
    const paths = [...this.links].sort((a, b) => order.indexOf(a[2]) - order.indexOf(b[2])).flatMap(([from, to, level]) => {
      const [a, b] = [at.get(from), at.get(to)];
      if (!a || !b) return [];
      return [svg("path", { class: `cable s-${level}`, d: way(from, a, b, frame) })];
    });
    this.cables.replaceChildren(...paths);
  }
}

/** By what a source comes: a merged one by those of its paths that take part. */
function carriers({ transport, merge }) {
  if (!merge) return transport.toUpperCase();
  return merge.paths.filter((p) => p.merged).map((p) => p.transport.toUpperCase()).join(" + ") || "no path";
}

function node(id, name, judged, details) {
  return el(`div.node.s-${judged.level}`, { "data-node": id },
    el("b", { title: name }, name), state(judged), el("small", details.filter(Boolean).join(" · ") || "\u00a0"));
}

/** How far beside the nodes a cable runs down where they lie below each other; the style leaves this room. */
const GUTTER = 9;

/** On a phone the sources lie on top of each other, so each side's cables run down beside them; elsewhere a curve. */
function way(from, a, b, frame) {
  const left = a.left + a.width / 2 < frame.left + frame.width / 2;
  const stacked = from.startsWith("s-") && b.top >= a.bottom && (left ? b.left - a.left : a.right - b.right) < 4;
  if (!stacked) return curve(a, b, frame);
  const [edge, end] = left ? [a.left, b.left] : [a.right, b.right];
  const x = (left ? edge - GUTTER : edge + GUTTER) - frame.left;
  const [top, bottom] = [a, b].map((box) => box.top + box.height / 2 - frame.top);
  return `M${edge - frame.left} ${top}H${x}V${bottom}H${end - frame.left}`;
}

/** From the right edge of a to the left edge of b; from bottom to top where they lie below each other. */
function curve(a, b, frame) {
  const beside = b.left > a.right;
  const [x1, y1, x2, y2] = beside
    ? [a.right, a.top + a.height / 2, b.left, b.top + b.height / 2]
    : [a.left + a.width / 2, a.bottom, b.left + b.width / 2, b.top];
  const [ax, ay, bx, by] = [x1 - frame.left, y1 - frame.top, x2 - frame.left, y2 - frame.top];
  return beside
    ? `M${ax} ${ay}C${(ax + bx) / 2} ${ay} ${(ax + bx) / 2} ${by} ${bx} ${by}`
    : `M${ax} ${ay}C${ax} ${(ay + by) / 2} ${bx} ${(ay + by) / 2} ${bx} ${by}`;
}
