// Calls of the control API. The token comes from the part of the address after "#" and is removed from the address.

const TOKEN_KEY = "pxci-control-token";

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  sessionStorage.setItem(TOKEN_KEY, given);
  history.replaceState(null, "", location.pathname);
}

fromAddress();
addEventListener("hashchange", fromAddress);

export const hasToken = () => sessionStorage.getItem(TOKEN_KEY) !== null;
export const storeToken = (token) => sessionStorage.setItem(TOKEN_KEY, token);
export const removeToken = () => sessionStorage.removeItem(TOKEN_KEY);

export class Refused extends Error {
  constructor(status, error) {
    const place = error?.at ? `${error.at}: ` : "";
    const allowed = error?.allowed ? ` (allowed: ${error.allowed})` : "";
    super(`${place}${error?.what ?? `the server answers ${status}`}${allowed}`);
    this.status = status;
  }
}

export async function call(method, path, body) {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(TOKEN_KEY)}` };
  const response = await fetch(`/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.error);
  return answer;
}

export const get = (path) => call("GET", path);
