// The picture below an answer: throughput over bandwidth, or the front of a deployment that serves.
import { byId, element, say } from "./dom.js";

/** What is drawn for a question about one step, and for one about serving. */
const KINDS = {
  bandwidth: {
    call: "bandwidth_curve", label: "Throughput over the bandwidth of the fabric", draw: overBandwidth,
    caption: "At each bandwidth the best plan is chosen anew. The dashed line is the baseline as it is.",
  },
  front: {
    call: "serving_front", label: "Tokens per second of a chip over those of a user: the best deployments at any load", draw: front,
    caption: "Deployments at any load that no other beats in both; up and to the right is better. The ring is the answer above.",
  },
};

/** The curve as it was computed last: { asked, kind, answer }, and what marks the answer in it. */
let curve;
let here;

function overBandwidth({ points, baseline, baseline_rate: below }, Plot, width) {
  const known = points.filter(({ rate }) => rate !== null);
  if (known.length === 0) return undefined;
  const line = below ? [below] : [];
  return Plot.plot({
    width, height: 280, marginLeft: 60, marginBottom: 40, marginRight: 20,
    x: { type: "log", domain: [0.1, 10], label: "bandwidth of the fabric, over what it is", tickFormat: (value) => `x ${value}`, ticks: width < 560 ? 3 : 6, grid: true },
    y: { label: "tokens/s per chip", zero: true, grid: true },
    marks: [
      Plot.ruleY(line, { stroke: "var(--dispatch)", strokeDasharray: "5 4" }),
      Plot.text(line, { x: 10, y: (d) => d, text: () => `${baseline} as it is`, textAnchor: "end", dy: -8, fill: "currentColor", stroke: "var(--card)", strokeWidth: 4 }),
      Plot.line(known, { x: "factor", y: "rate", stroke: "var(--expert)", strokeWidth: 2 }),
      Plot.ruleX([here.bandwidth], { stroke: "var(--muted)" }),
    ],
  });
}

function front(points, Plot, width) {
  const [x, y] = ["tokens_per_s_per_user", "tokens_per_s_per_chip"];
  const answer = here.served ? [here.served] : [];
  return Plot.plot({
    width, height: 280, marginLeft: 60, marginBottom: 40, marginRight: 20,
    x: { label: "tokens/s per user", grid: true, zero: true, ticks: width < 560 ? 4 : 8 },
    y: { label: "tokens/s per chip", zero: true, grid: true },
    marks: [
      Plot.line(points, { x, y, stroke: "var(--expert)", strokeWidth: 1.5 }),
      Plot.dot(points, { x, y, r: 3, fill: "var(--expert)", title: "words", tip: true }),
      Plot.dot(answer, { x, y, r: 7, stroke: "var(--dispatch)", strokeWidth: 2 }),
    ],
  });
}

function words(text) {
  byId("curve").replaceChildren(element("p", { className: "note", textContent: text }));
}

/** Draws the curve that was computed last, as wide as its place is now. */
export function draw() {
  if (!curve) return;
  const { label, caption, draw: picture } = KINDS[curve.kind];
  const place = byId("curve");
  const width = Math.floor(place.clientWidth);
  if (width < 40) return;
  place.setAttribute("aria-label", label);
  say("curve-caption", caption);
  const plot = picture(curve.answer, window.Plot, width);
  if (!plot) {
    words("No plan fits at any bandwidth.");
    return;
  }
  for (const layer of plot.querySelectorAll("[aria-label]")) layer.removeAttribute("aria-label");
  place.replaceChildren(plot);
}

/** The question whose curve a question's is: what moves along the curve, and what does not move it, is left out. */
function whole(request, kind) {
  const { price_per_chip_hour: _hire, price_per_kwh: _energy, ...rest } = request;
  if (kind === "bandwidth") return { ...rest, bandwidth_factor: 1 };
  const { concurrency: _clients, request_rate: _rate, ...workload } = rest.question.workload;
  return { ...rest, question: { ...rest.question, workload } };
}

/** Draws the curve of a question; `mark` is where its answer lies. Another place on the same curve asks for nothing. */
export async function update(request, kind, mark, askLatest) {
  here = mark;
  const asked = JSON.stringify(whole(request, kind));
  if (curve?.asked !== asked) {
    if (curve?.kind !== kind) {
      curve = undefined;
      words("Being computed.");
    }
    let answer;
    try {
      answer = await askLatest("curve", KINDS[kind].call, asked);
    } catch (error) {
      curve = undefined;
      words(error.message);
      return;
    }
    if (answer === undefined) return;
    curve = { asked, kind, answer: JSON.parse(answer) };
  }
  draw();
}
