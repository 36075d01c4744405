// The modules behind a queue of questions: { id, call, args } in, { id, answer } or { id, error } out.
import * as model from "./model.js";
import * as reader from "./reader.js";

const loading = new Map();

/** Loads a module when it is first asked: somebody without a record never loads the reader. */
function load(module) {
  if (!loading.has(module)) loading.set(module, module.default());
  return loading.get(module);
}

// The model is asked soon. Each question says that a module could not be loaded; nobody needs to hear it before.
load(model).catch(() => {});

self.onmessage = async ({ data: { id, call, args } }) => {
  const module = call in model ? model : reader;
  try {
    await load(module);
    self.postMessage({ id, answer: module[call](...args) });
  } catch (error) {
    const fault = error instanceof WebAssembly.RuntimeError;
    self.postMessage({ id, fault, error: fault ? "the model failed on this question: change it, and tell us about it" : String(error?.message ?? error) });
  }
};
