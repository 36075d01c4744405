// Behind the module's loader: unpacks the module that lies in the page, and gives its answers to the sliders (page.js).
const bytes = Uint8Array.from(atob(document.getElementById("model-module").textContent), (one) => one.charCodeAt(0));
const unpacked = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
await __wbg_init({ module_or_path: await unpacked });
const { question, chip } = JSON.parse(document.getElementById("model-question").textContent);

/** Tokens per second and chip at factors on the bandwidth; null where no plan fits. */
function rates({ chips, batch, latency, tp, pp }, factors) {
  const asked = { ...question, chips, plan: { tp, pp, batch_per_chip: batch } };
  return JSON.parse(what_if(JSON.stringify({ question: asked, chip, latency_factor: latency }), JSON.stringify(factors)));
}

document.dispatchEvent(new CustomEvent("model-ready", { detail: rates }));
