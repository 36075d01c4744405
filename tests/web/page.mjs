// Drives the page in headless Chromium, with the real model and a played device, and compares it with the native program.
// Usage: node page.mjs FOLDER CHROMIUM SUPERNODE [PART ...]; SCREENSHOTS=FOLDER leaves pictures there,
// RECORD=FILE the record of the real run.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { launch, native, same, serve } from "./browser.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const require = createRequire(join(root, "tests/browser/package.json"));
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [, , folder, executablePath, supernode, ...parts] = process.argv;
const RECORD = join(root, "results/google-swiftshader-device-subzero-vulkan.json");
const OTHER = join(root, "results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
const HOSTILE = "<img src=x onerror=\"window.owned=1\"><script>window.owned=2</script>";
const failures = [];
const check = (is, words) => {
  if (!is) failures.push(words);
};

const desk = mkdtempSync(join(tmpdir(), "page-"));
const write = (name, text) => {
  writeFileSync(join(desk, name), text);
  return join(desk, name);
};
const fake = (settings) => write("fake.json", JSON.stringify({ pause_ms: 5, ...settings }));
fake({});
const { url: origin, close } = await serve(folder, { "/worker.js": join(here, "fake-worker.js"), "/fake-record.json": RECORD, "/fake.json": join(desk, "fake.json") });
const browser = await launch(executablePath);

/** The page in a window of its own, which notes whatever it complains about or asks for. */
async function open({ path = "/", from = origin, init, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, acceptDownloads: true, permissions: ["clipboard-read", "clipboard-write"], ...options });
  const page = await context.newPage();
  page.on("console", (message) => check(!["error", "warning"].includes(message.type()) || /^Failed to create WebGPU|powerPreference/.test(message.text()), `console: ${message.text()}`));
  page.on("pageerror", (error) => check(false, `page: ${error.message}`));
  context.on("request", (request) => check(request.url().startsWith(`${from}/`) || /^(blob|data):/.test(request.url()), `asked for ${request.url()}`));
  if (init) await page.addInitScript(init);
  await page.goto(from + path);
  return page;
}

const ready = (page) => page.waitForFunction(() => document.querySelector("#answer").getAttribute("aria-busy") === "false" && document.querySelectorAll("#records li").length >= 2);
const text = (page, selector) => page.locator(selector).textContent();
const asks = (page, call, ...args) => page.evaluate(async ([call, args]) => {
  const { ask } = await import("./ask.js");
  try {
    return { answer: await ask(call, ...args) };
  } catch (error) {
    return { error: error.message };
  }
}, [call, args]);

/** Fifty questions about one step, over all models, phases, fabrics and chips. */
function questions({ models, phases: all, serving, fabrics, chips }) {
  const phases = all.filter((phase) => phase !== serving);
  return Array.from({ length: 50 }, (_, i) => {
    const fabric = fabrics[i % fabrics.length];
    return {
      model: models[i % models.length], phase: phases[i % phases.length], fabric: fabric.name, chip: chips[i % chips.length].name,
      baseline: fabrics[(i * 5 + 2) % fabrics.length].name, chips: Math.min([384, 64, 128, 256][i % 4], fabric.max_chips),
    };
  });
}

