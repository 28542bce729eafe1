// Looks every second, and does what is asked for.

import { call, forgetToken, get, hasToken, keepToken } from "./api.js";
import * as detail from "./detail.js";
import { $, element, say } from "./dom.js";
import * as views from "./views.js";

const PAUSE = 1000;
const MOST_REQUESTS = 300;
const SERVICES = ["pve", "github"];

const log = { entries: [], next: { pve: null, github: null } };
let timer = 0;
let looking = null;

function tell(text, bad = false) {
  say($("#message"), text);
  $("#message").className = bad ? "bad" : "";
}

async function newRequests(totals) {
  for (const service of SERVICES) {
    const first = log.next[service] ?? Math.max(0, totals[service] - MOST_REQUESTS);
    if (first >= totals[service] && log.next[service] !== null) continue;
    const { items } = await get(`/requests/${service}?first=${first}&limit=1000`);
    log.entries.push(...items.map((entry) => ({ ...entry, service })));
    log.next[service] = first + items.length;
  }
  log.entries.sort((a, b) => a.at - b.at);
  log.entries = log.entries.slice(-4 * MOST_REQUESTS);
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

async function lookOnce() {
  if (!hasToken()) return ask();
  try {
    const search = encodeURIComponent($("#guests-search").value.trim());
    const current = await get(`/state?search=${search}`);
    await newRequests(current.requests);
    show(current);
    await detail.refresh();
    if ($("#message").dataset.lost) { delete $("#message").dataset.lost; tell(""); }
  } catch (error) {
    if (error.status === 401) { forgetToken(); return ask(); }
    $("#message").dataset.lost = "yes";
    tell(error.status ? error.message : "The simulators do not answer: they may have ended.", true);
  }
}

/** Looks now, and then every second while somebody can see it. */
async function look() {
  clearTimeout(timer);
  looking = (looking ?? Promise.resolve()).then(lookOnce);
  await looking;
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, PAUSE);
}

function ask() {
  if (!$("#token-dialog").open) $("#token-dialog").showModal();
}

/** Does something, says what came of it, and looks. */
async function act(work, done = "") {
  try {
    const answer = await work();
    tell(typeof done === "function" ? done(answer) : done);
    return true;
  } catch (error) {
    tell(error.message, true);
    return false;
  } finally {
    await look();
  }
}

const open = (kind, id) => detail.open(kind, id, act).catch((error) => tell(error.message, true));

const change = (path, body, done) => act(() => call("POST", path, body), done);

/** A dialog whose form sends what `read` makes of it; it stays open with what was wrong. */
function sends(dialog, path, read, done) {
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say(problem, "");
    try {
      const answer = await call("POST", path, read(form.elements));
      tell(done(answer));
      dialog.close();
    } catch (error) {
      say(problem, error.message);
    }
    await look();
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

/** Shows the fields that the chosen kind has. */
function depends(form, name) {
  const choose = () => {
    for (const part of form.querySelectorAll(`[data-${name}]`)) part.hidden = part.dataset[name] !== form.elements[name].value;
  };
  form.elements[name].addEventListener("change", choose);
  choose();
}

function wire() {
  const time = $("#time");
  const go = (body, done) => act(() => call("POST", "/clock", body), done);
  time.addEventListener("submit", (event) => {
    event.preventDefault();
    const seconds = number(time.seconds);
    go({ step: { seconds } }, `Stepped by ${seconds} s.`);
  });
  time.run.onclick = () => { if (time.reportValidity()) go({ run: { speed: number(time.speed) } }, `Time runs ${time.speed.value} × as fast as here.`); };
  time.hold.onclick = () => go("hold", "Time stands still.");

  for (const [button, dialog] of [["#open-jobs", "#jobs-dialog"], ["#open-fault", "#fault-dialog"]]) {
    $(button).onclick = () => $(dialog).showModal();
  }
  for (const button of document.querySelectorAll("dialog .cancel")) button.onclick = () => button.closest("dialog").close();
  sends($("#jobs-dialog"), "/jobs", jobs, (answer) => `Queued ${answer.jobs.length === 1 ? "one job" : `${answer.jobs.length} jobs`}.`);
  sends($("#fault-dialog"), "/faults", fault, () => "The rule is in force.");
  for (const name of ["fault", "when"]) depends($("#fault-dialog form"), name);
  $("#clear-faults").onclick = () => act(() => call("DELETE", "/faults"), "No rule is in force any more.");
  $("#repetition").onclick = () => act(async () => {
    const again = await get("/faults/repetition");
    detail.openText("Hits the same calls again, sent to POST /v1/faults", JSON.stringify(again, null, 2));
  });

  $("#token-dialog form").addEventListener("submit", (event) => {
    keepToken(event.target.elements.token.value);
    event.target.reset();
    look();
  });
  $("#token-dialog").addEventListener("cancel", (event) => event.preventDefault());
  $("#guests-search").addEventListener("input", look);
  $("#requests-search").addEventListener("input", look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  addEventListener("hashchange", look);
}

wire();
look();
