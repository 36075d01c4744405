// Projections: a form whose every position is answered by the model itself.
import { ask, askLatest } from "./ask.js";
import * as curves from "./curves.js";
import { byId, count, element, say, show } from "./dom.js";
import { all, chipOf } from "./records.js";
import * as service from "./service.js";

const CHIPS = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 320, 384, 512, 768, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
const BATCHES = [undefined, 1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const TOKENS = [32, 64, 128, 256, 512, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000];
/** Steps of a load, by the key of a question, and what the slider is called. */
const LOADS = {
  concurrency: { values: Array.from({ length: 17 }, (_, i) => 2 ** i), name: "Clients at once", usual: (chips) => 16 * chips },
  request_rate: { values: [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000], name: "Requests per second", usual: (chips) => chips / 20 },
};
const OWN_MODEL = "own";

let offered;
let config;
let chips = CHIPS;
let sections;
let updates = 0;

const option = (value, text = value) => element("option", { value, textContent: text });
const factorOf = (id) => 10 ** Number(byId(id).value);
const at = (id, values) => values[Number(byId(id).value)];
const serves = () => byId("q-phase").value === offered.serving;
const load = () => LOADS[byId("q-load-kind").value];

/** The fields that are filled in, as keys of a question. */
function numbers(fields) {
  const filled = Object.entries(fields).map(([key, id]) => [key, byId(id).value === "" ? undefined : Number(byId(id).value)]);
  return Object.fromEntries(filled.filter(([, value]) => value !== undefined));
}

/** The keys of a question about one step. */
function stepKeys() {
  const plan = numbers({ tp: "q-tp", pp: "q-pp", ep: "q-ep" });
  const batch = at("q-batch", BATCHES);
  if (batch !== undefined) plan.batch_per_chip = batch;
  return { baseline: byId("q-baseline").value, plan, workload: numbers({ prompt_len: "q-prompt", output_len: "q-output", tpot_limit_ms: "q-limit" }) };
}

/** The keys of a question about serving. */
function servingKeys() {
  const mode = byId("q-mode").value;
  const workload = { prompt_len: at("q-in", TOKENS), output_len: at("q-out", TOKENS), ...numbers({ tpot_limit_ms: "q-limit", ttft_limit_ms: "q-first-limit" }) };
  if (load()) workload[byId("q-load-kind").value] = at("q-load", load().values);
  return { plan: { mode, ...(hasOnePlan() ? numbers({ tp: "q-tp", pp: "q-pp", ep: "q-ep" }) : {}) }, workload };
}

/** Workers of several kinds have plans of their own. */
const hasOnePlan = () => !serves() || byId("q-mode").value === offered.modes[0];

/** The question that the form asks, for the model module. A record's chip is made of it when it is first asked about. */
async function question() {
  const asked = {
    phase: byId("q-phase").value, fabric: byId("q-fabric").value, chips: at("q-chips", chips), framework: byId("q-framework").value,
    ...(serves() ? servingKeys() : stepKeys()),
  };
  for (const [key, id] of [["type", "q-type"], ["cache_type", "q-cache"]]) if (byId(id).value) asked[key] = byId(id).value;
  const request = {
    question: asked, bandwidth_factor: factorOf("q-bandwidth"), latency_factor: factorOf("q-latency"),
    ...numbers({ price_per_chip_hour: "q-price-chip", price_per_kwh: "q-price-kwh" }),
  };
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
  const batch = at("q-batch", BATCHES);
  const values = {
    "q-bandwidth": factor(factorOf("q-bandwidth")), "q-latency": factor(factorOf("q-latency")),
    "q-chips": count(at("q-chips", chips)), "q-batch": batch === undefined ? "searched" : count(batch),
    "q-in": count(at("q-in", TOKENS)), "q-out": count(at("q-out", TOKENS)), "q-load": load() ? count(at("q-load", load().values)) : "",
  };
  for (const [id, words] of Object.entries(values)) {
    say(`${id}-value`, words);
    byId(id).setAttribute("aria-valuetext", words);
  }
}

/** Puts a slider over a list of values. */
function slide(id, values, value) {
  byId(id).max = String(values.length - 1);
  byId(id).value = String(values.indexOf(value));
}

/** Shows the fields that the phase, the mode and the load have, and offers the frameworks of the phase. */
function fitFields() {
  const shown = [serves() ? "serving" : "steps", hasOnePlan() ? "one-plan" : "", serves() && load() ? "load" : ""];
  for (const field of byId("project").querySelectorAll("[data-for]")) field.hidden = !shown.includes(field.dataset.for);
  const before = byId("q-framework").value;
  const frameworks = ["none", ...offered.frameworks[byId("q-phase").value === "training" ? "training" : "serving"]];
  byId("q-framework").replaceChildren(...frameworks.map((name) => option(name)));
  byId("q-framework").value = frameworks.includes(before) ? before : "none";
}

/** The slider of another kind of load begins at one that is usual for so many chips. */
function fitLoad() {
  if (!load()) return;
  say("q-load-name", load().name);
  const { values, usual } = load();
  slide("q-load", values, values.findLast((value) => value <= usual(at("q-chips", chips))) ?? values[0]);
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

/** A figure, with what stands below it. */
function tile({ key, name, value, note }) {
  const below = note ? [element("dd", { className: "below", textContent: note })] : [];
  return element("div", {}, element("dt", { textContent: name }), element("dd", { id: `a-${key}`, textContent: value }), ...below);
}

function figures({ answer, title, infeasible, words }) {
  say("answer-title", title);
  say("answer-problem", infeasible);
  const none = [{ key: "rate", name: "tokens/s per chip", value: serves() ? "none" : "does not fit", note: "" }];
  byId("a-figures").replaceChildren(...(words?.figures ?? none).map(tile));
  say("a-words", words?.text);
  byId("answer").dataset.answer = JSON.stringify(answer);
}

function showSections() {
  if (sections && byId("foundation").open) {
    show(byId("answer-sections"), sections, "answer");
    sections = undefined;
  }
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
  const mark = { bandwidth: request.bandwidth_factor, served: request.question.phase === offered.serving ? read.answer : undefined };
  if (serves()) service.update(request, offered.systems);
  curves.update(request, mark.served === undefined ? "bandwidth" : "front", mark, askLatest);
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
  slide("q-batch", BATCHES, undefined);
  slide("q-in", TOKENS, 2000);
  slide("q-out", TOKENS, 1000);
  byId("q-model").value = defaults.model;
  byId("q-phase").value = defaults.phase;
  byId("q-fabric").value = defaults.fabric;
  byId("q-baseline").value = defaults.baseline;
  byId("q-chip").value = defaults.chip;
  fitChips(defaults.chips);
  fitFields();
  update();
}

/** Fills the form and answers its first question. */
export async function setUp() {
  offered = JSON.parse(await ask("catalogue"));
  byId("q-model").replaceChildren(...offered.models.map((name) => option(name)));
  byId("q-phase").replaceChildren(...offered.phases.map((name) => option(name)));
  byId("q-fabric").replaceChildren(...offered.fabrics.map(({ name, title }) => option(name, title)));
  byId("q-baseline").replaceChildren(...offered.fabrics.map(({ name, title }) => option(name, title)));
  byId("q-mode").replaceChildren(...offered.modes.map((name) => option(name)));
  byId("q-type").replaceChildren(option("", "the chip's own"), ...offered.types.map((name) => option(name)));
  byId("q-cache").replaceChildren(option("", "the checkpoint's"), ...offered.cache_types.map((name) => option(name)));
  fillChips();
  const form = byId("question");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.closest("#own-model")) return;
    if (event.target.id === "q-fabric") fitChips();
    if (event.target.id === "q-load-kind") fitLoad();
    fitFields();
    update();
  });
  form.addEventListener("reset", () => setTimeout(start, 0));
  byId("use-config").addEventListener("click", () => useConfig(byId("config-name").value, byId("config").value));
  byId("foundation").addEventListener("toggle", showSections);
  service.setUp();
  let width = byId("curve").clientWidth;
  new ResizeObserver(() => {
    if (Math.abs(byId("curve").clientWidth - width) < 2) return;
    width = byId("curve").clientWidth;
    curves.draw();
  }).observe(byId("curve"));
  start();
}