/** Questions about serving, as flags of the program: every mode and framework, each kind of load, and some without an answer. */
const SERVED = [
  { model: "qwen3-235b-a22b", chip: "h200", fabric: "hgx-400g", chips: 16, "prompt-len": 4000, "output-len": 512, concurrency: 256 },
  { model: "deepseek-v3", chip: "ascend-910c", fabric: "cloudmatrix384", chips: 384, "prompt-len": 2000, "output-len": 1000, concurrency: 8192, "tpot-limit-ms": 100 },
  { model: "llama-3.1-70b", chip: "h100", fabric: "hgx-400g", chips: 8, "prompt-len": 1000, "output-len": 250, "request-rate": 2, "ttft-limit-ms": 2000, framework: "vllm" },
  { model: "deepseek-v3", chip: "gb200", fabric: "nvl72", chips: 72, "prompt-len": 2000, "output-len": 1000, mode: "aggregated", "price-per-kwh": 0.1 },
  { model: "qwen3-235b-a22b", chip: "h200", fabric: "hgx-400g", chips: 16, "prompt-len": 4000, "output-len": 512, concurrency: 256, mode: "disaggregated", framework: "sglang" },
  { model: "deepseek-v3", chip: "ascend-910c", fabric: "cloudmatrix384", chips: 48, "prompt-len": 1000, "output-len": 2000, concurrency: 1024, mode: "attention-ffn" },
  { model: "gpt-oss-120b", chip: "mi355x", fabric: "xgmi8", chips: 8, "prompt-len": 500, "output-len": 500, concurrency: 64, framework: "trtllm", "price-per-chip-hour": 2.5, "price-per-kwh": 0.08 },
  { model: "qwen3-32b", chip: "b300", fabric: "hgx-800g", chips: 16, "prompt-len": 8000, "output-len": 300, "request-rate": 8, "prefix-cache": 0.5, "length-spread": 0.5, type: "nvfp4" },
  { model: "qwen3-235b-a22b", chip: "b200", fabric: "hgx-400g", chips: 16, "prompt-len": 3000, "output-len": 400, "request-rate": 5, mode: "disaggregated", "prefill-workers": 1, "prefill-tp": 8, "prefill-dp": 1, "decode-workers": 1, "decode-tp": 2, "decode-dp": 4 },
  { model: "mixtral-8x7b", chip: "h100", fabric: "h100-ib", chips: 32, "prompt-len": 2000, "output-len": 128, concurrency: 512, tp: 2, pp: 1, ep: 8 },
  { model: "mixtral-8x7b", chip: "b200", fabric: "hgx-400g", chips: 8, "prompt-len": 2000, "output-len": 500, "request-rate": 1e5 },
  { model: "llama-3.1-405b", chip: "h100", fabric: "hgx-400g", chips: 2, "prompt-len": 2000, "output-len": 500, concurrency: 8 },
];

/** The page's request for flags of the program. */
function asRequest(flags) {
  const request = { question: { phase: "serving", workload: {}, plan: {} } };
  const { workload, plan } = request.question;
  for (const [flag, value] of Object.entries(flags)) {
    const key = flag.replaceAll("-", "_");
    if (/^price/.test(key)) request[key] = value;
    else if (/_len$|_limit_ms$|concurrency|request_rate|spread|cache/.test(key)) workload[key] = value;
    else if (/^(mode|tp|pp|ep|prefill_.*|decode_.*)$/.test(key)) plan[key] = value;
    else request.question[key] = value;
  }
  return request;
}

