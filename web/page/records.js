// The records at hand: this device's, those of the project, and files of the reader. Shown, compared, saved, shared.
import { ask, askLatest } from "./ask.js";
import { byId, element, fileName, list, save, say, show, tame } from "./dom.js";

const MOST_RECORD_BYTES = 64 * 2 ** 20;
const MOST_CONFIG_BYTES = 4 * 2 ** 20;
const MOST_HEADLINE = 400;
const OWN = "this device";

/** By name: { name, text, summary, chosen }. The text of the project's records is fetched when it is needed. */
const records = new Map();
let shown = [];
let comparisons = 0;
/** Called when the records change, and with a model's config.json that was dropped. */
let changed = () => {};
let configDropped = () => {};

/** All records that a chip can be made of. */
export const all = () => [...records.values()];

/** The name of the record that is shown first. */
export const firstShown = () => shown[0].name;

/** Names and texts, as the reader takes them. */
async function texts(list) {
  const load = async (record) => {
    if (record.text !== undefined) return;
    const response = await fetch(`records/${record.name}`);
    if (!response.ok) throw new Error(`${record.name} could not be loaded: reload the page, or open files of your own`);
    record.text = await response.text();
  };
  await Promise.all(list.map(load));
  return list.map(({ name, text }) => ({ name, text }));
}

/** The chip of a record, for a question to the model. */
export async function chipOf(record) {
  const [{ name, text }] = await texts([record]);
  record.chip ??= JSON.parse(await ask("chip", text, name));
  return record.chip;
}

function describe({ name, summary }) {
  const { device, backend, preset, measured, planned, created_at: date, complete, software } = summary;
  const words = [backend, preset, `${measured} of ${planned} cases`, date.slice(0, 10), software ? "software adapter" : "", complete ? "" : "not complete"];
  return { title: name === OWN ? `${device} (this device)` : device, words: words.filter(Boolean).join(", ") };
}

function row(record) {
  const { title, words } = describe(record);
  const box = element("input", { type: "checkbox", checked: record.chosen });
  box.addEventListener("change", () => {
    record.chosen = box.checked;
    refresh();
  });
  const look = element("button", { type: "button", textContent: "Show" });
  look.setAttribute("aria-label", `Show the record of ${title}`);
  look.addEventListener("click", async () => {
    await showRecords([record]).catch((error) => say("compare-text", error.message));
    byId("results").scrollIntoView();
  });
  return element("li", {}, element("label", {}, box, element("span", { textContent: title }), element("small", { textContent: words })), look);
}

function refresh() {
  byId("records").replaceChildren(...all().map(row));
  const chosen = all().filter((record) => record.chosen);
  const before = byId("base").value;
  byId("base").replaceChildren(...chosen.map((record) => element("option", { value: record.name, textContent: describe(record).title })));
  if (chosen.some(({ name }) => name === before)) byId("base").value = before;
  byId("base-field").hidden = chosen.length < 2;
  compare();
  changed();
}

async function compare() {
  comparisons += 1;
  const mine = comparisons;
  const chosen = all().filter((record) => record.chosen);
  if (chosen.length < 2) {
    show(byId("comparison"), { html: "" }, "compared");
    say("compare-text", "Choose two records or more.");
    return;
  }
  const base = records.get(byId("base").value) ?? chosen[0];
  try {
    const ordered = await texts([base, ...chosen.filter((record) => record !== base)]);
    if (mine !== comparisons) return;
    const html = await askLatest("compare", "compare", JSON.stringify(ordered));
    if (html === undefined || mine !== comparisons) return;
    show(byId("comparison"), { html }, "compared");
    say("compare-text", "Ratios above 1 say that B is faster; A is what is compared with.");
  } catch (error) {
    say("compare-text", error.message);
  }
}

/** The sections of a report about some records. */
async function showRecords(list) {
  const parts = await texts(list);
  shown = list;
  const answer = await askLatest("sections", "record_sections", JSON.stringify(parts));
  if (answer === undefined) return;
  show(byId("record-sections"), JSON.parse(answer), "shown");
  byId("results-none").hidden = true;
  byId("results-some").hidden = false;
  say("share-text", "");
}

async function add(name, text, chosen) {
  const summary = JSON.parse(await ask("read_record", text, name));
  // Another file of the same name stands next to the first; the same file again is no other.
  const before = name === OWN ? undefined : records.get(name);
  const isOther = before && (await texts([before]))[0].text !== text;
  const key = isOther ? `${name}, opened ${records.size}` : name;
  records.set(key, { name: key, text, summary, chosen });
}

