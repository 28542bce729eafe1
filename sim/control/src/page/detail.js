// The dialog with all details of one guest, task or job. It is updated while it is open.

import { call, get } from "./api.js";
import { $, bytes, clock, duration, element, pairs, setText } from "./dom.js";

const dialog = $("#detail");
let shown = null;

const PATHS = { guest: "/guests/", task: "/tasks/", job: "/jobs/" };

/** Opens the dialog. `act` carries out the calls of its buttons. */
export async function open(kind, id, act) {
  shown = { kind, id, signature: "", act };
  setText($("#t-detail"), `${id}`);
  $("#detail-actions").replaceChildren();
  $("#detail-body").replaceChildren();
  if (!dialog.open) dialog.showModal();
  try {
    await refresh();
  } catch (error) {
    dialog.close();
    throw error;
  }
}

/** Shows a text that is not about a guest, task or job. */
export function openText(title, text) {
  shown = null;
  setText($("#t-detail"), title);
  $("#detail-actions").replaceChildren();
  $("#detail-body").replaceChildren(element("pre", "", text));
  dialog.showModal();
}

// The event comes after the dialog has closed, when it may already show something else.
dialog.addEventListener("close", () => { if (!dialog.open) shown = null; });

export async function refresh() {
  const wanted = shown;
  if (!wanted) return;
  const details = await get(PATHS[wanted.kind] + encodeURIComponent(wanted.id)).catch((error) => {
    if (error.status === 404) return null;
    throw error;
  });
  if (shown !== wanted) return;
  const signature = JSON.stringify(details);
  if (signature === wanted.signature) return;
  wanted.signature = signature;
  if (details === null) return $("#detail-body").replaceChildren(element("p", "quiet", "This no longer exists."));
  const { title, parts, buttons = [] } = { guest, task, job }[wanted.kind](details);
  setText($("#t-detail"), title);
  $("#detail-actions").replaceChildren(...buttons.map(({ text, path }) => {
    const button = element("button", "", text);
    button.type = "button";
    button.onclick = () => wanted.act(() => call("POST", path));
    return button;
  }));
  $("#detail-body").replaceChildren(...parts);
}

const heading = (text) => element("h3", "", text);

const lines = (all, none) => (all.length ? element("pre", "", all.join("\n")) : element("p", "quiet", none));

function guest(guest) {
  const facts = [
    ["state", guest.lock ? `${guest.status}, locked: ${guest.lock}` : guest.status],
    ["node", guest.node],
    ["pool", guest.pool ?? "none"],
    ["cores, memory", `${guest.cores}, ${bytes(guest.memory)}`],
  ];
  if (guest.uptime !== null) facts.push(["up for", duration(guest.uptime)]);
  if (guest.type === "qemu") facts.push(["guest agent", guest.agent ? "answers" : "does not answer"]);
  const pending = Object.entries(guest.pending).map(([key, value]) => [key, value ?? "is deleted"]);
  const parts = [pairs(facts), heading("Console"), lines(guest.console, "The console has no output."), heading("Configuration"), pairs(Object.entries(guest.config))];
  if (pending.length) parts.push(heading("Pending until the next start"), pairs(pending));
  return { title: `${guest.type === "lxc" ? "Container" : "VM"} ${guest.vmid}, ${guest.name}`, parts };
}

function task(task) {
  const facts = [["UPID", task.upid], ["user", task.user], ["start", `${clock(task.start)} UTC`], ["end", task.end === null ? "still running" : `${clock(task.end)} UTC, ${task.status}`]];
  if (task.waited > 0) facts.push(["waited", duration(task.waited)]);
  return { title: `${task.type} ${task.id}`, parts: [pairs(facts), heading("Log"), lines(task.log, "Nothing yet.")] };
}

function job(job) {
  const facts = [
    ["repository", job.repository],
    ["run, attempt", `${job.run}, ${job.attempt}`],
    ["labels", job.labels.join(", ")],
    ["runner", job.runner ?? "none yet"],
  ];
  const events = job.events.map((event) => [clock(event.at), event.what]);
  const parts = [pairs(facts), heading("Events"), pairs(events), heading("Steps"), lines(job.steps.map(step => typeof step === "string" ? step : `if ${step.if}: ${step.run}`), "None."), heading("Log"), lines(job.log ? [job.log] : [], "The runner has not written any output.")];
  const path = `/jobs/${job.id}`;
  const buttons = job.state === "completed" ? [{ text: "Run again", path: `${path}/rerun` }] : [{ text: "Cancel the job", path: `${path}/cancel` }];
  return { title: `Job ${job.name}`, parts, buttons };
}
