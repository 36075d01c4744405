// The model module behind a queue of questions: { id, call, args } in, { id, answer } or { id, error } out.
import init, * as model from "./model.js";

const ready = init();
// Each question says that the module could not be loaded; nobody needs to hear it before.
ready.catch(() => {});

self.onmessage = async ({ data: { id, call, args } }) => {
  try {
    await ready;
    self.postMessage({ id, answer: model[call](...args) });
  } catch (error) {
    const fault = error instanceof WebAssembly.RuntimeError;
    self.postMessage({ id, fault, error: fault ? "the model failed on this question: change it, and tell us about it" : String(error?.message ?? error) });
  }
};
