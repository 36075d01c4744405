// Puts the page together: each section has a module of its own.
import { byId, say } from "./dom.js";
import * as measure from "./measure.js";
import * as project from "./project.js";
import * as records from "./records.js";

records.setUp(project.recordsChanged, project.takeConfig);
byId("project-this").addEventListener("click", () => project.projectRecord(records.firstShown()));

const tell = (id) => (error) => say(id, error.message);
measure.setUp((text) => records.addOwn(text).catch(tell("run-problem"))).catch(tell("run-problem"));
project.setUp().catch(tell("answer-problem"));
records.addEmbedded();