/** Shows what a run has left behind. */
export async function addOwn(text) {
  await add(OWN, text, true);
  refresh();
  await showRecords([records.get(OWN)]);
}

/** The records of the project; where they cannot be had, the rest works. */
export async function addEmbedded() {
  try {
    const response = await fetch("records.json");
    for (const { name, summary } of await response.json()) records.set(name, { name, summary, chosen: false });
    refresh();
  } catch {
    say("compare-text", "The project's records could not be loaded. Reload the page, or open files of your own.");
  }
}

/** A file of a stranger: a record, or a model's config.json. Returns a sentence where it is neither. */
async function take(file) {
  const name = tame(file.name, 80);
  if (file.size > MOST_RECORD_BYTES) return `${name} is larger than 64 MiB, which no record is. Choose another file.`;
  let text;
  try {
    text = await file.text();
  } catch {
    return `${name} cannot be read. Choose a file, not a folder.`;
  }
  try {
    if (text.includes('"schema_version"')) {
      await add(name, text, true);
    } else {
      if (text.length > MOST_CONFIG_BYTES) return `${name} is no record, and larger than 4 MiB, which no config.json is.`;
      await ask("describe_model", text, name);
      configDropped(name, text);
    }
    return undefined;
  } catch (error) {
    return error.message;
  }
}

async function takeAll(files) {
  const problems = [];
  for (const file of files) {
    const problem = await take(file);
    if (problem) problems.push(problem);
  }
  list("file-problems", problems);
  refresh();
  if (problems.length > 0) byId("file-problems").scrollIntoView({ block: "center" });
}

function bindFiles() {
  byId("files").addEventListener("change", async (event) => {
    await takeAll(event.target.files);
    event.target.value = "";
  });
  const over = (event, is) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", is);
  };
  addEventListener("dragover", (event) => over(event, true));
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) over(event, false);
  });
  addEventListener("drop", (event) => {
    over(event, false);
    if (event.dataTransfer?.files.length) takeAll([...event.dataTransfer.files]);
  });
}

async function saveAs(kind) {
  const parts = await texts(shown);
  const name = fileName(shown[0].summary.device);
  if (kind === "json") save(`${name}.json`, "application/json", shown[0].text);
  if (kind === "csv") save(`${name}.csv`, "text/csv", await ask("csv", JSON.stringify(parts)));
  if (kind === "html") save(`${name}.html`, "text/html", await ask("report_html", JSON.stringify(parts), await (await fetch("plot.js")).text(), ...(await theModel())));
}

/** The module `model` for a report: its loader, and the module compressed. A browser that cannot compress makes a report without. */
async function theModel() {
  if (!window.CompressionStream) return ["", new Uint8Array()];
  const [loader, module] = await Promise.all(["model.js", "model_bg.wasm"].map((name) => fetch(name)));
  const packed = new Response(module.body.pipeThrough(new CompressionStream("gzip")));
  return [await loader.text(), new Uint8Array(await packed.arrayBuffer())];
}

async function share() {
  const headline = tame(await ask("headline", shown[0].text), MOST_HEADLINE);
  const url = new URL(location.href);
  url.hash = `shared=${encodeURIComponent(headline)}`;
  try {
    await navigator.clipboard.writeText(url.href);
    say("share-text", "The link is copied. It holds only the line of figures, not the record.");
  } catch {
    say("share-text", `Copy this link: ${url.href}`);
  }
}

/** What a link brought along is shown as plain text. */
function showShared() {
  const [, words] = /^#shared=(.*)$/s.exec(location.hash) ?? [];
  let text = "";
  try {
    text = tame(decodeURIComponent(words ?? ""), MOST_HEADLINE).trim();
  } catch {
    text = "";
  }
  say("shared-text", text);
  byId("shared").hidden = text === "";
}

/** Binds the sections. */
export function setUp(whenChanged, whenConfigDropped) {
  changed = whenChanged;
  configDropped = whenConfigDropped;
  bindFiles();
  byId("base").addEventListener("change", compare);
  byId("share").addEventListener("click", () => share().catch((error) => say("share-text", error.message)));
  for (const button of document.querySelectorAll("[data-save]")) {
    button.addEventListener("click", () => {
      button.disabled = true;
      saveAs(button.dataset.save).catch((error) => say("share-text", error.message)).finally(() => (button.disabled = false));
    });
  }
  addEventListener("hashchange", showShared);
  showShared();
}
