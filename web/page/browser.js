// What this browser and its GPU offer, and what is in the way of measuring, in sentences that say what to do.

const GIB = 2 ** 30;

/** Runs that fit a browser, in words; the model knows what each takes at most. */
export const PRESETS = [
  { name: "phone", title: "Phone", words: "layers of Qwen3-30B" },
  { name: "laptop", title: "Laptop", words: "more tokens and types, and gpt-oss-120b" },
  { name: "desktop", title: "Desktop", words: "layers of DeepSeek-V3 and other large models" },
];

/** What this browser lacks for measuring, in sentences; undefined where it lacks nothing. It runs in workers too. */
export function lacks() {
  if (!globalThis.isSecureContext) return "Browsers give WebGPU to pages from https and from localhost only. Open this page from there.";
  if (!navigator.gpu) return "This browser has no WebGPU. Take Chrome or Edge 137, Firefox 153, or newer.";
  if (!globalThis.WebAssembly?.Suspending) return "This browser cannot suspend a running module (JSPI). To measure, take Chrome or Edge 137, or Firefox 153, on a computer.";
  return undefined;
}

/** The preset that suits this machine. */
export function suitable(adapter) {
  const memory = navigator.deviceMemory ?? (matchMedia("(pointer: coarse)").matches ? 2 : 8);
  if (memory < 4 || adapter?.info?.isFallbackAdapter) return "phone";
  return memory < 8 || matchMedia("(pointer: coarse)").matches ? "laptop" : "desktop";
}

/** A sentence where a run of so many bytes needs more memory than this machine seems to have. */
export function tooLarge(title, bytes) {
  const [memory, gigabytes] = [navigator.deviceMemory, bytes / 1e9];
  if (memory === undefined || gigabytes < memory) return undefined;
  return `This machine reports ${memory} GB of memory, and the preset ${title} takes up to ${gigabytes} GB. Choose a smaller one, or close other tabs.`;
}

/** Why measuring is impossible here; undefined where it is not. */
function obstacleOf(adapter) {
  const problem = lacks() ?? (adapter ? undefined : "The browser offers no GPU. Turn on hardware acceleration in its settings, update the graphics driver, and reload.");
  return problem && `${problem} The rest of this page works.`;
}

function facts(adapter) {
  const yes = (is) => (is ? "yes" : "no");
  const has = (feature) => yes(adapter.features.has(feature));
  const { vendor, architecture, device, description } = adapter.info ?? {};
  const gigabytes = (bytes) => `${(bytes / GIB).toFixed(bytes < 10 * GIB ? 1 : 0)} GiB`;
  const { subgroupMinSize: least, subgroupMaxSize: most } = adapter.info ?? {};
  return [
    ["GPU", [description || device, vendor, architecture].filter(Boolean).join(", ") || "not named by the browser"],
    ["Clock on the GPU", adapter.features.has("timestamp-query") ? "yes" : "no: the wall clock is taken"],
    ["Half precision", has("shader-f16")],
    ["Subgroups", adapter.features.has("subgroups") ? (least ? `of ${least} to ${most}` : "yes") : "no"],
    ["Largest binding", gigabytes(adapter.limits.maxStorageBufferBindingSize)],
    ...(navigator.deviceMemory ? [["Memory of this machine", `${navigator.deviceMemory} GB or more`]] : []),
  ];
}

/** Looks at the browser: { adapter, obstacle, notes, facts }. */
export async function look() {
  const { gpu } = navigator;
  let adapter;
  try {
    adapter = (await gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? undefined;
  } catch {
    adapter = undefined;
  }
  const notes = [];
  if (adapter?.info?.isFallbackAdapter) notes.push("The browser offers a software adapter: its figures say nothing about a GPU. Turn on hardware acceleration in its settings.");
  return { adapter, notes, obstacle: obstacleOf(adapter), facts: adapter ? facts(adapter) : [] };
}
