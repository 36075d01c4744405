// The same service on other systems: a table that is computed row by row while it is open.
import { ask } from "./ask.js";
import { byId, element } from "./dom.js";

let asked;
let computed;

/** The question on another system, as it is published, at its own load, with its plan searched. */
function on({ chip, fabric, chips }, { chip: _measured, ...request }) {
  const { concurrency: _clients, request_rate: _rate, ...workload } = request.question.workload;
  return { ...request, bandwidth_factor: 1, latency_factor: 1, question: { ...request.question, chip, fabric, chips, workload, plan: { mode: request.question.plan.mode } } };
}

function cells({ words, infeasible }) {
  if (!words) return [element("td", { className: "words", textContent: infeasible })];
  const figure = ({ value, note }) => element("td", { className: "figure" }, value, element("br"), element("small", { textContent: note }));
  return words.figures.map(figure);
}

/** The table of those that are computed so far. */
function table(rows) {
  const names = rows.find(({ answer }) => answer.words)?.answer.words.figures.map(({ name }) => name) ?? [];
  const head = ["system", ...names].map((textContent, i) => element("th", { scope: "col", className: i > 0 ? "figure" : "", textContent }));
  const body = rows.map(({ system, answer }) => {
    const all = cells(answer);
    if (!answer.words) all[0].colSpan = Math.max(names.length, 1);
    const name = element("th", { scope: "row" }, system.name, element("br"), element("small", { textContent: `${system.chips} chips` }));
    return element("tr", {}, name, ...all);
  });
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

/** Computes the table of a question where it is open. A newer question ends it. */
export async function update(request, systems) {
  asked = { request, systems };
  if (!byId("service").open) return;
  const mine = asked;
  const key = JSON.stringify(systems.map((system) => on(system, request)));
  if (computed === key) return;
  computed = key;
  const rows = [];
  for (const system of systems) {
    let answer;
    try {
      answer = JSON.parse(await ask("service", JSON.stringify(on(system, request))));
    } catch (error) {
      answer = { infeasible: error.message };
    }
    if (mine !== asked) {
      if (computed === key) computed = undefined;
      return;
    }
    rows.push({ system, answer });
    byId("service-table").replaceChildren(table(rows));
  }
}

/** Computes it when it is opened. */
export function setUp() {
  byId("service").addEventListener("toggle", () => asked && update(asked.request, asked.systems));
}
