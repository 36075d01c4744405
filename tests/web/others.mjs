// The page in browsers that speak WebDriver: node others.mjs FOLDER SUPERNODE BROWSER DRIVER. BROWSER is `webkit` or
// `firefox`, DRIVER the program that drives it. The model answers as the native program does, records can be read and compared, and
// the page says whether it can measure there.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { native, same, serve } from './browser.mjs';

const [folder, supernode, browser, driver] = process.argv.slice(2);
const PORT = 4446;
const ASKED = [
  { model: 'deepseek-v3', phase: 'decode', chip: 'ascend-910c', fabric: 'cloudmatrix384', chips: 384, baseline: 'roce-cluster' },
  { model: 'qwen3-235b-a22b', phase: 'prefill', chip: 'h200', fabric: 'hgx-400g', chips: 16, baseline: 'h800-ib', cache_type: 'fp8' },
  { model: 'llama-3.1-405b', phase: 'training', chip: 'h100', fabric: 'h100-ib', chips: 128, baseline: 'roce-cluster' },
];
const CAPABILITIES = {
  webkit: {
    'webkitgtk:browserOptions': {
      binary: ['4.1', '4.0', '6.0'].map((version) => `/usr/lib/x86_64-linux-gnu/webkit2gtk-${version}/MiniBrowser`).find(existsSync),
      args: ['--automation'],
    },
  },
  // On Linux its WebGPU is behind a setting.
  firefox: { 'moz:firefoxOptions': { args: ['-headless'], prefs: { 'dom.webgpu.enabled': true, 'gfx.webgpu.ignore-blocklist': true } } },
};
const failures = [];
const check = (is, words) => is || failures.push(words);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function call(method, path, body) {
  const response = await fetch(`http://127.0.0.1:${PORT}${path}`, { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
  const { value } = await response.json();
  if (value?.error) throw new Error(`${path}: ${value.error}: ${value.message}`);
  return value;
}

const server = await serve(folder);
const child = spawn(driver, [`--port=${PORT}`], { stdio: 'ignore' });
await pause(2000);
const { sessionId, capabilities } = await call('POST', '/session', { capabilities: { alwaysMatch: CAPABILITIES[browser] } });
const at = `/session/${sessionId}`;
const script = (text, ...args) => call('POST', `${at}/execute/async`, { script: `const done = arguments[arguments.length - 1]; (async () => { ${text} })().then((found) => done({ found }), (error) => done({ error: error.message }));`, args });
/** Waits for what an expression of the page says to become true. */
async function until(expression) {
  for (let tries = 0; tries < 100; tries += 1) {
    if ((await script(`return ${expression};`)).found) return;
    await pause(200);
  }
  failures.push(`it never came: ${expression}`);
}
try {
  await call('POST', `${at}/timeouts`, { script: 60_000 });
  await call('POST', `${at}/url`, { url: server.url });
  await until("document.querySelector('#answer').getAttribute('aria-busy') === 'false' && document.querySelectorAll('#records li').length >= 2");
  for (const question of ASKED) {
    const { found, error } = await script("const { ask } = await import('./ask.js'); return ask('project', JSON.stringify({ question: arguments[0] }));", question);
    check(!error, `${JSON.stringify(question)}: ${error}`);
    if (error) continue;
    const { answer } = JSON.parse(found);
    const expected = native(supernode, question).answer;
    check(same(answer.tokens_per_s_per_chip, expected.tokens_per_s_per_chip), `${JSON.stringify(question)}: the page says ${JSON.stringify(answer.tokens_per_s_per_chip)}`);
  }
  // The list is drawn again after each choice.
  for (const index of [0, 1]) await script(`document.querySelectorAll('#records input')[${index}].click();`);
  await until("document.querySelectorAll('#comparison table tr').length > 5");
  await script("document.querySelector('#records li button').click();");
  await until("!document.querySelector('#results-some').hidden && document.querySelectorAll('#record-sections table').length > 0");
  const { found: offers } = await script("return { gpu: Boolean(navigator.gpu), suspends: typeof WebAssembly.Suspending === 'function', says: document.querySelector('#measure').innerText };");
  check(offers.gpu && offers.suspends ? !/has no WebGPU|cannot suspend/.test(offers.says) : /Take Chrome/.test(offers.says), `it says of measuring: ${offers.says}`);
  console.log(`${capabilities.browserName} ${capabilities.browserVersion}: WebGPU ${offers.gpu}, WebAssembly can be suspended ${offers.suspends}`);
} finally {
  await call('DELETE', at);
  child.kill();
  server.close();
}
for (const words of failures) console.error(`FAILED: ${words}`);
process.exit(failures.length ? 1 : 0);
