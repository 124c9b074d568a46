// V8 isolates by isolated-vm: the same echo, in and out by copy, as a plugin's payload goes.
//
// Usage: `isolated_vm.js cold|cold-sync|warm|warm-sync` (seconds), `isolated_vm.js memory` (bytes per isolate; once per
// process, since a second round would reuse what the first one left in the heap).
// The async forms are what a server can use; the sync ones block its only thread, and are the fastest isolated-vm has.

'use strict';

const fs = require('fs');
const readline = require('readline');
const ivm = require('isolated-vm');

const PLUGIN = 'globalThis.echo = (payload) => ({ text: payload.text });';
const PAYLOAD = { text: 'hi' };
const COPIES = { arguments: { copy: true }, result: { copy: true } };
const ALIVE = 200;

const seconds = (start) => Number(process.hrtime.bigint() - start) / 1e9;

function check(result) {
  if (result.text !== PAYLOAD.text) throw new Error(`echo answered ${JSON.stringify(result)}`);
}

async function load() {
  const isolate = new ivm.Isolate();
  const context = await isolate.createContext();
  const script = await isolate.compileScript(PLUGIN);
  await script.run(context);
  return { isolate, echo: await context.global.get('echo', { reference: true }) };
}

function loadSync() {
  const isolate = new ivm.Isolate();
  const context = isolate.createContextSync();
  isolate.compileScriptSync(PLUGIN).runSync(context);
  return { isolate, echo: context.global.getSync('echo', { reference: true }) };
}

async function cold(count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    const { isolate, echo } = await load();
    check(await echo.apply(undefined, [PAYLOAD], COPIES));
    times.push(seconds(start));
    isolate.dispose();
  }
  return times;
}

async function coldSync(count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    const { isolate, echo } = loadSync();
    check(echo.applySync(undefined, [PAYLOAD], COPIES));
    times.push(seconds(start));
    isolate.dispose();
  }
  return times;
}

let alive;

async function warm(count) {
  alive ??= await load();
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    check(await alive.echo.apply(undefined, [PAYLOAD], COPIES));
    times.push(seconds(start));
  }
  return times;
}

async function warmSync(count) {
  alive ??= loadSync();
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    check(alive.echo.applySync(undefined, [PAYLOAD], COPIES));
    times.push(seconds(start));
  }
  return times;
}

const pss = () => Number(/^Pss:\s+(\d+) kB/m.exec(fs.readFileSync('/proc/self/smaps_rollup', 'latin1'))[1]) * 1024;

async function memory() {
  // The first isolate pays for what all share (the platform's threads, V8's code pages).
  const kept = [await load()];
  check(await kept[0].echo.apply(undefined, [PAYLOAD], COPIES));
  const before = pss();
  for (let i = 0; i < ALIVE; i++) {
    kept.push(await load());
    check(await kept.at(-1).echo.apply(undefined, [PAYLOAD], COPIES));
  }
  const bytes = (pss() - before) / ALIVE;
  kept.forEach(({ isolate }) => isolate.dispose());
  return [bytes];
}

const sample = { cold, 'cold-sync': coldSync, warm, 'warm-sync': warmSync, memory }[process.argv[2]];

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await sample(Number(line)))}\n`);
  }
})();
