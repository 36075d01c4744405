// Opens the pages that tests/browser.rs wrote and checks them as a reader would meet them.
// Usage: node check.mjs EXPECTED.json CHROMIUM; EXPECTED names the pages and says what must be on them.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const [, , file, executablePath] = process.argv;
const expected = JSON.parse(readFileSync(file, "utf8"));
const folder = dirname(file);
const failures = [];
const check = (is, words) => {
  if (!is) failures.push(words);
};

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });

/** A page that notes whatever it complains about or asks for. */
async function open(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, bypassCSP: false, acceptDownloads: true, ...options });
  const page = await context.newPage();
  const url = pathToFileURL(join(folder, name)).href;
  page.on("console", (message) => check(!["error", "warning"].includes(message.type()), `${name}: console: ${message.text()}`));
  page.on("pageerror", (error) => check(false, `${name}: ${error.message}`));
  page.on("dialog", (dialog) => {
    check(false, `${name}: a dialog opened: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => check(request.url() === url || request.url().startsWith("blob:"), `${name}: asked for ${request.url()}`));
  await page.goto(url);
  await page.waitForFunction(() => document.documentElement.dataset.drawn === "all");
  return page;
}

const marks = (page, chart, index, layer) =>
  page.locator(`.chart[data-chart="${chart}"][data-index="${index}"] [data-layer="${layer}"] > *`).count();

/** Sets a slider as a hand would. */
async function slide(page, name, value) {
  await page.locator(`#what-if-${name}`).evaluate((input, value) => {
    input.value = String(value);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }, value);
}

async function charts(name, { chart_marks }) {
  const page = await open(name);
  for (const { chart, index, layer, count } of chart_marks) {
    const found = await marks(page, chart, index, layer);
    check(found === count, `${name}: ${chart} ${index} has ${found} of ${count} ${layer} marks`);
  }
  check((await page.getByText("could not be drawn").count()) === 0, `${name}: a chart was not drawn`);
  check((await page.locator(".chart:empty").count()) === 0, `${name}: a chart is empty`);
  await page.context().close();
}

/** The contents stay in view, and what is closed is no higher than three screens a section. */
async function layout(name) {
  const page = await open(name);
  for (const { id, height } of await page.locator("section").evaluateAll((all) => all.map((one) => ({ id: one.id, height: one.offsetHeight })))) {
    check(height <= 3 * 900, `${name}: section ${id} is ${height} pixels high before anything is opened`);
  }
  check((await page.locator("section").first().getAttribute("id")) === "headline", `${name}: the headline is not first`);
  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  const top = await page.locator("nav.contents").evaluate((nav) => nav.getBoundingClientRect().top);
  check(top === 0, `${name}: the contents are at ${top} pixels after scrolling`);
  await openAll(page);
  const narrow = await page.locator(".chart svg").evaluateAll((all) => all.filter((svg) => svg.getBoundingClientRect().width < 300).length);
  check(narrow === 0, `${name}: ${narrow} charts do not fill their place once opened`);
  await page.context().close();
}

async function openAll(page) {
  await page.locator("details").evaluateAll((all) => all.forEach((one) => (one.open = true)));
  await page.waitForTimeout(200);
}

/** Without scripts sections open all the same, and on paper everything is there. */
async function withoutScripts(name) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(pathToFileURL(join(folder, name)).href);
  const table = page.locator("details.part table").first();
  check(!(await table.isVisible()), `${name}: a table shows before its part is opened`);
  await page.locator("details.part", { has: page.locator("table") }).first().locator("summary").first().click();
  check(await table.isVisible(), `${name}: a table does not show after its part was opened`);
  await page.reload();
  await page.emulateMedia({ media: "print" });
  check(await page.locator("details.part table").first().isVisible(), `${name}: a table is missing on paper`);
  await context.close();
}

