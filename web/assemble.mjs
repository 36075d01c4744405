// Puts the files of the page that are no module of Rust into a folder that has those: node assemble.mjs FOLDER
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const web = dirname(fileURLToPath(import.meta.url));
const root = dirname(web);
const out = process.argv[2];
if (!out) throw new Error("usage: node assemble.mjs FOLDER");
const read = (...path) => readFileSync(join(...path), "utf8");
const write = (name, text) => writeFileSync(join(out, name), text);

/** The source expression that lets Observable Plot style its charts, and nothing else: the hash of its style element. */
function plotStyle(plot) {
  const [, style, variable] = /\.append\("style"\)\.text\(`(:where\(\.\$\{(\w+)\}\) \{\s+--plot-background[^`]*)`\)/.exec(plot) ?? [];
  const [, className] = /return"(plot-[0-9a-f]+)"/.exec(plot) ?? [];
  if (!style || !className) throw new Error("plot.js: its style was not found; look for `--plot-background` in the new version");
  const text = style.replaceAll(`\${${variable}}`, className);
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** The module that reads records, in node: what the page lists of the project's records is made here, once. */
async function loadReader() {
  if (!existsSync(join(out, "reader.js"))) throw new Error(`${out} has no reader.js: build the module reader, too`);
  const loader = Buffer.from(read(out, "reader.js")).toString("base64");
  const reader = await import(`data:text/javascript;base64,${loader}`);
  reader.initSync({ module: readFileSync(join(out, "reader_bg.wasm")) });
  return reader;
}

mkdirSync(out, { recursive: true });
const report = join(root, "src/report/page");
const plot = read(report, "vendor/plot.js");
write("plot.js", plot);
write("charts.js", read(report, "page.js"));
write("style.css", read(report, "page.css") + read(web, "page/app.css"));
write("index.html", read(web, "page/index.html").replace("PLOT_STYLE", plotStyle(plot)));
// For `supernode report`, and for hosts that send what is compressed already.
writeFileSync(join(out, "model_bg.wasm.gz"), gzipSync(readFileSync(join(out, "model_bg.wasm")), { level: 9 }));
const reader = await loadReader();
mkdirSync(join(out, "records"), { recursive: true });
const results = readdirSync(join(root, "results")).filter((name) => name.endsWith(".json")).sort();
for (const name of results) copyFileSync(join(root, "results", name), join(out, "records", name));
write("records.json", JSON.stringify(results.map((name) => ({ name, summary: JSON.parse(reader.read_record(read(root, "results", name), name)) }))));
for (const name of readdirSync(join(web, "page")).filter((name) => name.endsWith(".js"))) copyFileSync(join(web, "page", name), join(out, name));
