// The worker that measures: it runs the module `tool` and answers the page in messages.
//
// The page sends {do: "offers"}, {do: "verify", options}, {do: "measure", options, journal}, and while one of these runs
// {do: "interrupt"}, {do: "pause"}, {do: "resume"} or {do: "lose"}. `journal` is the text of an unfinished record, or null.
// The worker sends {event}, {journal}, and at the end {offers}, {verified}, {done} (the text of the record) or
// {error: {message, interrupted, resumable}}.
import { lacks } from './browser.js';
import init, { interrupt, measure, offers, pause, verify } from './tool.js';

// wgpu 30 does not ask for subgroups by the name that browsers have for them, so they are added to what it asks for.
const opened = [];
if (globalThis.GPUAdapter) {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (descriptor = {}) {
    const wanted = ['subgroups'].filter((feature) => this.features.has(feature));
    const requiredFeatures = [...(descriptor.requiredFeatures ?? []), ...wanted];
    const device = await requestDevice.call(this, { ...descriptor, requiredFeatures });
    opened.push(device);
    return device;
  };
}

const told = (kind, text) => postMessage(kind === 'journal' ? { journal: text } : { event: JSON.parse(text) });

const jobs = {
  offers: async () => ({ offers: JSON.parse(await offers()) }),
  verify: async ({ options = {} }) => ({ verified: JSON.parse(await verify(JSON.stringify(options), told)) }),
  measure: async ({ options = {}, journal }) => ({ done: await measure(JSON.stringify(options), journal ?? undefined, told) }),
};

// What may come while a job runs.
const signals = {
  interrupt: () => interrupt(),
  pause: () => pause(true),
  resume: () => pause(false),
  // As a driver that is reset would.
  lose: () => opened.at(-1)?.destroy(),
};

let loaded = null;
let busy = false;

async function start(message) {
  if (busy) throw new Error('The worker is busy: wait for its answer, or interrupt it.');
  const problem = lacks();
  if (problem) throw new Error(problem);
  busy = true;
  try {
    loaded ??= init();
    await loaded;
    return await jobs[message.do](message);
  } finally {
    // A device that is only forgotten keeps its memory until the collector runs.
    opened.splice(0).forEach((device) => device.destroy());
    busy = false;
  }
}

onmessage = async ({ data }) => {
  if (signals[data.do]) {
    if (busy && loaded) signals[data.do]();
    return;
  }
  try {
    postMessage(await start(data));
  } catch (error) {
    const { message, interrupted = false, resumable = false } = error;
    postMessage({ error: { message, interrupted, resumable } });
  }
};
