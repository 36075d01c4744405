// Asks the modules `model` and `reader`, which run in a worker of their own: a question never holds up the page.

const waiting = new Map();
const latest = new Map();
let worker;
let count = 0;

function start() {
  worker = new Worker("model-worker.js", { type: "module" });
  worker.onmessage = ({ data: { id, answer, error, fault } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (fault) restart();
    if (error === undefined) resolve(answer);
    else reject(new Error(error));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    for (const { reject } of waiting.values()) reject(new Error("the model could not be loaded: reload the page, or take a browser of 2023 or newer"));
    waiting.clear();
    worker = undefined;
  };
}

/** After a fault a module's memory may be in any state: the questions behind it get a new one. */
function restart() {
  worker.terminate();
  start();
  for (const [id, { call, args }] of waiting) worker.postMessage({ id, call, args });
}

/** Calls an export of one of the modules. Rejects with its one line. */
export function ask(call, ...args) {
  if (!worker) start();
  return new Promise((resolve, reject) => {
    count += 1;
    waiting.set(count, { call, args, resolve, reject });
    worker.postMessage({ id: count, call, args });
  });
}

/**
 * The same for a question that a newer one of its channel makes pointless: at most one runs and one waits. Resolves to
 * undefined where the question was overtaken.
 */
export function askLatest(channel, call, ...args) {
  const state = latest.get(channel) ?? {};
  latest.set(channel, state);
  state.next?.resolve(undefined);
  return new Promise((resolve, reject) => {
    state.next = { call, args, resolve, reject };
    if (!state.busy) run(state);
  });
}

async function run(state) {
  state.busy = true;
  while (state.next) {
    const { call, args, resolve, reject } = state.next;
    state.next = undefined;
    try {
      const answer = await ask(call, ...args);
      resolve(state.next ? undefined : answer);
    } catch (error) {
      reject(error);
    }
  }
  state.busy = false;
}
