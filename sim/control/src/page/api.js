// Calls of the control API. The token comes from the part of the address behind "#", and leaves it at once.

const KEPT = "pxci-control-token";

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  sessionStorage.setItem(KEPT, given);
  history.replaceState(null, "", location.pathname);
}

fromAddress();
addEventListener("hashchange", fromAddress);

export const hasToken = () => sessionStorage.getItem(KEPT) !== null;
export const keepToken = (token) => sessionStorage.setItem(KEPT, token);
export const forgetToken = () => sessionStorage.removeItem(KEPT);

export class Refused extends Error {
  constructor(status, error) {
    const place = error?.at ? `${error.at}: ` : "";
    const allowed = error?.allowed ? ` (allowed: ${error.allowed})` : "";
    super(`${place}${error?.what ?? `the server answers ${status}`}${allowed}`);
    this.status = status;
  }
}

export async function call(method, path, body) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(KEPT)}` };
  const response = await fetch(`/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.error);
  return answer;
}

export const get = (path) => call("GET", path);
