// What every test of the page in a browser needs: a server of a static folder on loopback, and headless Chromium with its
// software GPU, which is told to reach nothing else.
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, join, normalize } from 'node:path';

const { chromium } = createRequire(new URL('../browser/', import.meta.url))('playwright-core');

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

// Serves a folder as any static host would; `/blank` is an empty page of the same origin. `replaced` maps a path to a file that
// stands in the place of the folder's.
export async function serve(folder, replaced = {}) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://host');
    if (pathname === '/blank') {
      response.writeHead(200, { 'content-type': TYPES['.html'] });
      response.end('<!doctype html><title>blank</title><link rel="icon" href="data:,">');
      return;
    }
    const path = replaced[pathname] ?? join(folder, normalize(pathname === '/' ? '/index.html' : pathname));
    if (!existsSync(path) || !statSync(path).isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' });
    createReadStream(path).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

// Chromium's software GPU clears the workgroup's memory by one store per element, each of which it compiles: seconds per pipeline,
// eight times what the rest takes. A GPU has a loop for that, and no kernel reads there before it writes.
const UNCLEARED = '--enable-dawn-features=disable_workgroup_init';

// Chromium; without a software GPU where `gpu` is false. CLEARED=1 leaves the clearing to it.
export function launch(executablePath, { gpu = true } = {}) {
  const args = ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'];
  if (gpu) args.push('--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader');
  if (gpu && !process.env.CLEARED) args.push(UNCLEARED);
  return chromium.launch({ executablePath, args });
}

// A page that keeps the addresses of all requests, those of its workers included, and every message of its console.
export async function watched(browser, options = {}) {
  const context = await browser.newContext(options);
  const requests = [];
  context.on('request', (request) => requests.push(request.url()));
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  return { page, requests, complaints };
}

// The same value, numbers to twelve digits: more than is ever shown, and less than two mathematical libraries differ by.
export function same(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a === b || a.toPrecision(12) === b.toPrecision(12);
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return a === b;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && same(a[key], b[key]));
}

// What the native program says of a question whose keys are its flags.
export function native(supernode, question) {
  const flags = Object.entries(question).flatMap(([key, value]) => [`--${key.replaceAll('_', '-')}`, String(value)]);
  const { status, stdout, stderr } = spawnSync(supernode, ['project', ...flags, '--json'], { encoding: 'utf8' });
  return status === 0 ? { answer: JSON.parse(stdout) } : { error: stderr };
}

// The requests that went anywhere but to the server.
export const foreign = (requests, url) =>
  requests.filter((address) => !address.startsWith(`${url}/`) && !/^(data|blob):/.test(address));
