// The whole tool in headless Chromium, without the page: node tool.mjs FOLDER CHROMIUM
//
// The verification suite, a run with a few cases, its interruption and going on, a lost device, hostile journals.
// TEST='interrupted|journal' runs the tests with one of these in their names.
import assert from 'node:assert/strict';
import { foreign, launch, serve, watched } from './browser.mjs';

const [folder, executable] = process.argv.slice(2);
const server = await serve(folder);
const browser = await launch(executable);
const { page, requests, complaints } = await watched(browser);
await page.goto(`${server.url}/blank`);

// Starts one job in a worker of its own and gives everything that it said. `signals` has the events at which something is said
// to it meanwhile, e.g. {measured: {at: 2, say: {do: 'interrupt'}}}; `later` is said some milliseconds after that.
function run(message, signals = {}) {
  return page.evaluate(
    ([message, signals]) =>
      new Promise((resolve) => {
        const worker = new Worker('/worker.js', { type: 'module' });
        const heard = { events: [], journal: null };
        const begun = performance.now();
        const end = (outcome) => {
          worker.terminate();
          resolve({ ...heard, ...outcome, seconds: (performance.now() - begun) / 1e3 });
        };
        worker.onerror = (error) => end({ error: { message: `worker: ${error.message}` } });
        worker.onmessage = ({ data }) => {
          if ('journal' in data) {
            heard.journal = data.journal;
          } else if ('event' in data) {
            const { event } = data.event;
            heard.events.push({ ...data.event, at: performance.now() });
            const signal = signals[event];
            if (signal && heard.events.filter((other) => other.event === event).length === signal.at) {
              worker.postMessage(signal.say);
              if (signal.later) setTimeout(() => worker.postMessage(signal.later.say), signal.later.ms);
            }
          } else {
            end(data);
          }
        };
        worker.postMessage(message);
      }),
    [message, signals],
  );
}

const said = (heard, event) => heard.events.filter((other) => other.event === event);
// Planned cases that were measured or left out; roofs are left out without having been planned.
const done = ({ cases, left_out, planned }) => [...cases, ...left_out].filter(({ id }) => planned.includes(id)).length;
const tests = [];
const test = (name, body) => tests.push([name, body]);
const FEW = { preset: 'smoke', only: ['gating/'], selection: { kind: 'default' } };

test('the device says who it is and what it offers', async () => {
  const { offers, error } = await run({ do: 'offers' });
  assert.equal(error, undefined);
  const { device } = offers;
  assert.equal(device.backend, 'browser_webgpu');
  assert.equal(device.device_type, 'software');
  assert.match(device.driver, /Chrome/);
  assert.match(device.driver_info, /^\d+/);
  assert.match(device.name, /swiftshader/i);
  assert.ok(offers.timestamps);
  return `${device.name}, ${device.driver} ${device.driver_info}, ${device.features.join(' ')}, subgroups of ${device.subgroup_sizes_seen}`;
});

test('every kernel is right', async () => {
  const only = process.env.ONLY ? [process.env.ONLY] : [];
  const { verified, error, seconds } = await run({ do: 'verify', options: { only } });
  assert.equal(error, undefined);
  assert.deepEqual(verified.failures, []);
  assert.equal(verified.wrong, 0);
  assert.ok(verified.right > (only.length ? 0 : 500), `${verified.right} right`);
  return `${verified.right} right, ${verified.left_out} left out, ${seconds.toFixed(1)} s`;
});

let unfinished;

test('a run that is interrupted keeps what is finished', async () => {
  const heard = await run({ do: 'measure', options: FEW }, { measured: { at: 2, say: { do: 'interrupt' } } });
  assert.equal(heard.done, undefined);
  assert.deepEqual(heard.error, { message: 'interrupted', interrupted: true, resumable: true });
  unfinished = heard.journal;
  const record = JSON.parse(unfinished);
  assert.equal(record.complete, false);
  assert.ok(record.cases.length >= 2 && record.cases.length < record.planned.length);
  return `${record.cases.length} of ${record.planned.length} cases`;
});

