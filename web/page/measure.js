// A run: the worker that measures, what is kept of it, and how far it is.
import { ask, askLatest } from "./ask.js";
import { PRESETS, look, suitable, tooLarge } from "./browser.js";
import { byId, count, duration, element, list, say } from "./dom.js";
import * as store from "./store.js";

const LATEST = 6;
const ELSEWHERE = "A run goes on in another tab of this browser. Wait for its end, or stop it there.";

let worker;
let run;
/** Called with the journal's text when a run ends or one was kept: (text, isComplete). */
let finished = () => {};
let stopDrawing = () => {};

/** What the worker said went wrong, with what to do about it. */
function withRemedy(line, resumable) {
  const kept = resumable ? " What was finished is kept: press Go on." : "";
  if (/memory|allocat|out of bounds/i.test(line)) return `${line}. The memory did not suffice: close other tabs, or choose a smaller preset.${kept}`;
  if (/lost|destroyed|hung/i.test(line)) return `${line}. The GPU was lost: wait a moment, and close other programs that use it.${kept}`;
  return `${line}.${kept}`;
}

function isRunning() {
  return worker !== undefined;
}

function buttons() {
  const running = isRunning();
  byId("start").hidden = running;
  byId("start").disabled = running || !run?.canMeasure;
  byId("verify").disabled = running || !run?.canMeasure;
  byId("pause").disabled = byId("stop").disabled = !running;
  byId("pause").textContent = run?.paused ? "Resume" : "Pause";
  byId("presets").disabled = running;
}

function chosen() {
  return PRESETS.find(({ name }) => name === new FormData(byId("run")).get("preset")) ?? PRESETS[0];
}

function choices(adapter) {
  const name = suitable(adapter);
  const choice = (preset) => element("label", { className: "choice" },
    element("input", { type: "radio", name: "preset", value: preset.name, checked: preset.name === name }),
    element("span", { textContent: preset.title }),
    element("small", { textContent: preset.words }));
  byId("presets").append(...PRESETS.map(choice));
}

/** Adds to each choice what it takes at most, as soon as the model says that. */
async function addBounds() {
  const { presets } = JSON.parse(await ask("catalogue"));
  for (const { name, minutes, bytes } of presets) {
    run.bytes[name] = bytes;
    const words = document.querySelector(`.choice:has([value=${name}]) small`);
    words.textContent = `up to ${minutes} minutes and ${bytes / 1e9} GB: ${words.textContent}`;
  }
}

/** The screen stays on while a run lasts, where the browser can do that: a dark phone slows down. */
async function stayAwake() {
  try {
    run.wake = await navigator.wakeLock?.request("screen");
  } catch {
    run.wake = undefined;
  }
}

function end(problem) {
  worker?.terminate();
  worker = undefined;
  run.wake?.release().catch(() => {});
  run.unlock?.();
  run.paused = run.verifying = false;
  document.title = "supernode-bench in a browser";
  say("attention", "");
  say("run-problem", problem);
  buttons();
}

/** One run at a time in all tabs: two would slow each other down. Resolves to false where another tab runs. */
function lock() {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request("supernode-bench-run", { ifAvailable: true }, (held) => {
      resolve(held !== null);
      return held && new Promise((release) => {
        run.unlock = release;
      });
    });
  });
}

function startWorker(message) {
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => hear(data);
  worker.onerror = (event) => {
    event.preventDefault();
    end(withRemedy(event.message || "The measuring module could not be loaded: reload the page"));
    offerKept();
  };
  worker.postMessage(message);
  buttons();
}

async function start(journal) {
  if (isRunning()) return;
  if (!(await lock())) {
    say("run-problem", ELSEWHERE);
    return;
  }
  const preset = journal ? run.kept.preset : chosen().name;
  Object.assign(run, { preset, journal, began: performance.now(), doneBefore: undefined, paused: false });
  say("run-problem", "");
  byId("kept").hidden = true;
  byId("progress").hidden = false;
  byId("latest").replaceChildren();
  byId("live").hidden = true;
  byId("bar").removeAttribute("value");
  say("progress-text", "The module is loaded, the device is opened, its ceilings are measured.");
  say("status", "The run has begun.");
  stayAwake();
  startWorker({ do: "measure", options: { preset }, journal });
}

/** What happened, as a line for the reader. */
const EVENTS = {
  ceiling: () => "The device's ceilings are measured.",
  started: ({ id }) => `Now: ${id}`,
  trying: ({ id, variant }) => `Now: ${id}, trying ${variant}`,
  repeated: ({ id }) => `The device changed its speed after ${id}, which is measured again.`,
  note: ({ text }) => text,
};

function hear({ journal, event, verified, done, error }) {
  if (journal !== undefined) keep(journal);
  if (event?.event === "verified") checked(event);
  else if (event?.event === "paused") say("attention", `The machine stood still for ${duration(event.pause_s)} during ${event.id}, which is measured again. Keep it awake until the run ends.`);
  else if (event && EVENTS[event.event]) {
    run.now = EVENTS[event.event](event);
    tell();
  }
  if (verified) allChecked(verified);
  if (done !== undefined) complete(done);
  if (error) failed(error);
}

function failed({ message, interrupted, resumable }) {
  const wasVerifying = run.verifying;
  end(interrupted || run.stopping ? "" : withRemedy(message, resumable));
  const words = run.stopping ? "The run was stopped. What was finished is kept." : "The run has ended early.";
  run.stopping = false;
  say("status", words);
  if (wasVerifying) say("verify-text", "The check has ended early.");
  else offerKept();
}

async function keep(journal) {
  run.journal = journal;
  run.kept = { journal, preset: run.preset };
  const problem = await store.keep(run.kept);
  if (problem) say("attention", problem);
  const answer = await askLatest("progress", "progress", journal).catch(() => undefined);
  if (answer && isRunning()) showProgress(JSON.parse(answer));
}

