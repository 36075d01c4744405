// Compiles every pipeline of a list with Tint through Dawn: check.mjs PIPELINES.json
//
// Dawn's null backend is always there and checks module and pipeline (constants, bindings, workgroup sizes and memory). Where
// Dawn finds a Vulkan driver that it takes, the driver compiles one pipeline of each shader as well (it takes a second or so
// for each), as far as it has the features.
import { readFileSync } from 'node:fs';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
const all = JSON.parse(readFileSync(process.argv[2], 'utf8'));
// An instance that is collected takes its adapters along.
const instances = [];

async function open(flags) {
  try {
    const gpu = create(flags);
    instances.push(gpu);
    const adapter = await gpu.requestAdapter();
    if (!adapter) return null;
    const requiredFeatures = ['shader-f16', 'subgroups'].filter((feature) => adapter.features.has(feature));
    const limits = ['maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup', 'maxComputeWorkgroupSizeX',
      'maxStorageBuffersPerShaderStage'];
    const requiredLimits = Object.fromEntries(limits.map((limit) => [limit, adapter.limits[limit]]));
    const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
    const name = adapter.info.description || adapter.info.device || adapter.info.vendor || flags[0];
    return { name, device, has: new Set(requiredFeatures) };
  } catch {
    return null;
  }
}

function needs(wgsl) {
  const features = [];
  if (/^enable f16;/m.test(wgsl)) features.push('shader-f16');
  if (/^enable subgroups;/m.test(wgsl)) features.push('subgroups');
  return features;
}

async function compile(device, { wgsl, constants }) {
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code: wgsl });
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter((message) => message.type === 'error');
  let problem = errors.map((m) => `${m.lineNum}:${m.linePos} ${m.message}`).join('\n');
  if (!problem) {
    try {
      await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main', constants } });
    } catch (error) {
      problem = String(error.message ?? error);
    }
  }
  const scope = await device.popErrorScope();
  return { problem: problem || scope?.message || '', warnings: messages.length - errors.length };
}

// A pipeline may need more than the adapter's limits (Dawn offers 16 KiB of workgroup memory here); the module has compiled.
const beyondLimits = /larger than the maximum allowed|exceeds the maximum/;

async function checkAll({ name, device, has }, pipelines, seconds) {
  const end = performance.now() + seconds * 1000;
  let compiled = 0;
  let beyond = 0;
  let late = 0;
  let leftOut = 0;
  let warnings = 0;
  let failed = 0;
  for (const pipeline of pipelines) {
    if (needs(pipeline.wgsl).some((feature) => !has.has(feature))) {
      leftOut += 1;
      continue;
    }
    if (performance.now() > end) {
      late += 1;
      continue;
    }
    const result = await compile(device, pipeline);
    warnings += result.warnings;
    if (beyondLimits.test(result.problem)) {
      beyond += 1;
      console.log(`beyond the adapter's limits: ${pipeline.name}: ${result.problem.split('\n')[0]}`);
    } else if (result.problem) {
      failed += 1;
      console.error(`${pipeline.name}: ${result.problem}\n`);
    } else {
      compiled += 1;
    }
  }
  console.log(`Tint, ${name}: ${compiled} of ${pipelines.length} pipelines compiled, ${failed} refused, ` +
    `${beyond} beyond its limits, ${leftOut} left out for features, ${late} for time, ${warnings} warnings`);
  return { failed, leftOut, late };
}

const base = await open(['backend=null']);
if (!base) {
  console.error('Dawn did not open its null backend');
  process.exit(2);
}
const first = await checkAll(base, all, 300);
// The null backend has every feature: what it leaves out nobody would have checked.
let failed = first.failed + first.leftOut + first.late;
const driver = await open(['backend=vulkan']);
if (driver) {
  const shaders = new Map(all.map((pipeline) => [pipeline.wgsl, pipeline]));
  failed += (await checkAll(driver, [...shaders.values()], 40)).failed;
} else {
  console.log('Dawn takes no Vulkan driver here: pipelines were checked, not compiled by a driver');
}
process.exit(failed ? 1 : 0);