/** Every visitor loads the model; only those with a record load the reader. */
async function sizes() {
  const bytes = (name) => gzipSync(readFileSync(join(folder, name)), { level: 9 }).length;
  console.log(`sizes: model ${bytes("model_bg.wasm")}, reader ${bytes("reader_bg.wasm")} bytes gzipped`);
  check(bytes("model_bg.wasm") < 350_000, "the model has 350 kB gzipped or more");
  const asked = [];
  const page = await open();
  page.on("request", (request) => asked.push(request.url()));
  await page.reload();
  await ready(page);
  check(asked.some((url) => url.endsWith("model_bg.wasm")), "the model is not loaded at once");
  check(!asked.some((url) => /reader_bg|records\//.test(url)), "records are loaded before anybody asks for one");
  await page.context().close();
}

/** Whether the page and the program say the same of a question: `equal`, or `without` where neither has a plan. */
function agree(words, { answer, error }, expected) {
  check(!error, `${words}: ${error}`);
  if (error) return undefined;
  const read = JSON.parse(answer);
  if (expected.error) {
    check(read.infeasible && expected.error.includes(read.infeasible), `${words}: the page says ${read.infeasible}, the program ${expected.error}`);
    return "without";
  }
  const is = same(read.answer, expected.answer);
  check(is, `${words}: the page says ${JSON.stringify(read.answer).slice(0, 300)}, the program ${JSON.stringify(expected.answer).slice(0, 300)}`);
  return is ? "equal" : undefined;
}

/** Serving answers as the program does, and its front holds the answer of a searched load. */
async function serving() {
  const page = await open();
  await ready(page);
  const count = { equal: 0, without: 0 };
  for (const flags of SERVED) {
    const began = Date.now();
    const answered = await asks(page, "project", JSON.stringify(asRequest(flags)));
    const took = Date.now() - began;
    const words = JSON.stringify(flags);
    count[agree(words, answered, native(supernode, { phase: "serving", ...flags }))] += 1;
    console.log(`  ${took} ms: ${words}`);
  }
  console.log(`serving: ${count.equal} equal, ${count.without} without a deployment in both`);
  check(count.equal >= 10 && count.without >= 2, "too few questions about serving have an answer, or too many");
  await servingForm(page);
  await page.context().close();
}

/** The form asks about serving, draws the front, and says what a million tokens cost. */
async function servingForm(page) {
  await page.selectOption("#q-phase", "serving");
  for (const [id, value] of [["#q-model", "qwen3-235b-a22b"], ["#q-chip", "h200"], ["#q-fabric", "hgx-400g"], ["#q-load-kind", "concurrency"]]) await page.selectOption(id, value);
  await page.locator("#q-chips").fill("4");
  await settled(page);
  check(await page.locator("#q-batch").isHidden(), "serving has a slider for the batch");
  const chips = await text(page, "#q-chips-value");
  const clients = (await text(page, "#q-load-value")).replaceAll(",", "");
  const asked = { phase: "serving", model: "qwen3-235b-a22b", chip: "h200", fabric: "hgx-400g", chips, "prompt-len": 2000, "output-len": 1000, concurrency: clients, mode: "aggregated" };
  const shown = JSON.parse(await page.locator("#answer").evaluate((one) => one.dataset.answer));
  check(same(shown, native(supernode, asked).answer), `the form shows ${JSON.stringify(shown).slice(0, 200)} of ${JSON.stringify(asked)}`);
  await page.locator("#question details summary").first().click();
  await page.fill("#q-price-chip", "3");
  await settled(page);
  check(Number(await text(page, "#a-cost")) > 0, `a million tokens cost ${await text(page, "#a-cost")}`);
  await page.waitForSelector("#curve svg circle");
  check((await page.locator("#curve svg circle").count()) > 5, "the front has few points");
  await page.locator("#service summary").click();
  await page.waitForFunction(() => document.querySelectorAll("#service-table tbody tr").length === 5);
  const rows = await page.locator("#service-table tbody tr").allTextContents();
  check(/^CloudMatrix384384 chips[0-9]/.test(rows[0]) && /8 nodes of 8 B200/.test(rows[4]), `the same service: ${rows.join(" | ")}`);
  await page.selectOption("#q-load-kind", "request_rate");
  await page.locator("#q-load").fill("14");
  await settled(page);
  check(/unstable above/.test(await text(page, "#answer-problem")), `too many requests: ${await text(page, "#answer-problem")}`);
}

/** Waits until the form's answer is there. */
async function settled(page) {
  await page.waitForTimeout(100);
  await page.waitForFunction(() => document.querySelector("#answer").getAttribute("aria-busy") === "false");
}

async function projections() {
  const page = await open();
  await ready(page);
  const catalogue = JSON.parse((await asks(page, "catalogue")).answer);
  const times = [];
  let [equal, without] = [0, 0];
  for (const question of questions(catalogue)) {
    const began = Date.now();
    const answered = await asks(page, "project", JSON.stringify({ question }));
    times.push({ ms: Date.now() - began, question });
    const outcome = agree(JSON.stringify(question), answered, native(supernode, question));
    if (outcome === "equal") equal += 1;
    if (outcome === "without") without += 1;
  }
  times.sort((a, b) => a.ms - b.ms);
  console.log(`projections: ${equal} equal, ${without} without a plan in both; ${times[25].ms} ms in the median`);
  for (const { ms, question } of times.slice(-3)) console.log(`projections: ${ms} ms for ${JSON.stringify(question)}`);
  check(equal >= 25, `only ${equal} questions had a plan`);
  await formAnswers(page);
  await page.context().close();
}

/** What the form shows is the answer of the program, also for a record's chip and a model of one's own. */
async function formAnswers(page) {
  await page.selectOption("#q-model", "qwen3-30b-a3b");
  await page.selectOption("#q-chip", await page.locator("#q-chip option[value^=record]").first().getAttribute("value"));
  await page.locator("#q-chips").fill("4");
  await settled(page);
  const shown = JSON.parse(await page.locator("#answer").evaluate((one) => one.dataset.answer));
  const chips = await text(page, "#q-chips-value");
  const expected = JSON.parse(execFileSync(supernode, ["project", RECORD, "--model", "qwen3-30b-a3b", "--phase", "decode", "--chips", chips, "--json"], { encoding: "utf8" }));
  check(same(shown, expected), `the form shows ${JSON.stringify(shown).slice(0, 200)}, the program ${JSON.stringify(expected).slice(0, 200)}`);
  const before = Number((await text(page, "#a-rate")).replaceAll(",", ""));
  await page.locator("#q-bandwidth").fill("1");
  await settled(page);
  check(Number((await text(page, "#a-rate")).replaceAll(",", "")) >= before, "ten times the bandwidth is slower");
  check((await page.locator("#curve svg").count()) === 1, "there is no curve");
  await page.locator("#own-model summary").click();
  await page.fill("#config", readFileSync(join(root, "specs/models/mixtral-8x7b.json"), "utf8"));
  await page.click("#use-config");
  await page.waitForFunction(() => /46.7 billion/.test(document.querySelector("#config-text").textContent));
  await settled(page);
  check(/^my-model decode/.test(await text(page, "#answer-title")), `own model: ${await text(page, "#answer-title")}`);
  await page.fill("#config", "{\"model_type\": \"<b>\"}");
  await page.click("#use-config");
  await page.waitForFunction(() => /not supported|missing/.test(document.querySelector("#config-text").textContent));
  await page.locator("#question button[type=reset]").click();
  await settled(page);
}

const dropAll = (page, files) => page.locator("#files").setInputFiles(files);

async function hostileFiles() {
  const page = await open();
  await ready(page);
  const name = JSON.parse(readFileSync(RECORD, "utf8")).device.name;
  const record = readFileSync(RECORD, "utf8").replaceAll(JSON.stringify(name), JSON.stringify(HOSTILE));
  const huge = write("huge.json", "");
  truncateSync(huge, 70 * 2 ** 20);
  const bad = {
    [write("empty.json", "")]: /./, [write("broken.json", "{\"schema_version\": 4,")]: /broken\.json/,
    [write("newer.json", "{\"schema_version\": 99}")]: /newer\.json: has schema version 99/, [write("foreign.json", "{\"a\": 1}")]: /config\.json/,
    [huge]: /64 MiB/, [write("config.json", `{"x": "${"y".repeat(5 * 2 ** 20)}"}`)]: /4 MiB/,
    [write("<img src=x onerror=alert(1)>.json", "{\"schema_version\": \"<b>\"}")]: /onerror/,
  };
  await dropAll(page, Object.keys(bad));
  await page.waitForFunction((count) => document.querySelectorAll("#file-problems li").length === count, Object.keys(bad).length);
  const said = await page.locator("#file-problems li").allTextContents();
  for (const [i, expected] of Object.values(bad).entries()) check(expected.test(said[i]), `file ${i}: ${said[i]}`);
  await dropAll(page, [write("hostile.json", record), OTHER]);
  await page.waitForFunction(() => document.querySelectorAll("#records li").length === 3 && document.querySelector("#comparison table"));
  check((await page.locator("#records").textContent()).includes("<img src=x"), "a hostile name is not shown as it is");
  await page.locator("#records li", { hasText: "<img" }).locator("button").click();
  await page.waitForSelector("#record-sections section");
  await page.waitForTimeout(300);
  check((await page.evaluate(() => window.owned)) === undefined, "a record's text ran");
  check((await page.locator("main img, main script, main iframe").count()) === 0, "an element came out of a record");
  await page.context().close();
}

async function compares() {
  const page = await open();
  await ready(page);
  for (const box of await page.locator("#records input").all()) await box.check();
  await page.waitForSelector("#comparison table");
  const html = execFileSync(supernode, ["compare", RECORD, OTHER, "--format", "html"], { encoding: "utf8" }).replace(/<style>.*?<\/style>/s, "");
  const [shown, expected] = await page.evaluate((html) => {
    const main = new DOMParser().parseFromString(html, "text/html").querySelector("main");
    return [document.querySelector("#comparison").textContent, main.textContent];
  }, html);
  // The program names files by their paths.
  check(shown.length > 2000 && shown === expected.replaceAll(dirname(RECORD) + "/", ""), "the comparison is not the program's");
  await page.context().close();
}

/** A run with a reload in the middle, a lost device, a stop, and all that can be saved of it. */
async function runs() {
  fake({ lost_after: 10 });
  const page = await open();
  await ready(page);
  await page.click("#start");
  await page.waitForFunction(() => /lost/.test(document.querySelector("#run-problem").textContent));
  check(/Go on/.test(await text(page, "#run-problem")), `lost device: ${await text(page, "#run-problem")}`);
  await page.waitForSelector("#kept:not([hidden])");
  fake({ pause_ms: 60 });
  await page.click("#go-on");
  await page.waitForFunction(() => Number(document.querySelector("#bar").value) >= 14);
  check((await page.locator("#live [data-layer=dot] > *").count()) >= 5, "the roofline does not fill in");
  check((await page.locator("#latest li").count()) >= 3, "the latest cases are not listed");
  await page.click("#pause");
  await page.waitForTimeout(200);
  const held = await page.locator("#bar").evaluate((bar) => bar.value);
  await page.waitForTimeout(400);
  check(held === (await page.locator("#bar").evaluate((bar) => bar.value)), "a paused run goes on");
  await page.click("#pause");
  await page.waitForFunction((held) => document.querySelector("#bar").value > held, held);
  page.on("dialog", (dialog) => dialog.accept());
  await page.reload();
  await page.waitForSelector("#kept:not([hidden])");
  const kept = Number(/with (\d+) of/.exec(await text(page, "#kept-text"))?.[1]);
  check(kept >= held, `after a reload ${kept} of ${held} cases are kept`);
  await page.click("#go-on");
  await page.waitForFunction((kept) => document.querySelector("#bar").value > kept, kept);
  await page.click("#stop");
  await page.waitForSelector("#kept:not([hidden])");
  check(/stopped/.test(await text(page, "#status")), `stop: ${await text(page, "#status")}`);
  fake({ pause_ms: 0 });
  await page.click("#go-on");
  await page.waitForFunction(() => /complete/.test(document.querySelector("#status").textContent));
  await page.waitForSelector("#record-sections section");
  await saves(page);
  await shares(page);
  await page.reload();
  await page.waitForSelector("#record-sections section");
  await page.context().close();
}

async function saves(page) {
  const saved = async (kind) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(`[data-save=${kind}]`)]);
    check(new RegExp(`^[a-z0-9-]+\\.${kind}$`).test(download.suggestedFilename()), `saved as ${download.suggestedFilename()}`);
    return readFileSync(await download.path(), "utf8");
  };
  check((await saved("json")) === readFileSync(RECORD, "utf8"), "the record came back changed");
  const csv = execFileSync(supernode, ["export", RECORD, "--format", "csv"], { encoding: "utf8" });
  check((await saved("csv")).split("\n").length === csv.split("\n").length, "the CSV has other lines than the program's");
  const html = await saved("html");
  check(html.includes("id=\"projections\"") && html.includes("id=\"record-0\""), "the report lacks a section");
  await answersItself(html);
}

