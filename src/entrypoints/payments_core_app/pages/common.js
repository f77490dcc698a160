// Shared by the pages: elements by hand, the API by fetch, problems as text. No cookies, nothing stored but a token
// for this tab.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (name === "class") made.className = value;
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export class Problem extends Error {
  constructor(body) {
    super(body.detail || body.title || "something went wrong");
    this.code = body.code;
    this.retryable = body.retryable === true;
  }
}

export async function call(method, path, token, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Problem(said);
  return said;
}

export async function demo() {
  const answer = await fetch("/shop/demo.json");
  return answer.ok ? answer.json() : null;
}

export function money(amount, currency) {
  const digits = amount.includes(".") ? amount.split(".")[1].length : 0;
  return new Intl.NumberFormat("id-ID", { style: "currency", currency, minimumFractionDigits: digits }).format(Number(amount));
}

const TONES = {
  success: "good", paid: "good", pending: "wait", processing: "wait", authorized: "wait",
  failed: "bad", expired: "bad", cancelled: "bad", charged_back: "bad",
};

export function state(word) {
  return element("span", { class: `state ${TONES[word] || "wait"}` }, word.replaceAll("_", " "));
}

export function showProblem(place, error) {
  place.replaceChildren(element("p", { class: "problem", role: "alert" }, `${error.message}${error.code ? ` (${error.code})` : ""}`));
}
