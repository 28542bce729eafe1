// The contents of each table.

import { $, bytes, cards, clock, count, duration, setText, state, table } from "./dom.js";

const NAMES = { pve: "Proxmox VE", github: "GitHub" };
const MAX_REQUESTS = 300;
/** Space between a method and its path, where a long line does not break. */
const NO_BREAK_SPACE = "\u00a0";

const power = { running: "good", stopped: "", paused: "wait" };

export function header(current) {
  const { pve, clock: time } = current;
  setText($("#version"), pve.version.version ?? pve.version.release);
  setText($("#seed"), String(pve.seed));
  setText($("#now"), clock(pve.now));
  setText($("#elapsed"), `after ${time.elapsed < 1 ? "0 s" : duration(time.elapsed)}`);
  setText($("#mode"), { real: "real time", held: "held", running: `running ${time.speed} ×` }[time.mode]);
  $("#time").hidden = time.mode === "real";
  $("#time").hold.disabled = time.mode !== "running";
}

export function nodes({ pve }, change) {
  cards($("#nodes"), pve.nodes.map((node) => ({
    name: node.node,
    text: `${count(node.cores, "core")}, ${bytes(node.memory)}; ${count(node.guests, "guest")}, ${node.running} running`,
    word: node.online ? undefined : state("off", "bad"),
    action: node.online
      ? { text: "Cut power", title: `Cut the power of ${node.node}`, act: () => change(`/nodes/${encodeURIComponent(node.node)}/away`, undefined, `The power of ${node.node} is cut.`) }
      : { text: "Boot", title: `Boot ${node.node}`, act: () => change(`/nodes/${encodeURIComponent(node.node)}/back`, undefined, `${node.node} boots.`) },
  })));
  cards($("#storages"), pve.storages.map((storage) => {
    const free = storage.places.reduce((sum, place) => sum + place.free, 0);
    const path = `/storages/${encodeURIComponent(storage.storage)}/fill`;
    const fill = () => storage.places.forEach(({ node }) => change(path, { node, free: 0 }, `${storage.storage} is full.`));
    return {
      name: storage.storage,
      text: `${storage.type}${storage.shared ? ", shared" : ""}; ${count(storage.volumes, "volume")}, ${bytes(free)} free`,
      word: storage.enabled ? (free === 0 ? state("full", "bad") : undefined) : state("disabled", "wait"),
      action: free === 0 ? undefined : { text: "Fill", title: `Leave no free space on ${storage.storage}`, act: fill },
    };
  }));
}

export function guests({ pve }, open) {
  setText($("#guests-count"), String(pve.guests.total));
  table($("#guests"), pve.guests.items.map((guest) => {
    const kind = `${guest.type === "lxc" ? "container" : "VM"}${guest.template ? ", template" : ""}`;
    const word = guest.lock ? state(`locked: ${guest.lock}`, "wait") : state(guest.status, power[guest.status]);
    return {
      key: guest.vmid,
      cells: [
        { text: String(guest.vmid), open: () => open("guest", guest.vmid) },
        { text: guest.name, classes: "code" },
        { text: kind, classes: "nowrap" },
        guest.node,
        word,
        { text: duration(guest.uptime), classes: "nowrap" },
        { text: guest.console ?? "", classes: "line", title: guest.console ?? "" },
      ],
    };
  }));
}

function end(task) {
  if (task.end === null) return state("running", "busy");
  if (task.status === "OK") return state("OK", "good");
  return state(task.status, task.status.startsWith("WARNINGS") ? "wait" : "bad");
}

export function tasks({ pve }, open) {
  setText($("#tasks-count"), String(pve.tasks.total));
  table($("#tasks"), pve.tasks.items.map((task) => ({
    key: task.upid,
    cells: [
      { text: task.type, open: () => open("task", task.upid) },
      task.id,
      task.node,
      { text: task.user, classes: "code nowrap" },
      { text: clock(task.start), classes: "nowrap" },
      { text: duration((task.end ?? pve.now) - task.start), classes: "nowrap" },
      { ...end(task), title: task.status ?? "" },
    ],
  })));
}

function progress(job) {
  if (job.state !== "completed") return state(job.state.replace("_", " "), job.state === "queued" ? "wait" : "busy");
  return state(job.conclusion, { success: "good", failure: "bad" }[job.conclusion] ?? "");
}