/** The report that was saved has the model in it, which answers its sliders, from a file and without a request. */
async function answersItself(html) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => check(false, `saved report: ${error.message}`));
  context.on("request", (request) => check(/^(file|blob|data):/.test(request.url()), `the saved report asked for ${request.url()}`));
  await page.goto(pathToFileURL(write("report.html", html)).href);
  await page.waitForFunction(() => document.querySelector("#what-if")?.dataset.by === "model");
  const rate = async () => Number((await text(page, "#what-if-rate")).replaceAll(",", ""));
  const before = await rate();
  await page.locator("#what-if-bandwidth").fill("1");
  await page.waitForTimeout(300);
  check(before > 0 && (await rate()) >= before, `the saved report says ${before}, and ${await rate()} with ten times the bandwidth`);
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, "saved-report.png") });
  await context.close();
}

async function shares(page) {
  await page.click("#share");
  await page.waitForFunction(() => document.querySelector("#share-text").textContent !== "");
  const link = await page.evaluate(() => navigator.clipboard.readText());
  check(link.startsWith(`${origin}/#shared=`), `shared: ${link}`);
  for (const [hash, expected] of [[new URL(link).hash, "cases verified and timed"], [`#shared=${encodeURIComponent(HOSTILE)}`, HOSTILE], ["#shared=%E0%A4%A", ""], [`#shared=${"x".repeat(5000)}`, "xxx"]]) {
    const other = await open({ path: `/${hash}` });
    const shown = (await text(other, "#shared-text")) ?? "";
    check(expected === "" ? shown === "" : shown.includes(expected), `${hash.slice(0, 80)} shows ${shown}`);
    check(shown.length <= 401, "a long text is shown whole");
    check((await other.evaluate(() => window.owned)) === undefined, "a link's text ran");
    await other.context().close();
  }
}