/** The sliders against the model: on the grid within 2 %, and exact where the model itself lies in the page. */
async function whatIfs(name, points, { most, by }) {
  const page = await open(name);
  if (by === "model") await page.waitForFunction(() => document.querySelector("#what-if").dataset.by === "model");
  check((await page.locator("#what-if-by").textContent()).includes(by === "model" ? "the model itself" : "interpolates"), `${name}: it does not say what answers`);
  let worst = 0;
  for (const { bandwidth_log10, latency_log10, chips_index, batch_index, tokens_per_s_per_chip: model } of points) {
    await slide(page, "bandwidth", bandwidth_log10);
    await slide(page, "latency", latency_log10);
    await slide(page, "chips", chips_index);
    await slide(page, "batch", batch_index);
    const shown = await page.locator("#what-if").evaluate((panel) => panel.dataset.rate);
    const words = (await page.locator("#what-if-rate").textContent()).replaceAll(",", "");
    if (model === null) {
      check(shown === "" && words === "does not fit", `${name}: ${shown} where no plan fits`);
      continue;
    }
    const off = Math.abs(Number(shown) / model - 1);
    worst = Math.max(worst, off);
    check(off < most, `${name}: the page says ${shown}, the model ${model}`);
    check(Math.abs(Number(words) / model - 1) < 0.03, `${name}: the words say ${words}, the model ${model}`);
  }
  const before = await page.locator("#what-if-rate").textContent();
  await page.locator("#what-if button[type=reset]").click();
  await page.waitForTimeout(50);
  check((await page.locator("#what-if-bandwidth").inputValue()) === "0", `${name}: the reset left the slider`);
  // The keyboard moves a slider, and the figure with it.
  await page.locator("#what-if-batch").focus();
  const start = await page.locator("#what-if-rate").textContent();
  await page.keyboard.press("ArrowLeft");
  const moved = await page.locator("#what-if-rate").textContent();
  check(start !== moved, `${name}: an arrow key changed nothing (${before}, ${start}, ${moved})`);
  console.log(`what-ifs by the ${by}: ${points.length} points, at most ${(worst * 100).toPrecision(2)} % off the model`);
  await page.context().close();
}

/** Width, colour scheme, accessibility; a picture of each where SCREENSHOTS names a folder. */
async function looks(name) {
  for (const [label, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
    ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 } }],
  ]) {
    const page = await open(name, options);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    check(wide <= 0, `${name}, ${label}: ${wide} pixels wider than the window`);
    const { violations } = await page.evaluate(`${AXE}; axe.run({ resultTypes: ["violations"] })`);
    for (const { id, help, nodes } of violations) check(false, `${name}, ${label}: ${id}: ${help}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${label}.png`), fullPage: true });
    await openAll(page);
    const opened = await page.evaluate(`axe.run({ resultTypes: ["violations"] })`);
    for (const { id, help, nodes } of opened.violations) check(false, `${name}, ${label}, opened: ${id}: ${help}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    check(wider <= 0, `${name}, ${label}, opened: ${wider} pixels wider than the window`);
    await page.context().close();
  }
}

async function hovers(name) {
  const page = await open(name);
  const mark = page.locator('.chart[data-chart="roofline"] [data-layer="dot"] > *').first();
  await mark.scrollIntoViewIfNeeded();
  await mark.hover({ force: true });
  await page.waitForTimeout(100);
  const tip = await page.locator('.chart[data-chart="roofline"]').first().textContent();
  check(/of the roofline/.test(tip ?? ""), `${name}: hovering a mark says ${tip}`);
  await page.context().close();
}

async function downloads(name, records) {
  const page = await open(name);
  for (const [index, record] of records.entries()) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator(`[data-download="${index}"]`).click()]);
    const saved = JSON.parse(readFileSync(await download.path(), "utf8"));
    check(JSON.stringify(saved) === JSON.stringify(JSON.parse(readFileSync(join(folder, record), "utf8"))), `${name}: record ${index} came back changed`);
    check(/^[a-z0-9-]+\.json$/.test(download.suggestedFilename()), `${name}: saved as ${download.suggestedFilename()}`);
  }
  await page.context().close();
}

/** The adapter's name is shown as text, and nothing of it runs. */
async function hostile(name, text) {
  const page = await open(name);
  check((await page.locator("h1").textContent()).includes(text), `${name}: the name is not shown as it is`);
  check((await page.evaluate(() => window.owned)) === undefined, `${name}: a record's text ran`);
  check((await page.locator("script:not([type]), img, iframe").count()) === 2, `${name}: an element came out of a record`);
  await page.context().close();
}

async function speed(name) {
  const times = [];
  for (let i = 0; i < 3; i += 1) {
    const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
    const page = await context.newPage();
    await page.goto(pathToFileURL(join(folder, name)).href);
    times.push(await page.evaluate(() => performance.getEntriesByType("navigation")[0].domInteractive));
    await context.close();
  }
  console.log(`interactive after ${times.map((time) => Math.round(time)).join(", ")} ms`);
}

await charts("page.html", expected);
await layout("page.html");
await withoutScripts("page.html");
await whatIfs("page.html", expected.what_ifs, { most: 0.02, by: "grid" });
if (expected.has_model) {
  await whatIfs("model.html", expected.what_ifs, { most: 1e-9, by: "model" });
  await charts("model.html", expected);
}
await hovers("page.html");
await downloads("page.html", expected.records);
await looks("page.html");
await hostile("hostile.html", expected.hostile_name);
await charts("extreme.html", { chart_marks: [] });
await speed("page.html");
await browser.close();
for (const failure of failures) console.error(`FAILED ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);