test('it goes on where it ended', async () => {
  const before = done(JSON.parse(unfinished));
  const heard = await run({ do: 'measure', options: FEW, journal: unfinished });
  assert.equal(heard.error, undefined);
  assert.equal(said(heard, 'planned')[0].done, before);
  const record = JSON.parse(heard.done);
  assert.ok(record.complete);
  assert.equal(done(record), record.planned.length);
  assert.deepEqual(record.rejected, []);
  assert.equal(record.device.backend, 'browser_webgpu');
  assert.ok(record.protocol.runtime_checks);
  assert.ok(record.caveats.some((caveat) => caveat.kind === 'browser'));
  assert.equal(record.protocol.clock, 'device');
  assert.deepEqual(JSON.parse(heard.journal).cases, record.cases);
  const { wall_s, kernels_s, verification_s, preparation_s } = record.time_spent;
  const overhead = 1 - kernels_s / (wall_s - verification_s);
  return `${record.cases.length} cases, ${wall_s.toFixed(1)} s, of it kernels ${kernels_s.toFixed(1)}, verification ${verification_s.toFixed(1)}, preparation ${preparation_s.toFixed(1)}: overhead ${(overhead * 100).toFixed(0)} %`;
});

test('a pause holds the run, and it goes on', async () => {
  const held = 3000;
  const later = { ms: held, say: { do: 'resume' } };
  const heard = await run({ do: 'measure', options: FEW }, { started: { at: 2, say: { do: 'pause' }, later } });
  assert.equal(heard.error, undefined);
  const times = heard.events.map(({ at }) => at);
  const longest = Math.max(...times.slice(1).map((time, index) => time - times[index]));
  assert.ok(longest > held / 2, `the longest silence was ${longest.toFixed(0)} ms`);
});

test('a lost device costs one case and not the run', async () => {
  const heard = await run({ do: 'measure', options: FEW }, { measured: { at: 2, say: { do: 'lose' } } });
  assert.equal(heard.error, undefined);
  const record = JSON.parse(heard.done);
  assert.ok(record.complete);
  assert.ok(record.rejected.length <= 1);
  assert.ok(record.rejected.every(({ reason }) => /lost.*opened again/.test(reason)), JSON.stringify(record.rejected));
  return record.rejected.map(({ id, reason }) => `${id}: ${reason}`).join() || 'lost between two cases';
});

test('a journal of something else is refused in a line', async () => {
  const foreign = [
    ['', /empty/],
    ['{', /cut off/],
    ['[1]', /it is a list/],
    ['{}', /not a result document/],
    ['{"schema_version": 99}', /schema version 99/],
    [unfinished.replace('"seed": 1', '"seed": 2'), /another seed/],
    [unfinished.replace('"complete": false', '"complete": <b>'), /JSON/],
  ];
  for (const [journal, expected] of foreign) {
    const { error } = await run({ do: 'measure', options: FEW, journal });
    assert.match(error.message, expected);
    assert.ok(!error.message.includes('\n'), error.message);
  }
});

test('an option that there is not is refused in a line', async () => {
  for (const options of [{ preset: 'huge' }, { seed: -1 }, { speed: 1 }, { only: ['no such case'] }]) {
    const { error } = await run({ do: 'measure', options });
    assert.ok(error.message && !error.message.includes('\n'), JSON.stringify(error));
  }
});

test('nothing was asked of anybody else, and the console is empty', async () => {
  assert.deepEqual(foreign(requests, server.url), []);
  assert.deepEqual(complaints, []);
  return `${requests.length} requests`;
});

let failed = 0;
const chosen = process.env.TEST?.split('|');
for (const [name, body] of tests) {
  if (chosen && !chosen.some((part) => name.includes(part))) continue;
  try {
    const note = await body();
    console.log(`ok   ${name}${note ? ` (${note})` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${error.message}`);
  }
}
await browser.close();
server.close();
process.exit(failed ? 1 : 0);