/** Browsers that lack something: a sentence that says what to do, and the rest works. */
async function lacking() {
  const cases = [
    ["no WebGPU", () => Object.defineProperty(navigator, "gpu", { value: undefined }), "#obstacles", /no WebGPU\. Take/],
    ["no adapter", () => Object.defineProperty(navigator, "gpu", { value: { requestAdapter: async () => null } }), "#obstacles", /hardware acceleration/],
    ["no JSPI", () => delete WebAssembly.Suspending, "#obstacles", /JSPI.*Chrome or Edge/],
  ];
  for (const [name, init, place, expected] of cases) {
    const page = await open({ init });
    await ready(page);
    check(expected.test(await text(page, place)), `${name}: ${await text(page, place)}`);
    check(await page.locator("#start").isDisabled(), `${name}: the button can be pressed`);
    check((await text(page, "#a-rate")) !== "-", `${name}: nothing is projected`);
    await page.context().close();
  }
  fake({ pause_ms: 20 });
  const page = await open({ init: () => Object.defineProperty(indexedDB, "open", { value: () => { throw new DOMException("no", "SecurityError"); } }) });
  await ready(page);
  await page.click("#start");
  await page.waitForSelector("#attention:not([hidden])");
  check(/reload loses it/.test(await text(page, "#attention")), `storage: ${await text(page, "#attention")}`);
  await page.waitForFunction(() => /complete/.test(document.querySelector("#status").textContent));
  await page.click("#verification summary");
  await page.click("#verify");
  await page.waitForFunction(() => /3 right, 0 wrong/.test(document.querySelector("#verify-text").textContent));
  await page.context().close();
}

