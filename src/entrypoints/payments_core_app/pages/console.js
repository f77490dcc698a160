// What happened to one payment, at night: the list, then everything known of one.

import { call, demo, element, money, showProblem, state } from "/pages/common.js";

const main = document.getElementById("main");
let token = (await demo())?.operator_token ?? null;

window.addEventListener("hashchange", () => token && open());
if (token === null) ask(); else await open();

// The address says which payment is shown, so that it can be passed on and gone back from.
function open() {
  const id = window.location.hash.slice(1);
  return id ? one(id) : list();
}

function ask() {
  const field = element("textarea", { rows: "4", autocomplete: "off", spellcheck: "false" });
  const go = element("button", { class: "primary", type: "button", onclick: () => { token = field.value.trim(); open(); } }, "Open");
  main.replaceChildren(
    element("h2", {}, "A token with the scope payments:read"),
    element("p", { class: "soft" }, "payments token --sub you --role operator --scope payments:read"),
    element("label", { class: "field" }, "Token", field), element("div", { class: "row" }, go));
}

async function list() {
  const review = element("input", { type: "checkbox", id: "review" });
  const place = element("div", { class: "scroll" });
  let turn = 0;
  review.addEventListener("change", () => fill());
  main.replaceChildren(
    element("h2", {}, "Payments, newest first"),
    element("div", { class: "row" }, review, element("label", { for: "review" }, "only those that need a person")), place);

  // A cursor belongs to the list it came from, and a slow answer to a question that is still asked.
  async function fill(cursor) {
    const mine = ++turn;
    try {
      const query = new URLSearchParams({ limit: "50", ...(cursor ? { cursor } : {}), ...(review.checked ? { needs_review: "true" } : {}) });
      const found = await call("GET", `/api/payments?${query}`, token);
      if (mine !== turn) return;
      const rows = found.items.map((payment) => element("tr", {},
        element("td", {}, element("a", { href: `#${payment.payment_id}` }, payment.order_id)),
        element("td", {}, state(payment.status)),
        element("td", { class: "price" }, money(payment.amount, payment.currency)),
        element("td", {}, payment.needs_review.join(", ").replaceAll("_", " ")),
        element("td", {}, moment(payment.created_at))));
      const heads = ["Order", "Status", "Amount", "Needs review", "Created"].map((name) => element("th", { scope: "col" }, name));
      const more = found.next_cursor ? element("button", { type: "button", onclick: () => fill(found.next_cursor) }, "Older") : "";
      place.replaceChildren(rows.length
        ? element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows))
        : element("p", { class: "soft" }, "None."), more);
    } catch (error) {
      if (mine === turn) showProblem(place, error);
    }
  }
  await fill();
}

// RFC 3339 without its fraction, as one reads it aloud; every time of the API is UTC.
function moment(at) {
  return `${at.slice(0, 19).replace("T", " ")} UTC`;
}

// Every entry, oldest first: what one looks for is at the end.
async function events(id) {
  const found = [];
  for (let cursor = ""; cursor !== null; ) {
    const page = await call("GET", `/api/payments/${id}/events?limit=200${cursor}`, token);
    found.push(...page.items);
    cursor = page.next_cursor ? `&cursor=${page.next_cursor}` : null;
  }
  return found;
}

async function one(id) {
  const place = element("div");
  main.replaceChildren(element("div", { class: "row" }, element("a", { href: "#" }, "All payments")), place);
  try {
    const payment = await call("GET", `/api/payments/${id}`, token);
    const history = await events(id);
    place.replaceChildren(
      element("h2", {}, `Order ${payment.order_id}`),
      element("div", { class: "card" }, state(payment.status),
        element("dl", {},
          ...pair("Payment", payment.payment_id), ...pair("Amount", money(payment.amount, payment.currency)),
          ...pair("Paid by", payment.paid_by || "nothing yet"), ...pair("Version", String(payment.version)))),
      table("Pages", ["Order id at the gateway", "State", "Ends", "Closing", "Proof"],
        payment.attempts.map((page) => [page.provider_order_id, page.state, moment(page.ends_at), page.closing, page.proof])),
      table("Charges", ["Transaction", "State", "Method", "Amount", "Captured", "Refunded", "Charged back"],
        payment.charges.map((charge) => [charge.transaction_id, charge.good ? charge.state : `${charge.state}, not good`, charge.method,
          ...[charge.amount, charge.captured, charge.refunded, charge.charged_back].map((amount) => `${amount} ${charge.currency}`)])),
      table("Refunds", ["Refund", "State", "Amount", "By", "Reason"],
        payment.refunds.map((refund) => [refund.refund_id, refund.refused ? `refused: ${refund.refused}` : refund.state, `${refund.amount} ${refund.currency}`, refund.by, refund.reason])),
      table("Cases", ["Kind", "Transaction", "State", "Evidence"],
        payment.cases.map((found) => [found.kind, found.transaction_id, found.open ? "open" : decided(found), evidence(found.evidence)])),
      table("History", ["", "When", "What", "Who", "With"],
        history.map((event) => [String(event.sequence), moment(event.at), event.type, event.actor, evidence(event.data)])));
  } catch (error) {
    showProblem(place, error);
  }
}

function pair(name, value) {
  return [element("dt", {}, name), element("dd", { class: "mono" }, value)];
}

function decided(found) {
  return `${found.decision} by ${found.decided_by}${found.note ? `: ${found.note}` : ""}`;
}

function evidence(data) {
  return Object.entries(data).map(([name, value]) => `${name} ${value}`).join(", ");
}

function table(title, heads, rows) {
  if (!rows.length) return "";
  const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", { class: "mono" }, cell ?? ""))));
  return element("section", {}, element("h2", {}, title),
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body))));
}