async function complete(record) {
  end("");
  run.kept = { journal: record, preset: run.preset };
  await store.keep(run.kept);
  say("status", "The run is complete.");
  byId("progress").hidden = true;
  finished(record, true);
  byId("results").scrollIntoView();
}

function showProgress({ summary, figures }) {
  run.summary = summary;
  tell();
  const data = JSON.parse(figures);
  const cases = data.records[0].cases.slice(-LATEST).reverse();
  byId("live").hidden = cases.length === 0;
  stopDrawing();
  if (cases.length > 0) stopDrawing = window.drawCharts(byId("live"), data);
  byId("latest").replaceChildren(...cases.map(({ label, tip }) => {
    const [, setting, time, fraction] = tip.split("\n");
    return element("li", {}, element("div", {}, label, element("br"), element("small", { textContent: setting })),
      element("span", {}, time.split(", ")[0], element("br"), element("small", { textContent: fraction.split(",")[0] })));
  }));
}

/** How far the run is, in words; aloud at each tenth. */
function tell() {
  if (!run.summary) {
    if (run.now) say("progress-text", run.now);
    return;
  }
  const { planned, measured, left_out: leftOut, rejected } = run.summary;
  const done = measured + leftOut + rejected;
  run.doneBefore ??= done;
  const [since, newly] = [(performance.now() - run.began) / 1e3, done - run.doneBefore];
  const left = newly >= 3 && !run.paused ? `, about ${duration((since / newly) * (planned - done))} left` : "";
  byId("bar").max = planned;
  byId("bar").value = done;
  const state = run.paused ? "Paused." : run.now ?? "";
  say("progress-text", `${done} of ${planned} cases${rejected ? `, ${rejected} of them rejected` : ""}${left}. ${state}`);
  document.title = `${done} of ${planned} · supernode-bench`;
  const tenth = Math.floor((10 * done) / planned);
  if (tenth !== run.tenth) {
    run.tenth = tenth;
    say("status", `${done} of ${planned} cases are done${left}.`);
  }
}

/** Says what is kept of an earlier run, or shows it where it is complete. */
async function offerKept() {
  run.kept = await store.load();
  if (!run.kept) return;
  let summary;
  try {
    summary = JSON.parse(await ask("read_record", run.kept.journal, "the kept run"));
  } catch {
    // It stays: another version of the page may read it, and a new run takes its place.
    return;
  }
  finished(run.kept.journal, summary.complete);
  if (summary.complete || isRunning()) return;
  const done = summary.measured + summary.left_out + summary.rejected;
  say("kept-text", `A run on ${summary.device} is kept here, with ${done} of ${summary.planned} cases done.`);
  byId("go-on").disabled = !run.canMeasure;
  byId("kept").hidden = false;
}

/** One case of the verification suite is done. */
function checked({ problem, cases }) {
  run.checked += 1;
  run.wrong += problem ? 1 : 0;
  byId("verify-text").textContent = `${run.checked} of ${cases} kernels are checked, ${run.wrong} of them wrong.`;
}

function allChecked({ right, wrong, left_out: leftOut, failures }) {
  end("");
  const first = wrong > 0 ? ` The first: ${failures[0].id}: ${failures[0].problem}.` : "";
  say("verify-text", `${count(right)} right, ${count(wrong)} wrong, ${count(leftOut)} left out.${first}`);
}

async function verify() {
  if (isRunning()) return;
  if (!(await lock())) {
    say("verify-text", ELSEWHERE);
    return;
  }
  Object.assign(run, { verifying: true, checked: 0, wrong: 0 });
  say("verify-text", "The kernels are checked. This takes some minutes.");
  startWorker({ do: "verify", options: {} });
}

function bind() {
  byId("run").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  byId("run").addEventListener("change", () => say("run-problem", tooLarge(chosen().title, run.bytes[chosen().name])));
  byId("go-on").addEventListener("click", () => start(run.kept.journal));
  byId("start-over").addEventListener("click", async () => {
    await store.forget();
    byId("kept").hidden = true;
    start();
  });
  byId("pause").addEventListener("click", () => {
    run.paused = !run.paused;
    worker.postMessage({ do: run.paused ? "pause" : "resume" });
    say("status", run.paused ? "The run pauses after the current step." : "The run goes on.");
    tell();
    buttons();
  });
  byId("stop").addEventListener("click", () => {
    run.stopping = true;
    byId("stop").disabled = byId("pause").disabled = true;
    worker.postMessage({ do: "interrupt" });
    say("status", "The run stops after the current step.");
  });
  byId("verify").addEventListener("click", verify);
  document.addEventListener("visibilitychange", () => {
    if (!isRunning() || run.verifying) return;
    if (document.hidden) run.wasHidden = true;
    else if (run.wasHidden) {
      run.wasHidden = false;
      say("attention", "The tab was in the background, where browsers slow it down. Leave it in front until the run ends.");
      stayAwake();
    }
  });
  // A reload loses the case that runs, and nothing else; the browser asks first.
  addEventListener("beforeunload", (event) => {
    if (isRunning()) event.preventDefault();
  });
}

/** Looks at the device and at what is kept. `whenFinished` gets each record that a run leaves behind. */
export async function setUp(whenFinished) {
  finished = whenFinished;
  run = { bytes: {} };
  bind();
  const { adapter, obstacle, notes, facts } = await look();
  run.canMeasure = obstacle === undefined;
  choices(adapter);
  addBounds().catch(() => {});
  list("obstacles", obstacle ? [obstacle, ...notes] : notes);
  byId("device").replaceChildren(...facts.map(([name, value]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
  buttons();
  await offerKept();
}