/** What goes wrong during a run: a sentence that says what to do, and what was finished is kept. */
async function troubles() {
  const refusing = () => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("no room", "QuotaExceededError");
    };
  };
  const poor = () => Object.defineProperty(navigator, "deviceMemory", { value: 0.5 });
  fake({ pause_ms: 5, fails_with: "memory allocation of 536870912 bytes failed" });
  const page = await open({ init: poor });
  await ready(page);
  await page.waitForSelector("text=up to 6 minutes and 4 GB");
  await page.check("[value=desktop]");
  check(/takes up to 4 GB\. Choose a smaller one/.test(await text(page, "#run-problem")), `little memory: ${await text(page, "#run-problem")}`);
  await page.click("#start");
  await page.waitForFunction(() => /choose a smaller preset\. What was finished is kept: press Go on/.test(document.querySelector("#run-problem").textContent));
  await page.waitForSelector("#kept:not([hidden])");
  fake({ pause_ms: 400, stood_still: 7 });
  await page.click("#start-over");
  await page.waitForFunction(() => /stood still for 7 s/.test(document.querySelector("#attention").textContent));
  const other = await page.context().newPage();
  await other.goto(origin);
  await ready(other);
  await other.click("#start");
  await other.waitForFunction(() => /another tab.*Wait for its end/.test(document.querySelector("#run-problem").textContent));
  await other.close();
  await page.evaluate(() => {
    for (const hidden of [true, false]) {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }
  });
  check(/in the background.*Leave it in front/.test(await text(page, "#attention")), `background: ${await text(page, "#attention")}`);
  await page.context().close();
  fake({ pause_ms: 20 });
  const full = await open({ init: refusing });
  await ready(full);
  await full.click("#start");
  await full.waitForFunction(() => /storage is full.*save the record/.test(document.querySelector("#attention").textContent));
  await full.waitForFunction(() => /complete/.test(document.querySelector("#status").textContent));
  await full.context().close();
}

