// Small helpers over the document. Texts only ever become text nodes.

export const byId = (id) => document.getElementById(id);

/** An element with text or children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Shows a text in an element, or hides the element where there is none. */
export function say(id, text) {
  const place = byId(id);
  place.textContent = text ?? "";
  if (place.matches(".caveats, .notice")) place.hidden = !text;
}

/** Shows a list of sentences, or hides the list where it is empty. */
export function list(id, sentences) {
  byId(id).replaceChildren(...sentences.map((text) => element("li", { textContent: text })));
  byId(id).hidden = sentences.length === 0;
}

/** A count with groups of three digits. */
export const count = (value) => value.toLocaleString("en-US");

/** `1 min 20 s`, rounded so that it does not flicker. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "-";
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const tens = Math.round(seconds / 10) * 10;
  return tens % 60 === 0 ? `${tens / 60} min` : `${Math.floor(tens / 60)} min ${tens % 60} s`;
}

/** Characters that steer, hide or reorder text become blanks, and a long text ends early. */
export function tame(text, most) {
  const clean = [...text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ")];
  return clean.length > most ? `${clean.slice(0, most).join("")}…` : clean.join("");
}

/** Gives a text to the reader as a file. */
export function save(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A file's name from a device's: letters, digits and dashes only. */
export const fileName = (device) => device.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 80) || "record";

const drawn = new Map();

/**
 * Replaces what is below an element by HTML of the Rust side, which has escaped every text of strangers, and draws its charts.
 * Ids get a prefix, so that two such parts of the page have none in common.
 */
export function show(place, { html, figures }, prefix) {
  drawn.get(place)?.();
  const inert = new DOMParser().parseFromString(html, "text/html");
  for (const one of inert.querySelectorAll("[id]")) one.id = `${prefix}-${one.id}`;
  place.replaceChildren(...inert.body.childNodes);
  if (figures) drawn.set(place, window.drawCharts(place, JSON.parse(figures)));
}
