// Elements made from text only, so that text from a simulator is never read as HTML.

export const $ = (selector) => document.querySelector(selector);

/** Creates an element with these classes and children. A child that is not an element becomes text. */
export function element(name, classes = "", ...children) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/** Sets the text if it differs, so that an unchanged text keeps its selection. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Returns a word with the kind that gives it a colour. The word alone has the full meaning. */
export function state(word, kind = "") {
  return { text: word, kind };
}

function fill(cell, wanted) {
  const { text = "", kind, classes = "", open, share, title } = wanted;
  cell.className = open ? `open ${classes}` : classes;
  if (share !== undefined) cell.style.setProperty("--share", share);
  if (title !== undefined && cell.title !== title) cell.title = title;
  const wrapper = open ? "BUTTON" : kind === undefined ? null : "SPAN";
  let inner = cell.firstElementChild;
  if (wrapper === null) return setText(cell, text);
  if (inner?.tagName !== wrapper) {
    inner = element(wrapper.toLowerCase());
    if (open) inner.type = "button";
    cell.replaceChildren(inner);
  }
  inner.className = open ? "link" : `state ${kind}`;
  inner.onclick = open ?? null;
  setText(inner, text);
}

/**
 * Shows `rows` in a table. Each is `{ key, cells }`; a cell is text or the argument of `fill`. Existing rows are changed
 * in place, so that focus and scroll position are kept.
 */
export function table(target, rows) {
  const body = target.tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const first = target.dataset.rows === undefined;
  target.dataset.rows = rows.length;
  let place = body.firstElementChild;
  for (const { key, cells } of rows) {
    let row = known.get(String(key));
    known.delete(String(key));
    if (!row) {
      row = element("tr", first ? "" : "new");
      row.dataset.key = key;
      for (const _ of cells) row.append(element("td"));
    }
    cells.forEach((cell, index) => fill(row.cells[index], typeof cell === "object" && cell !== null ? cell : { text: String(cell ?? "") }));
    if (row === place) place = place.nextElementSibling;
    else body.insertBefore(row, place);
  }
  known.forEach((row) => row.remove());
}

/** Shows a list of cards. Each has a name, a text and possibly a state. */
export function cards(target, items) {
  const signature = JSON.stringify(items);
  if (target.dataset.signature === signature) return;
  target.dataset.signature = signature;
  target.replaceChildren(...items.map(({ name, text, word, action }) => {
    const card = element("li", "", element("strong", "", name), element("span", "quiet", text));
    if (word) card.append(element("span", `state ${word.kind}`, word.text));
    if (action) {
      const button = element("button", "small", action.text);
      button.type = "button";
      button.title = action.title;
      button.onclick = action.act;
      card.append(button);
    }
    return card;
  }));
}

export function pairs(entries) {
  const list = element("dl", "pairs");
  for (const [name, value] of entries) list.append(element("dt", "", name), element("dd", "", value));
  return list;
}

/** Returns a number with its noun: "1 guest", "2 guests". */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

const two = (number) => String(Math.floor(number)).padStart(2, "0");

/** Formats a number of seconds. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 && seconds % 1 ? 1 : 0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${two(seconds % 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}:${two((seconds % 3600) / 60)} h`;
  return `${Math.floor(seconds / 86400)} d ${two((seconds % 86400) / 3600)} h`;
}

/** Formats seconds since the epoch as the time of day in UTC. */
export function clock(seconds) {
  const at = new Date(seconds * 1000);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${count < 10 && count % 1 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}