export function jobs({ github }, open) {
  setText($("#jobs-count"), String(github.jobs.total));
  table($("#jobs"), github.jobs.items.map((job) => ({
    key: job.id,
    cells: [
      { text: job.name, open: () => open("job", job.id) },
      job.repository,
      progress(job),
      { text: job.runner ?? "", classes: "code" },
      { text: duration((job.completed ?? github.now) - job.queued), classes: "nowrap" },
    ],
  })));
}

export function runners({ github }) {
  setText($("#runners-count"), String(github.runners.total));
  table($("#runners"), github.runners.items.map((runner) => ({
    key: runner.id,
    cells: [
      { text: runner.name, classes: "code" },
      runner.scope.name,
      runner.labels.join(", "),
      runner.job !== null ? state("busy", "busy") : runner.online ? state("idle", "good") : state("offline"),
    ],
  })));
}

const WORDS = {
  drop_request: "request lost",
  drop_reply: "answer lost",
  restart: "restart",
  daemon_stopped: "pvedaemon stopped",
  daemon_dies: "pvedaemon dies",
  kill_task: "task killed",
  cut_power: "power cut",
};

export function faultText(fault) {
  if (typeof fault === "string") return WORDS[fault];
  if (fault.refuse) return `refused: ${fault.refuse.status} ${fault.refuse.text}`;
  if (fault.delay) return `later by ${duration(fault.delay.seconds)}`;
  return `cut after ${fault.cut.after} bytes`;
}

function whenText(when) {
  if (when.chance !== undefined) return `each with ${when.chance}`;
  if (when.calls) return `calls ${when.calls.join(", ") || "none"}`;
  return when.next === 0 ? state("used up") : `the next ${when.next}`;
}

const service = (name) => ({ text: NAMES[name], classes: "nowrap" });

const callText = (rule) => ({ text: `${rule.method === "*" ? "any" : rule.method}${NO_BREAK_SPACE}${rule.path}`, classes: "code" });

export function faults({ faults: { rules, fired } }) {
  setText($("#faults-count"), `${fired.length} fired`);
  table($("#rules"), rules.map((rule, index) => ({
    key: index,
    cells: [service(rule.service), callText(rule), { text: faultText(rule.fault), classes: "text" }, whenText(rule.when), { text: String(rule.calls), classes: "number" }],
  })));
  table($("#fired"), fired.slice(-100).reverse().map((fault) => ({
    key: `${fault.service} ${fault.rule} ${fault.when.calls[0]}`,
    cells: [service(fault.service), callText(fault), { text: faultText(fault.fault), classes: "text" }, `no. ${fault.rule + 1}`, { text: String(fault.when.calls[0]), classes: "number" }],
  })));
}

function answered(status) {
  if (status === 0) return state("no answer", "bad");
  return state(String(status), status >= 500 ? "bad" : status >= 400 ? "wait" : "good");
}

export function requests(entries, totals) {
  const needle = $("#requests-search").value.trim().toLowerCase();
  setText($("#requests-count"), String(totals.pve + totals.github));
  const fits = (entry) => !needle || `${entry.method} ${entry.path} ${entry.caller} ${entry.status}`.toLowerCase().includes(needle);
  const shown = entries.filter(fits).slice(-MAX_REQUESTS).reverse();
  const longest = Math.max(0.001, ...shown.map((entry) => entry.took));
  table($("#requests"), shown.map((entry) => ({
    key: `${entry.service} ${entry.number}`,
    cells: [
      { text: duration(entry.at), classes: "nowrap" },
      { text: NAMES[entry.service], classes: "nowrap" },
      { text: `${entry.method}${NO_BREAK_SPACE}${entry.path.replace(/^\/api2\/json/, "")}`, classes: "code path", title: entry.path },
      { text: entry.caller, classes: "code nowrap" },
      answered(entry.status),
      { text: tookText(entry), classes: "number bar", share: entry.took / longest },
    ],
  })));
}

function tookText(entry) {
  const took = `${(entry.took * 1000).toFixed(entry.took < 0.1 ? 1 : 0)} ms`;
  return entry.waited > 0 ? `${took}, held ${duration(entry.waited)}` : took;
}
