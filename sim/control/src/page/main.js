// Polls the simulators every second and carries out the user's actions.

import { call, get, hasToken, removeToken, storeToken } from "./api.js";
import * as detail from "./detail.js";
import { $, element, setText } from "./dom.js";
import * as views from "./views.js";

const POLL_INTERVAL = 1000;
const MAX_REQUESTS = 300;
const SERVICES = ["pve", "github"];

const log = { entries: [], next: { pve: null, github: null } };
let timer = 0;
let polling = null;

function showMessage(text, bad = false) {
  setText($("#message"), text);
  $("#message").className = bad ? "bad" : "";
}

async function newRequests(totals) {
  for (const service of SERVICES) {
    const first = log.next[service] ?? Math.max(0, totals[service] - MAX_REQUESTS);
    if (first >= totals[service] && log.next[service] !== null) continue;
    const { items } = await get(`/requests/${service}?first=${first}&limit=1000`);
    log.entries.push(...items.map((entry) => ({ ...entry, service })));
    log.next[service] = first + items.length;
  }
  log.entries.sort((a, b) => a.at - b.at);
  log.entries = log.entries.slice(-4 * MAX_REQUESTS);
}

function show(current) {
  views.header(current);
  views.nodes(current, change);
  views.guests(current, open);
  views.tasks(current, open);
  views.jobs(current, open);
  views.runners(current);
  views.faults(current);
  views.requests(log.entries, current.requests);
  const known = current.github.repositories.map((name) => { const option = element("option"); option.value = name; return option; });
  $("#repositories").replaceChildren(...known);
}

async function pollOnce() {
  if (!hasToken()) return ask();
  try {
    const search = encodeURIComponent($("#guests-search").value.trim());
    const current = await get(`/state?search=${search}`);
    await newRequests(current.requests);
    show(current);
    await detail.refresh();
    if ($("#message").dataset.lost) { delete $("#message").dataset.lost; showMessage(""); }
  } catch (error) {
    if (error.status === 401) { removeToken(); return ask(); }
    $("#message").dataset.lost = "yes";
    showMessage(error.status ? error.message : "The simulators do not answer: they may have ended.", true);
  }
}

/** Polls now, and then every second while the page is visible. */
async function poll() {
  clearTimeout(timer);
  polling = (polling ?? Promise.resolve()).then(pollOnce);
  await polling;
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, POLL_INTERVAL);
}

function ask() {
  if (!$("#token-dialog").open) $("#token-dialog").showModal();
}

/** Carries out an action, shows its result, and polls. */
async function act(work, done = "") {
  try {
    const answer = await work();
    showMessage(typeof done === "function" ? done(answer) : done);
    return true;
  } catch (error) {
    showMessage(error.message, true);
    return false;
  } finally {
    await poll();
  }
}

const open = (kind, id) => detail.open(kind, id, act).catch((error) => showMessage(error.message, true));

const change = (path, body, done) => act(() => call("POST", path, body), done);

/** Makes a dialog's form send the result of `read`. After an error the dialog stays open and shows the error. */
function sendOnSubmit(dialog, path, read, done) {
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setText(problem, "");
    try {
      const answer = await call("POST", path, read(form.elements));
      showMessage(done(answer));
      dialog.close();
    } catch (error) {
      setText(problem, error.message);
    }
    await poll();
  });
}

const number = (input) => Number(input.value);

function fault(fields) {
  const kinds = {
    refuse: () => ({ refuse: { status: number(fields.status), text: fields.text.value } }),
    delay: () => ({ delay: { seconds: number(fields.seconds) } }),
    cut: () => ({ cut: { after: number(fields.after) } }),
  };
  const kind = fields.fault.value;
  const when = fields.when.value;
  return {
    service: fields.service.value,
    method: fields.method.value,
    path: fields.path.value.trim(),
    fault: kinds[kind]?.() ?? kind,
    when: { [when]: number(fields[when]) },
  };
}

function jobs(fields) {
  const words = (text, by) => text.split(by).map((word) => word.trim()).filter(Boolean);
  return {
    repository: fields.repository.value.trim(),
    labels: words(fields.labels.value, ","),
    name: fields.name.value.trim(),
    count: number(fields.count),
    steps: words(fields.steps.value, "\n"),
  };
}

/** Shows only the fields of the chosen kind. */
function showFieldsOf(form, name) {
  const choose = () => {
    for (const part of form.querySelectorAll(`[data-${name}]`)) part.hidden = part.dataset[name] !== form.elements[name].value;
  };
  form.elements[name].addEventListener("change", choose);
  choose();
}

function addListeners() {
  const time = $("#time");
  const go = (body, done) => act(() => call("POST", "/clock", body), done);
  time.addEventListener("submit", (event) => {
    event.preventDefault();
    const seconds = number(time.seconds);
    go({ step: { seconds } }, `Stepped by ${seconds} s.`);
  });
  time.run.onclick = () => { if (time.reportValidity()) go({ run: { speed: number(time.speed) } }, `Time runs ${time.speed.value} × as fast as real time.`); };
  time.hold.onclick = () => go("hold", "Time stands still.");

  for (const [button, dialog] of [["#open-jobs", "#jobs-dialog"], ["#open-fault", "#fault-dialog"]]) {
    $(button).onclick = () => $(dialog).showModal();
  }
  for (const button of document.querySelectorAll("dialog .cancel")) button.onclick = () => button.closest("dialog").close();
  sendOnSubmit($("#jobs-dialog"), "/jobs", jobs, (answer) => `Queued ${answer.jobs.length === 1 ? "one job" : `${answer.jobs.length} jobs`}.`);
  sendOnSubmit($("#fault-dialog"), "/faults", fault, () => "The rule is in force.");
  for (const name of ["fault", "when"]) showFieldsOf($("#fault-dialog form"), name);
  $("#clear-faults").onclick = () => act(() => call("DELETE", "/faults"), "No rule is in force any more.");
  $("#repetition").onclick = () => act(async () => {
    const again = await get("/faults/repetition");
    detail.openText("Hits the same calls again, sent to POST /v1/faults", JSON.stringify(again, null, 2));
  });

  $("#token-dialog form").addEventListener("submit", (event) => {
    storeToken(event.target.elements.token.value);
    event.target.reset();
    poll();
  });
  $("#token-dialog").addEventListener("cancel", (event) => event.preventDefault());
  $("#guests-search").addEventListener("input", poll);
  $("#requests-search").addEventListener("input", poll);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  addEventListener("hashchange", poll);
}

addListeners();
poll();
