// Projections: a form whose every position is answered by the model itself.
import { ask, askLatest } from "./ask.js";
import { byId, count, element, say, show } from "./dom.js";
import { all, chipOf } from "./records.js";

const CHIPS = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 320, 384, 512, 768, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
const BATCHES = [undefined, 1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const OWN_MODEL = "own";

let offered;
let config;
let chips = CHIPS;
let sections;
let updates = 0;
/** The curve as it was computed last: { asked, answer }. */
let curve;

const option = (value, text = value) => element("option", { value, textContent: text });
const factorOf = (id) => 10 ** Number(byId(id).value);

/** The fields that are filled in, as keys of a question. */
function numbers(fields) {
  const filled = Object.entries(fields).map(([key, id]) => [key, byId(id).value === "" ? undefined : Number(byId(id).value)]);
  return Object.fromEntries(filled.filter(([, value]) => value !== undefined));
}

/** The question that the form asks, for the model module. A record's chip is made of it when it is first asked about. */
async function question() {
  const plan = numbers({ tp: "q-tp", pp: "q-pp", ep: "q-ep" });
  const batch = BATCHES[Number(byId("q-batch").value)];
  if (batch !== undefined) plan.batch_per_chip = batch;
  const asked = {
    phase: byId("q-phase").value, fabric: byId("q-fabric").value, baseline: byId("q-baseline").value,
    chips: chips[Number(byId("q-chips").value)], plan,
    workload: numbers({ prompt_len: "q-prompt", output_len: "q-output", tpot_limit_ms: "q-limit" }),
  };
  if (byId("q-type").value) asked.type = byId("q-type").value;
  const request = { question: asked, bandwidth_factor: factorOf("q-bandwidth"), latency_factor: factorOf("q-latency") };
  if (byId("q-model").value === OWN_MODEL) request.config = config;
  else asked.model = byId("q-model").value;
  const chip = byId("q-chip").value;
  const record = all().find(({ name }) => `record ${name}` === chip);
  asked.chip = record ? offered.measured : chip;
  if (record) request.chip = await chipOf(record);
  return request;
}

/** The values next to the sliders. */
function positions() {
  const factor = (value) => `x ${value >= 10 ? value.toFixed(1) : value.toFixed(2)}`;
  const batch = BATCHES[Number(byId("q-batch").value)];
  const values = {
    "q-bandwidth": factor(factorOf("q-bandwidth")), "q-latency": factor(factorOf("q-latency")),
    "q-chips": count(chips[Number(byId("q-chips").value)]), "q-batch": batch === undefined ? "searched" : count(batch),
  };
  for (const [id, words] of Object.entries(values)) {
    say(`${id}-value`, words);
    byId(id).setAttribute("aria-valuetext", words);
  }
}

/** The numbers of chips that the fabric joins; the slider keeps its number where it can. */
function fitChips(wanted) {
  const fabric = offered.fabrics.find(({ name }) => name === byId("q-fabric").value);
  const before = wanted ?? chips[Number(byId("q-chips").value)];
  chips = CHIPS.filter((number) => number <= (fabric?.max_chips ?? Infinity));
  const slider = byId("q-chips");
  slider.max = String(chips.length - 1);
  slider.value = String(Math.max(chips.findLastIndex((number) => number <= before), 0));
}

function figures({ answer, title, infeasible, words }) {
  say("answer-title", title);
  say("answer-problem", infeasible);
  for (const [id, text] of Object.entries({ "a-rate": words?.rate ?? "does not fit", "a-time": words?.time, "a-speedup": words?.speedup, "a-total": words?.total })) {
    say(id, text ?? "-");
  }
  if (words) say("a-time-of", words.time_of);
  say("a-words", words ? `90 % of the draws of the uncertain inputs: ${words.band}. Plan: ${words.plan}. Bound by ${words.bound_by}. ${words.energy}.` : "");
  byId("answer").dataset.answer = JSON.stringify(answer);
}

function showSections() {
  if (sections && byId("foundation").open) {
    show(byId("answer-sections"), sections, "answer");
    sections = undefined;
  }
}

function drawCurve() {
  if (!curve) return;
  const { points, baseline, baseline_rate: below } = curve.answer;
  const here = factorOf("q-bandwidth");
  const place = byId("curve");
  const width = Math.floor(place.clientWidth);
  const known = points.filter(({ rate }) => rate !== null);
  if (known.length === 0 || width < 40) {
    place.replaceChildren(element("p", { textContent: "No plan fits at any bandwidth." }));
    return;
  }
  const line = below ? [below] : [];
  const { Plot } = window;
  const plot = Plot.plot({
    width, height: 280, marginLeft: 60, marginBottom: 40, marginRight: 20,
    x: { type: "log", domain: [0.1, 10], label: "bandwidth of the fabric, over what it is", tickFormat: (value) => `x ${value}`, ticks: width < 560 ? 3 : 6, grid: true },
    y: { label: "tokens/s per chip", zero: true, grid: true },
    marks: [
      Plot.ruleY(line, { stroke: "var(--dispatch)", strokeDasharray: "5 4" }),
      Plot.text(line, { x: 10, y: (d) => d, text: () => `${baseline} as it is`, textAnchor: "end", dy: -8, fill: "currentColor", stroke: "var(--card)", strokeWidth: 4 }),
      Plot.line(known, { x: "factor", y: "rate", stroke: "var(--expert)", strokeWidth: 2 }),
      Plot.ruleX([here], { stroke: "var(--muted)" }),
    ],
  });
  for (const layer of plot.querySelectorAll("[aria-label]")) layer.removeAttribute("aria-label");
  place.replaceChildren(plot);
}

/** Draws the curve of a question. It is over all bandwidths, so another bandwidth asks for none. */
async function updateCurve(asked) {
  if (curve?.asked !== asked) {
    const answer = await askLatest("curve", "bandwidth_curve", asked).catch(() => undefined);
    if (answer === undefined) return;
    curve = { asked, answer: JSON.parse(answer) };
  }
  drawCurve();
}

async function update() {
  positions();
  byId("answer").setAttribute("aria-busy", "true");
  updates += 1;
  const mine = updates;
  let request;
  let answer;
  try {
    request = await question();
    if (mine !== updates) return;
    answer = await askLatest("project", "project", JSON.stringify(request));
  } catch (error) {
    if (mine !== updates) return;
    say("answer-problem", error.message);
    byId("answer").setAttribute("aria-busy", "false");
    return;
  }
  // A newer question may still wait for a record's text: its answer is to come.
  if (answer === undefined || mine !== updates) return;
  const read = JSON.parse(answer);
  figures(read);
  sections = read.sections ?? { html: "" };
  showSections();
  byId("answer").setAttribute("aria-busy", "false");
  updateCurve(JSON.stringify({ ...request, bandwidth_factor: 1 }));
}

/** The chips: published ones, and one for each record at hand. */
function fillChips() {
  const before = byId("q-chip").value || offered.defaults.chip;
  const measured = all().map(({ name, summary }) => option(`record ${name}`, `measured: ${summary.device}`));
  byId("q-chip").replaceChildren(...offered.chips.map(({ name, title }) => option(name, title)), ...measured);
  byId("q-chip").value = before;
  if (byId("q-chip").selectedIndex < 0) byId("q-chip").value = offered.defaults.chip;
}

/** Takes a model's config.json, from the form or from a dropped file. */
async function useConfig(name, text) {
  try {
    const model = JSON.parse(await ask("describe_model", text, name));
    config = { name: model.name, text };
    for (const old of byId("q-model").querySelectorAll(`option[value="${OWN_MODEL}"]`)) old.remove();
    byId("q-model").append(option(OWN_MODEL, `${model.name} (yours)`));
    byId("q-model").value = OWN_MODEL;
    say("config-text", `${model.name}: ${model.words}.`);
    update();
  } catch (error) {
    say("config-text", error.message);
  }
}

/** A model that was dropped onto the page. */
export function takeConfig(name, text) {
  byId("own-model").open = true;
  useConfig(name, text);
  byId("project").scrollIntoView();
}

/** The records have changed. */
export function recordsChanged() {
  if (offered) fillChips();
}

/** Asks about the record that is shown first. */
export function projectRecord(name) {
  byId("q-chip").value = `record ${name}`;
  update();
  byId("project").scrollIntoView();
}

function start() {
  const { defaults } = offered;
  byId("q-batch").max = String(BATCHES.length - 1);
  byId("q-model").value = defaults.model;
  byId("q-phase").value = defaults.phase;
  byId("q-fabric").value = defaults.fabric;
  byId("q-baseline").value = defaults.baseline;
  byId("q-chip").value = defaults.chip;
  fitChips(defaults.chips);
  update();
}

/** Fills the form and answers its first question. */
export async function setUp() {
  offered = JSON.parse(await ask("catalogue"));
  byId("q-model").replaceChildren(...offered.models.map((name) => option(name)));
  byId("q-phase").replaceChildren(...offered.phases.map((name) => option(name)));
  byId("q-fabric").replaceChildren(...offered.fabrics.map(({ name, title }) => option(name, title)));
  byId("q-baseline").replaceChildren(...offered.fabrics.map(({ name, title }) => option(name, title)));
  byId("q-type").replaceChildren(option("", "the chip's own"), ...offered.types.map((name) => option(name)));
  fillChips();
  const form = byId("question");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.closest("#own-model")) return;
    if (event.target.id === "q-fabric") fitChips();
    update();
  });
  form.addEventListener("reset", () => setTimeout(start, 0));
  byId("use-config").addEventListener("click", () => useConfig(byId("config-name").value, byId("config").value));
  byId("foundation").addEventListener("toggle", showSections);
  let width = byId("curve").clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(byId("curve").clientWidth - width) < 2) return;
    width = byId("curve").clientWidth;
    drawCurve();
  }).observe(byId("curve"));
  start();
}
