// Stands for worker.js: plays a record that was measured elsewhere, case by case, in the messages of the real one. How fast, and
// what goes wrong, is in fake.json next to it.
let stopped = false;
let paused = false;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const fail = (message, interrupted, resumable) => postMessage({ error: { message, interrupted, resumable } });

/** The record as it was after so many cases. */
function journalOf(record, cases) {
  const { time_spent: _, ...rest } = record;
  return JSON.stringify({ ...rest, complete: false, cases: record.cases.slice(0, cases) });
}

async function measure({ journal }) {
  const { pause_ms: pauseMs, lost_after: lostAfter, fails_with: failure, stood_still: stoodStill } = await (await fetch("fake.json")).json();
  const text = await (await fetch("fake-record.json")).text();
  const record = JSON.parse(text);
  const before = journal ? JSON.parse(journal).cases.length : 0;
  postMessage({ event: { event: "planned", cases: record.planned.length, done: before } });
  for (let done = before; done < record.cases.length; done += 1) {
    postMessage({ event: { event: "started", id: record.cases[done].id } });
    await wait(pauseMs);
    while (paused && !stopped) await wait(10);
    if (stopped) return fail("interrupted; finished cases are kept, go on with --resume", true, true);
    if (done === 1 && stoodStill) postMessage({ event: { event: "paused", id: record.cases[done].id, pause_s: stoodStill } });
    if (!journal && done === 2 && failure) return fail(failure, false, true);
    if (!journal && done === lostAfter) return fail(`${record.cases[done].id}: the device was lost`, false, true);
    postMessage({ journal: journalOf(record, done + 1) });
  }
  postMessage({ done: text });
}

async function verify() {
  for (let i = 0; i < 3; i += 1) postMessage({ event: { event: "verified", id: `case ${i}`, problem: null, cases: 3 } });
  postMessage({ verified: { right: 3, wrong: 0, left_out: 0, failures: [] } });
}

onmessage = ({ data }) => {
  if (data.do === "measure") measure(data);
  if (data.do === "verify") verify();
  if (data.do === "interrupt") stopped = true;
  if (data.do === "pause" || data.do === "resume") paused = data.do === "pause";
};
