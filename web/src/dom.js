// Elements without a framework. Text is always set as text: nothing that a source or an encoder said becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `el("p.quiet", "text", child…)`; an object sets attributes. */
export function el(spec, ...content) {
  const [name, ...classes] = spec.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const part of content.flat(Infinity)) {
    if (part == null || part === false) continue;
    if (typeof part === "object" && !(part instanceof Node)) {
      for (const [key, value] of Object.entries(part)) node.setAttribute(key, value);
    } else {
      node.append(part);
    }
  }
  return node;
}

/** An SVG element with attributes. */
export function svg(name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/** One of the icons in index.html. */
export function icon(name) {
  const node = svg("svg", { "aria-hidden": "true", viewBox: "0 0 16 16" });
  node.append(svg("use", { href: `#i-${name}` }));
  return node;
}

/** A state as icon and word; the colour comes from the class around it. */
export function state({ level, word }) {
  const known = { air: "air", ready: "ready", wait: "wait", warn: "warn", off: "off", info: "info" };
  return el(`span.state.s-${level}`, icon(known[level] ?? "off"), el("span", word));
}

export const byId = (id) => document.getElementById(id);

/** Replaces what is inside only when it reads differently, so that focus and selection survive quiet seconds. */
export function fill(parent, ...children) {
  const fresh = el("div", ...children);
  if (parent.innerHTML !== fresh.innerHTML) parent.replaceChildren(...fresh.childNodes);
}