/** Width, colour schemes, accessibility, and how soon something is seen; pictures where SCREENSHOTS names a folder. */
async function looks() {
  fake({ pause_ms: 0 });
  for (const [label, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
    ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
  ]) {
    const page = await open(options);
    await ready(page);
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    console.log(`${label}: first paint after ${Math.round(paint)} ms`);
    check(paint < 1000, `${label}: first paint after ${paint} ms`);
    await shot(page, `${label}-start`);
    await page.click("#start");
    await page.waitForSelector("#record-sections section");
    for (const box of await page.locator("#records input").all()) await box.check();
    await page.waitForSelector("#comparison table");
    await page.locator("details").evaluateAll((all) => all.filter((one) => !one.closest("#record-sections, #comparison, #answer-sections")).forEach((one) => (one.open = true)));
    await page.waitForTimeout(800);
    await shot(page, `${label}-done`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    check(wide <= 0, `${label}: ${wide} pixels wider than the window`);
    const { violations } = await page.evaluate(`${AXE}; axe.run({ resultTypes: ["violations"] })`);
    for (const { id, help, nodes } of violations) check(false, `${label}: ${id}: ${help}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
    await servingLooks(page, label);
    await page.context().close();
  }
}

/** The same of the section about serving, with everything in it open. */
async function servingLooks(page, label) {
  await page.selectOption("#q-phase", "serving");
  await page.selectOption("#q-load-kind", "concurrency");
  await page.fill("#q-price-chip", "2");
  await page.fill("#q-price-kwh", "0.08");
  await settled(page);
  await page.locator("#project details").evaluateAll((all) => all.forEach((one) => (one.open = true)));
  await page.waitForFunction(() => document.querySelectorAll("#service-table tbody tr").length === 5);
  await page.waitForSelector("#curve svg circle");
  if (process.env.SCREENSHOTS) await page.locator("#project").screenshot({ path: join(process.env.SCREENSHOTS, `${label}-serving.png`) });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  check(wide <= 0, `${label}, serving: ${wide} pixels wider than the window`);
  const { violations } = await page.evaluate(`axe.run("#project", { resultTypes: ["violations"] })`);
  for (const { id, help, nodes } of violations) check(false, `${label}, serving: ${id}: ${help}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
}

/** The real thing: a whole run of the preset `phone`, with a reload in the middle. Its record goes to RECORD, where that is named. */
async function measures() {
  if (!existsSync(join(folder, "tool_bg.wasm"))) {
    console.log("measures: NOT RUN, the folder has no module that measures");
    return;
  }
  const server = await serve(folder);
  const page = await open({ from: server.url });
  await ready(page);
  page.on("dialog", (dialog) => dialog.accept());
  await page.click("#start");
  const reached = (share) => page.waitForFunction((share) => {
    const [bar, problem] = [document.querySelector("#bar"), document.querySelector("#run-problem").textContent];
    return problem || bar.value >= share * bar.max || document.querySelector("#status").textContent === "The run is complete.";
  }, share, { timeout: 1_200_000 });
  await reached(0.3);
  await shot(page, "running");
  await page.reload();
  await page.waitForSelector("#kept:not([hidden])");
  console.log(`measures: ${await text(page, "#kept-text")}`);
  await page.click("#go-on");
  await reached(2);
  check((await text(page, "#run-problem")) === "", `a run ended early: ${await text(page, "#run-problem")}`);
  await page.waitForSelector("#record-sections section");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("[data-save=json]")]);
  const record = readFileSync(await download.path(), "utf8");
  const saved = process.env.RECORD ?? join(desk, "measured.json");
  writeFileSync(saved, record);
  execFileSync(supernode, ["schema", "--check", saved]);
  const { cases, planned, device } = JSON.parse(record);
  console.log(`measures: ${cases.length} of ${planned.length} cases on ${device.name}, ${device.backend}`);
  check(cases.length > 0 && device.backend === "browser_webgpu", "the record is not of a browser");
  await page.context().close();
  server.close();
}

async function shot(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
}

const all = { sizes, projections, serving, hostileFiles, compares, runs, lacking, troubles, looks, measures };
for (const [name, part] of Object.entries(all).filter(([name]) => parts.length === 0 || parts.includes(name))) {
  const began = Date.now();
  try {
    await part();
  } catch (error) {
    check(false, `${name}: ${error.message}`);
  }
  console.log(`${name}: ${((Date.now() - began) / 1e3).toFixed(1)} s`);
}
await browser.close();
close();
for (const failure of failures) console.error(`FAILED ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);
