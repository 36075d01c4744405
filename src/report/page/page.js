// Draws the charts of the page and answers its sliders. Everything comes from the JSON in the page; texts only ever
// become text nodes. Colours are names of the style sheet, so that they follow light and dark.
"use strict";

/**
 * Draws the charts below a root from the figures that Rust wrote. Calls `whenDrawn` once all are drawn. Returns a function that
 * stops watching the root: call it before what is below it is replaced.
 */
function drawCharts(root, data, whenDrawn = () => {}) {
  const FAMILY = { gating: "var(--gating)", expert_matmul: "var(--expert)", attention: "var(--attention)", layer: "var(--launch)" };
  const SYMBOL = { gating: "circle", expert_matmul: "square", attention: "triangle", layer: "diamond" };
  const TERM = {
    attention: "var(--attention)", expert_matmul: "var(--expert)", gating: "var(--gating)", dense: "var(--dense)",
    dispatch: "var(--dispatch)", combine: "var(--combine)", other_collectives: "var(--other)", bubble: "var(--bubble)",
    launch: "var(--launch)",
  };
  const DEVICE = ["var(--expert)", "var(--dispatch)", "var(--attention)", "var(--gating)", "var(--other)", "var(--launch)"];
  const MOST_BARS = 150;
  const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "u"], [1e-9, "n"]];

  const isPositive = (value) => Number.isFinite(value) && value > 0;
  const colour = (channel) => ({ value: channel, scale: null });
  const compact = (width) => width < 560;

  /** Three digits and a prefix: `1.52 T`. */
  function si(value, unit) {
    if (!Number.isFinite(value)) return "-";
    const [factor, prefix] = PREFIXES.find(([factor]) => Math.abs(value) >= factor) ?? [1e-9, "n"];
    const scaled = value === 0 ? 0 : value / factor;
    const text = Math.abs(scaled) >= 1000 ? scaled.toPrecision(3) : String(Number(scaled.toPrecision(3)));
    return `${text} ${value === 0 ? "" : prefix}${unit}`;
  }
  const percent = (value) => `${Math.round(value * 100)} %`;
  const count = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: Math.max(3, String(Math.trunc(value)).length) });

  /** A chart over rows of equal height, each named at its left. */
  function rows(items, width, { name, height = 22, left, right = 60, x, top = 4, bottom = 4, axis = false, marks }) {
    const names = new Map(items.map((item) => [item.key, item]));
    const marginLeft = left ?? (compact(width) ? 120 : 236);
    const most = Math.floor((marginLeft - 12) / 6.4);
    const cut = (text) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
    const extra = axis ? 26 : 0;
    return Plot.plot({
      width, marginLeft, marginRight: right, marginTop: top, marginBottom: bottom + extra,
      height: items.length * height + top + bottom + extra,
      x: { label: null, ...x, axis: axis ? "bottom" : null, grid: true, ticks: compact(width) ? 3 : 6 },
      y: { domain: items.map((item) => item.key), label: null, tickSize: 0, tickFormat: (key) => cut(names.get(key)[name]) },
      marks,
    });
  }

  /** Charts under headings; the last has the axis. */
  function grouped(groups, draw) {
    const box = document.createElement("div");
    groups.forEach(([heading, items], index) => {
      const words = document.createElement("p");
      words.className = "heading";
      words.textContent = heading;
      box.append(words, draw(items, index === groups.length - 1));
    });
    return box;
  }

  function groupsOf(cases) {
    const groups = new Map();
    for (const one of cases) {
      if (!groups.has(one.group)) groups.set(one.group, []);
      groups.get(one.group).push(one);
    }
    return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  const bestOf = (record) => record.cases.filter((one) => one.is_best).slice(0, MOST_BARS).map((one) => ({ ...one, key: one.id }));

  function roofline(width, record) {
    const cases = record.cases.filter((one) => one.is_under_roofs && isPositive(one.flop_per_byte) && isPositive(one.flop_per_s));
    if (cases.length === 0) return null;
    const memory = record.memory_bytes_per_s;
    const roofs = record.roofs.filter((roof) => isPositive(roof.flop_per_s));
    const ridges = isPositive(memory) ? roofs.map((roof) => roof.flop_per_s / memory) : [];
    const reach = (values) => [Math.max(Math.min(...values) / 2, 1e-30), Math.min(Math.max(...values) * 2, 1e300)];
    const [left, right] = reach([...cases.map((one) => one.flop_per_byte), ...ridges]);
    const [bottom, top] = reach([...cases.map((one) => one.flop_per_s), ...roofs.map((roof) => roof.flop_per_s)]);
    const lines = roofs.flatMap((roof) => {
      const ridge = isPositive(memory) ? Math.max(roof.flop_per_s / memory, left) : left;
      const start = isPositive(memory) ? Math.max(left, bottom / memory) : left;
      const slope = isPositive(memory) && start < ridge ? [{ x: start, y: start * memory }] : [];
      return [...slope, { x: ridge, y: roof.flop_per_s }, { x: right, y: roof.flop_per_s }].map((point) => ({ ...point, name: roof.name }));
    });
    // Two roofs close together share a line of words.
    const words = [];
    for (const roof of roofs) {
      const near = words.find((word) => word.y / roof.flop_per_s < 1.35);
      const text = `${roof.name} ${si(roof.flop_per_s, "FLOP/s")}`;
      if (near) near.text += `, ${text}`;
      else words.push({ x: right, y: roof.flop_per_s, text });
    }
    const slope = isPositive(memory) && roofs.length > 0 ? [{ x: Math.sqrt(Math.max(left, bottom / memory) * Math.max(...ridges)), text: `memory ${si(memory, "B/s")}` }] : [];
    return Plot.plot({
      width, height: compact(width) ? 380 : 480, marginLeft: 74, marginBottom: 40, marginTop: 24, marginRight: 16,
      x: { type: "log", domain: [left, right], label: "arithmetic intensity, FLOP per byte", tickFormat: (value) => (Number.isInteger(Math.log10(value)) || value === 1 ? String(value) : ""), grid: true, ticks: compact(width) ? 4 : 8 },
      y: { type: "log", domain: [bottom, top], label: "achieved rate", tickFormat: (value) => si(value, "FLOP/s"), grid: true, ticks: 6 },
      symbol: { type: "identity" },
      marks: [
        Plot.line(lines, { x: "x", y: "y", z: "name", stroke: "var(--line)", strokeWidth: 1.5 }),
        Plot.text(words, { x: "x", y: "y", text: "text", textAnchor: "end", dy: -9, fill: "currentColor", stroke: "var(--card)", strokeWidth: 4 }),
        Plot.text(slope, { x: "x", y: (d) => d.x * memory, text: "text", textAnchor: "end", dx: -8, dy: -8, fill: "currentColor", stroke: "var(--card)", strokeWidth: 4 }),
        Plot.dot(cases, {
          x: "flop_per_byte", y: "flop_per_s", r: 4.5, symbol: (d) => SYMBOL[d.family], strokeWidth: 1.5,
          stroke: colour((d) => FAMILY[d.family]), fill: colour((d) => (d.element === "f32" ? "var(--card)" : FAMILY[d.family])),
          opacity: { value: (d) => (d.is_best ? 1 : 0.4), scale: null }, title: "tip", tip: true,
        }),
      ],
    });
  }

  function bars(width, record) {
    const cases = bestOf(record);
    if (cases.length === 0) return null;
    const most = Math.max(1, ...cases.map((one) => Math.max(one.fraction, one.fraction_band[1])).filter(Number.isFinite)) * 1.02;
    return grouped(groupsOf(cases), (items, axis) => rows(items, width, {
      name: "label", axis, x: { domain: [0, most], tickFormat: percent },
      marks: [
        Plot.barX(items, { x: "fraction", y: "key", fill: colour((d) => FAMILY[d.family]), insetTop: 3, insetBottom: 3, title: "tip", tip: true }),
        Plot.ruleY(items, { x1: (d) => d.fraction_band[0], x2: (d) => d.fraction_band[1], y: "key", stroke: "var(--line)", marker: "tick" }),
        Plot.ruleX([1], { stroke: "var(--line)" }),
        Plot.text(items, { x: (d) => Math.max(d.fraction, d.fraction_band[1]), y: "key", text: (d) => percent(d.fraction), textAnchor: "start", dx: 8, fill: "currentColor" }),
      ],
    }));
  }

  function samples(width, record) {
    const cases = bestOf(record).filter((one) => isPositive(one.median_s) && one.samples_s.length > 1);
    if (cases.length === 0) return null;
    const within = (value) => Math.min(Math.max(value, 0.7), 1.6);
    return grouped(groupsOf(cases), (items, axis) => rows(items, width, {
      name: "label", axis, height: 18, x: { domain: [0.7, 1.6], tickFormat: (value) => `x ${value}` },
      marks: [
        Plot.ruleX([1], { stroke: "var(--grid)" }),
        Plot.tickX(items.flatMap((one) => one.samples_s.map((sample) => ({ key: one.key, family: one.family, at: within(sample / one.median_s) }))), {
          x: "at", y: "key", stroke: colour((d) => FAMILY[d.family]), strokeOpacity: 0.75, strokeWidth: 1.5, insetTop: 3, insetBottom: 3,
        }),
        Plot.dot(items, { x: 1, y: "key", r: 3, fill: "currentColor", title: (d) => `${d.tip}\n${d.samples_s.length} samples shown`, tip: true }),
        Plot.text(items, { x: 1.6, y: "key", text: (d) => si(d.median_s, "s"), textAnchor: "start", dx: 8, fill: "currentColor" }),
      ],
    }));
  }

  function devices(width) {
    const questions = new Map();
    data.records.forEach((record, device) => {
      for (const one of record.cases.filter((one) => one.is_best && Number.isFinite(one.fraction))) {
        if (!questions.has(one.question)) questions.set(one.question, new Map());
        questions.get(one.question).set(device, { ...one, key: one.question, device });
      }
    });
    const shared = [...questions.values()].filter((answers) => answers.size > 1).slice(0, MOST_BARS);
    if (shared.length === 0) return null;
    const items = shared.map((answers) => {
      const list = [...answers.values()];
      const fractions = list.map((one) => one.fraction);
      const [first] = list;
      return { key: first.question, group: first.group, name: `${first.kernel} ${first.element}`, list, low: Math.min(...fractions), high: Math.max(...fractions) };
    });
    const most = Math.max(1, ...items.map((item) => item.high)) * 1.02;
    return grouped(groupsOf(items), (items, axis) => rows(items, width, {
      name: "name", axis, x: { domain: [0, most], tickFormat: percent },
      marks: [
        Plot.ruleY(items, { x1: "low", x2: "high", y: "key", stroke: "var(--muted)" }),
        Plot.ruleX([1], { stroke: "var(--line)" }),
        Plot.dot(items.flatMap((item) => item.list), {
          x: "fraction", y: "key", r: 5, fill: colour((d) => DEVICE[d.device % DEVICE.length]),
          title: (d) => `${data.records[d.device].device}\n${d.tip}`, tip: true,
        }),
      ],
    }));
  }

  function terms(width, _, index) {
    const { pairs } = data.terms[index];
    const narrow = compact(width);
    // Chips differ by orders of magnitude: each has an axis of its own, below its last model.
    const most = new Map();
    for (const pair of pairs) most.set(pair.chip, Math.max(most.get(pair.chip) ?? 0, ...pair.bars.map((bar) => bar.s_per_token).filter(Number.isFinite)));
    if (![...most.values()].some(isPositive)) return null;
    const isLast = (i) => i === pairs.length - 1 || pairs[i + 1].chip !== pairs[i].chip;
    const groups = pairs.map((pair, i) => [pair.heading, pair.bars.map((bar, key) => ({ ...bar, key, chip: pair.chip, axis: isLast(i) }))]);
    return grouped(groups, (items) => rows(items, width, {
      name: "fabric", axis: items[0].axis, left: narrow ? 104 : 176, right: narrow ? 92 : 176,
      x: { domain: [0, most.get(items[0].chip) || 1], tickFormat: (value) => si(value, "s") },
      marks: [
        Plot.barX(items.flatMap((bar) => bar.parts.map((part) => ({ ...part, key: bar.key }))), {
          x: "s_per_token", y: "key", fill: colour((d) => TERM[d.term]), insetTop: 3, insetBottom: 3, insetRight: 0.5, title: "tip", tip: true,
        }),
        Plot.text(items, { x: "s_per_token", y: "key", text: (d) => (narrow ? d.total.split(", ")[1] : d.total), textAnchor: "start", dx: 8, fill: "currentColor" }),
      ],
    }));
  }

  function front(width) {
    const points = data.outlook.fronts.flatMap((front, i) => front.points.map((point) => ({ ...point, i, fabric: front.fabric })));
    if (points.length === 0) return null;
    return Plot.plot({
      width, height: 380, marginLeft: 60, marginBottom: 40, marginRight: 20,
      x: { type: "log", label: "time per output token", tickFormat: (value) => si(value, "s"), grid: true, ticks: compact(width) ? 3 : 7 },
      y: { label: "tokens/s per chip", grid: true, zero: true },
      marks: [
        Plot.line(points, { x: "s_per_token", y: "tokens_per_s_per_chip", z: "i", stroke: colour((d) => DEVICE[d.i % DEVICE.length]), curve: "step-after" }),
        Plot.dot(points, { x: "s_per_token", y: "tokens_per_s_per_chip", r: 3, fill: colour((d) => DEVICE[d.i % DEVICE.length]), title: "tip", tip: true }),
      ],
    });
  }

  function timeline(width) {
    const { lanes, spans } = data.outlook.timeline;
    if (spans.length === 0) return null;
    const end = Math.max(...spans.map((span) => span.end_s));
    const items = Object.entries(lanes).map(([lane, name]) => ({ key: Number(lane), name }));
    const left = compact(width) ? 80 : 150;
    const pixels = (span) => ((span.end_s - span.start_s) / end) * (width - left - 20);
    return rows(items, width, {
      name: "name", height: 46, left, right: 20, axis: true, x: { domain: [0, end], tickFormat: (value) => si(value, "s") },
      marks: [
        Plot.barX(spans, {
          x1: "start_s", x2: "end_s", y: "lane", insetTop: 5, insetBottom: 5, insetRight: 0.5,
          fill: colour((d) => (d.is_fabric ? "var(--dispatch)" : "var(--expert)")), fillOpacity: { value: (d) => (d.micro_batch % 2 === 0 ? 1 : 0.55), scale: null },
          title: (d) => `${d.name}, layer ${d.layer}, micro-batch ${d.micro_batch + 1}\n${si(d.end_s - d.start_s, "s")} from ${si(d.start_s, "s")}`, tip: true,
        }),
        Plot.text(spans.filter((span) => pixels(span) > span.name.length * 6.6 + 8), {
          x: (d) => (d.start_s + d.end_s) / 2, y: "lane", text: "name", fill: "var(--ink)", stroke: "var(--card)", strokeWidth: 3,
        }),
      ],
    });
  }

  /** The interval of a logarithmic axis in which a value lies, and how far in: as `Surface::at` does it. */
  function place(axis, value) {
    let index = 0;
    while (index < axis.length - 2 && axis[index + 1] <= value) index += 1;
    const share = Math.log(value / axis[index]) / Math.log(axis[index + 1] / axis[index]);
    return [index, Math.min(Math.max(share, 0), 1)];
  }

  /** Tokens per second and chip between the points of the grid; null where no plan fits. */
  function throughput({ axes, tokens_per_s_per_chip: values }, { chips, batch, bandwidth, latency }) {
    const [rows, columns] = [axes.bandwidth_factors.length, axes.latency_factors.length];
    const first = (chips * axes.batches_per_chip.length + batch) * rows * columns;
    const [row, down] = place(axes.bandwidth_factors, bandwidth);
    const [column, right] = place(axes.latency_factors, latency);
    const at = (i, j) => values[first + (row + i) * columns + column + j];
    const corners = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)];
    if (!corners.every(isPositive)) return null;
    const [a, b, c, d] = corners.map(Math.log);
    const above = a + (b - a) * right;
    const below = c + (d - c) * right;
    return Math.exp(above + (below - above) * down);
  }

  /** The model itself, where it lies in the page and can run; the grid answers otherwise. */
  let model;
  let answered = {};
  const hasGrid = () => data.outlook.surface.tokens_per_s_per_chip.length > 0;

  /** Throughput where the sliders stand, and at factors on the bandwidth. */
  function rates(here, factors) {
    const { surface } = data.outlook;
    if (!model) return [throughput(surface, here), ...factors.map((bandwidth) => throughput(surface, { ...here, bandwidth }))];
    const key = JSON.stringify(here);
    if (answered.key !== key) {
      const { axes, tp, pp } = surface;
      const asked = { chips: axes.chips[here.chips], batch: axes.batches_per_chip[here.batch], latency: here.latency, tp, pp };
      answered = { key, rates: model(asked, [here.bandwidth, ...factors]) };
    }
    return answered.rates;
  }

  const slider = (name) => document.getElementById(`what-if-${name}`);

  function asked() {
    return {
      bandwidth: 10 ** Number(slider("bandwidth").value), latency: 10 ** Number(slider("latency").value),
      chips: Number(slider("chips").value), batch: Number(slider("batch").value),
    };
  }

  /** Where the curve over the bandwidth has points. */
  function curveFactors({ axes: { bandwidth_factors: factors } }) {
    const [least, most] = [factors[0], factors.at(-1)];
    return Array.from({ length: 61 }, (_, i) => least * (most / least) ** (i / 60));
  }

  function whatIf(width) {
    const { surface, baseline } = data.outlook;
    const here = asked();
    const factors = curveFactors(surface);
    const [rate, ...rest] = rates(here, factors);
    const below = surface.baseline_tokens_per_s_per_chip[here.chips * surface.axes.batches_per_chip.length + here.batch];
    const curve = factors.map((bandwidth, i) => ({ bandwidth, rate: rest[i] }));
    const most = factors.at(-1);
    if (!curve.some((point) => point.rate)) return null;
    const line = isPositive(below) ? [below] : [];
    return Plot.plot({
      width, height: 300, marginLeft: 60, marginBottom: 40, marginRight: 20,
      x: { type: "log", label: "bandwidth per chip and direction", tickFormat: (value) => si(value * surface.bandwidth_bytes_per_s, "B/s"), ticks: compact(width) ? 3 : 6, grid: true },
      y: { label: "tokens/s per chip", zero: true, grid: true },
      marks: [
        Plot.ruleY(line, { stroke: "var(--dispatch)", strokeDasharray: "5 4" }),
        Plot.text(line, { x: most, y: (d) => d, text: () => `${baseline} as it is`, textAnchor: "end", dy: -8, fill: "currentColor", stroke: "var(--card)", strokeWidth: 4 }),
        Plot.line(curve, { x: "bandwidth", y: "rate", stroke: "var(--expert)", strokeWidth: 2 }),
        Plot.ruleX([here.bandwidth], { stroke: "var(--muted)" }),
        Plot.dot(rate ? [{ bandwidth: here.bandwidth, rate }] : [], { x: "bandwidth", y: "rate", r: 6, fill: "var(--expert)", stroke: "var(--card)" }),
      ],
    });
  }

  function say(id, text) {
    const place = document.getElementById(id);
    if (place && place.textContent !== text) place.textContent = text;
  }

  /** The panel's words for where the sliders stand. */
  function answer() {
    const { surface } = data.outlook;
    const { axes } = surface;
    const here = asked();
    const [chips, batch] = [axes.chips[here.chips], axes.batches_per_chip[here.batch]];
    const factor = (value) => `x ${value >= 10 ? value.toFixed(1) : value.toFixed(2)}`;
    say("what-if-bandwidth-value", `${factor(here.bandwidth)}, ${si(here.bandwidth * surface.bandwidth_bytes_per_s, "B/s")} per chip`);
    say("what-if-latency-value", factor(here.latency));
    say("what-if-chips-value", String(chips));
    say("what-if-batch-value", count(batch));
    for (const name of ["bandwidth", "latency", "chips", "batch"]) {
      slider(name).setAttribute("aria-valuetext", document.getElementById(`what-if-${name}-value`).textContent);
    }
    const [rate] = rates(here, curveFactors(surface));
    const below = surface.baseline_tokens_per_s_per_chip[here.chips * axes.batches_per_chip.length + here.batch];
    document.getElementById("what-if").dataset.rate = rate ?? "";
    say("what-if-rate", rate ? count(rate) : model || hasGrid() ? "does not fit" : "-");
    say("what-if-tpot", rate ? si(batch / rate, "s") : "-");
    say("what-if-speedup", rate && isPositive(below) ? `${(rate / below).toFixed(2)} times` : "-");
    say("what-if-total", rate ? `${count(Math.round(rate * chips))} tokens/s` : "-");
  }

  const places = [...root.querySelectorAll(".chart")];
  const watch = new AbortController();
  const CHARTS = { roofline, bars, samples, devices, terms, front, timeline, what_if: whatIf };
  const EMPTY = "No figures to draw here.";
  const FAULT = "This chart could not be drawn; the tables have its figures.";

  /** The width of a place. One that is not laid out, since its section is closed, gets that of an open one. */
  function widthOf(place) {
    if (place.clientWidth >= 40) return Math.floor(place.clientWidth);
    const seen = places.find((other) => other.clientWidth >= 40);
    return Math.floor(seen?.clientWidth ?? document.querySelector("main").clientWidth);
  }

  function draw(place) {
    const width = widthOf(place);
    if (width < 40) return;
    const index = Number(place.dataset.index);
    let drawn;
    try {
      drawn = CHARTS[place.dataset.chart](width, data.records[index], index) ?? EMPTY;
    } catch (error) {
      console.error(error);
      drawn = FAULT;
    }
    if (typeof drawn === "string") {
      const words = document.createElement("p");
      words.textContent = drawn;
      drawn = words;
    }
    // The place says in words what it shows; its layers are no labels to a screen reader.
    for (const layer of drawn.querySelectorAll("svg [aria-label], g[aria-label]")) {
      layer.dataset.layer = layer.getAttribute("aria-label");
      layer.removeAttribute("aria-label");
    }
    place.replaceChildren(drawn);
    place.dataset.width = width;
  }

  const isNear = (place) => place.checkVisibility?.() !== false && place.getBoundingClientRect().top < 2 * window.innerHeight;
  const pending = new Set(places);
  const drawPending = (filter) => {
    for (const place of pending) {
      if (filter(place)) {
        pending.delete(place);
        draw(place);
      }
    }
  };
  // What is in sight first; the rest when there is time, and all of it before printing.
  drawPending(isNear);
  const later = () => {
    const [place] = pending;
    if (place === undefined) {
      whenDrawn();
      return;
    }
    if (watch.signal.aborted) return;
    pending.delete(place);
    draw(place);
    setTimeout(later, 0);
  };
  setTimeout(later, 0);
  // Paper shows everything: what was closed is open while the page is printed.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...root.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
    drawPending(() => true);
  }, { signal: watch.signal });
  window.addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  }, { signal: watch.signal });
  const resize = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.clientWidth >= 40 && target.dataset.width !== undefined && Math.abs(target.clientWidth - Number(target.dataset.width)) > 1) draw(target);
    }
  });
  places.forEach((place) => resize.observe(place));

  watch.signal.addEventListener("abort", () => resize.disconnect());

  const panel = root.querySelector("#what-if");
  if (panel) {
    const update = () => {
      answer();
      draw(panel.querySelector(".chart"));
    };
    panel.querySelector("form").addEventListener("input", update);
    panel.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    panel.querySelector("form").addEventListener("reset", () => setTimeout(update, 0));
    answer();
    document.addEventListener("model-ready", ({ detail }) => {
      const here = asked();
      const before = throughput(data.outlook.surface, here);
      model = detail;
      try {
        const [rate] = rates(here, curveFactors(data.outlook.surface));
        // A module of another version would contradict the tables. A page without a grid is made beside its module.
        if (hasGrid() && !(Math.abs(rate / before - 1) < 0.02)) throw new Error("the model in this page is of another version");
      } catch (error) {
        console.warn(error.message);
        model = undefined;
        return;
      }
      panel.dataset.by = "model";
      say("what-if-by", "Each position is computed by the model itself, which lies in this page.");
      update();
    }, { signal: watch.signal });
  }

  return () => watch.abort();
}

/** Binds the buttons that save a record which lies in the page. */
function bindDownloads(data) {
  for (const button of document.querySelectorAll("[data-download]")) {
    button.addEventListener("click", () => {
      const index = button.dataset.download;
      const text = document.getElementById(`record-${index}-json`).textContent;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = `${data.records[index].device.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "record"}.json`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
}

// A document that brings no figures calls the functions itself.
const figures = document.getElementById("data");
if (figures) {
  const data = JSON.parse(figures.textContent);
  drawCharts(document, data, () => {
    document.documentElement.dataset.drawn = "all";
  });
  bindDownloads(data);
}
