// What survives a reload: one run, in IndexedDB. Where a browser refuses that, the run lives as long as the page.

const NAME = "supernode-bench";
let refused = false;
let memory;

function opened() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("run");
    opening.onerror = () => reject(opening.error);
    opening.onblocked = () => reject(new Error("another tab holds the storage"));
    opening.onsuccess = () => resolve(opening.result);
  });
}

async function request(mode, act) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction("run", mode);
      const asked = act(transaction.objectStore("run"));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? asked.error);
    });
  } finally {
    database.close();
  }
}

/** The run that was kept: { journal, preset }, or undefined. */
export async function load() {
  try {
    return await request("readonly", (runs) => runs.get("current"));
  } catch {
    refused = true;
    return memory;
  }
}

/** Keeps a run. Resolves to a sentence where it does not survive a reload. */
export async function keep(run) {
  memory = run;
  try {
    await request("readwrite", (runs) => runs.put(run, "current"));
    refused = false;
    return undefined;
  } catch (error) {
    refused = true;
    const why = error?.name === "QuotaExceededError" ? "Its storage is full" : "It refuses storage to this page";
    return `This browser cannot keep the run: a reload loses it. ${why}. Leave the tab open, and save the record at the end.`;
  }
}

/** Forgets the run. */
export async function forget() {
  memory = undefined;
  if (refused) return;
  try {
    await request("readwrite", (runs) => runs.delete("current"));
  } catch {
    refused = true;
  }
}
