// Pick something, pay, watch it become paid. One page plays both sides: the shop's backend places the order with a
// service token, the customer pays and reads with her own.

import { call, demo, element, money, showProblem, state } from "/pages/common.js";

const main = document.getElementById("main");
const finishing = window.location.pathname.match(/^\/shop\/orders\/([^/]+)\/finish$/);
const settings = await demo();

function choose() {
  const cart = new Map();
  // One order for one basket: a click after a failure pays the same order, and a changed basket changes it.
  const order = `shop-${crypto.randomUUID()}`;
  const summary = element("div", { class: "card", "aria-live": "polite" });
  const problem = element("div");
  const names = { midtrans: "Midtrans: QR, virtual account, card", stripe: "Stripe: card, bank debit", manual: "Bank transfer" };
  const ways = element("fieldset", { class: "ways" }, element("legend", {}, "Pay with"), ...settings.gateways.map((name, number) => {
    const choice = element("input", { type: "radio", name: "gateway", value: name });
    choice.checked = number === 0;
    return element("label", {}, choice, names[name] || name);
  }));
  const products = settings.catalogue.map((product) => {
    const quantity = element("input", { class: "quantity", type: "number", min: "0", max: "99", value: "0", "aria-label": `how many: ${product.name}` });
    quantity.addEventListener("input", () => {
      const units = Math.max(0, Math.min(99, Math.floor(Number(quantity.value) || 0)));
      if (units) cart.set(product.sku, units); else cart.delete(product.sku);
      problem.replaceChildren();
      summarize();
    });
    return element("li", { class: "card" },
      element("h3", {}, product.name),
      element("p", { class: "soft" }, product.variant),
      element("div", { class: "row" }, element("span", { class: "price" }, money(String(product.price), "IDR")), quantity));
  });

  function lines() {
    return settings.catalogue.filter((product) => cart.has(product.sku)).map((product) => ({
      sku: product.sku, name: product.name, variant: product.variant, price: String(product.price), quantity: cart.get(product.sku),
    }));
  }

  function summarize() {
    const items = lines();
    const total = items.reduce((sum, item) => sum + Number(item.price) * item.quantity, 0);
    const pay = element("button", { class: "primary", type: "button", onclick: () => buy(items, pay) }, "Pay");
    if (!items.length) pay.disabled = true;
    summary.replaceChildren(
      ...(items.length ? items.map((item) => element("div", {}, `${item.quantity} × ${item.name}`)) : [element("p", { class: "soft" }, "Nothing picked yet.")]),
      element("div", { class: "total" }, element("span", {}, "Total"), element("span", { class: "price" }, money(String(total), "IDR"))),
      ways,
      element("div", { class: "row" }, pay));
  }

  async function buy(items, button) {
    button.disabled = true;
    button.textContent = "Opening the payment page";
    try {
      await call("PUT", `/api/orders/${order}`, settings.shop_token, { customer: settings.customer, currency: "IDR", items });
      const page = await call("POST", `/api/orders/${order}/pay/`, settings.customer_token, { provider: ways.querySelector("input:checked").value });
      window.location.assign(page.payment_url);
    } catch (error) {
      showProblem(problem, error);
      button.disabled = false;
      button.textContent = "Pay";
    }
  }

  summarize();
  main.replaceChildren(
    element("h2", {}, "Pick something"),
    element("ul", { class: "grid" }, ...products),
    element("h2", {}, "Your order"),
    summary, problem);
}

async function watch(order) {
  const card = element("section", { class: "card", "aria-live": "polite" });
  const trouble = element("div");
  main.replaceChildren(element("h2", {}, "Your order"), card, trouble);
  let seen;
  for (;;) {
    try {
      const wait = seen === undefined ? "" : `?wait=25&seen=${seen}`;
      const payment = await call("GET", `/api/orders/${order}/payment-status/${wait}`, settings.customer_token);
      trouble.replaceChildren();
      show(card, order, payment);
      seen = payment.version;
      if (!["pending", "processing", "authorized"].includes(payment.status)) return;
    } catch (error) {
      showProblem(trouble, error);
      if (error.code && !error.retryable) {
        trouble.append(element("div", { class: "row" }, element("a", { href: "/shop" }, "Back to the shop")));
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

const SAID = {
  success: "Paid. Thank you.",
  pending: "Waiting for your payment.",
  processing: "Your payment is on its way.",
  authorized: "The money is held.",
  expired: "Not paid in time; nothing was taken.",
  cancelled: "The order was cancelled.",
  failed: "That did not work; nothing was taken.",
};

function show(card, order, payment) {
  const declined = payment.last_decline
    ? element("p", { class: "soft" }, `The last try was declined (${payment.last_decline.code}); another may succeed.`)
    : null;
  const again = payment.payment_url
    ? element("div", { class: "row" }, element("a", { href: payment.payment_url }, "Back to the payment page"))
    : null;
  const shown = [
    state(payment.status === "success" ? "paid" : payment.status),
    element("p", { class: "big" }, SAID[payment.status] || "Your payment has changed."),
    element("dl", {},
      element("dt", {}, "Order"), element("dd", { class: "mono" }, order),
      element("dt", {}, "Amount"), element("dd", { class: "price" }, money(payment.amount, payment.currency)),
      element("dt", {}, "Method"), element("dd", {}, (payment.method || "not chosen").replaceAll("_", " ")),
      element("dt", {}, "Paid at"), element("dd", {}, payment.paid_at ? new Date(payment.paid_at).toLocaleString() : "not yet")),
    declined, again,
    element("div", { class: "row" }, element("a", { href: "/shop" }, "Another order")),
  ];
  card.replaceChildren(...shown.filter((part) => part !== null));
}

// Last, because everything above has to be there first.
if (settings === null) {
  main.replaceChildren(
    element("h2", {}, "The shop page belongs to the demo"),
    element("p", {}, "Start it with make run; a service in development has no sample catalogue and no tokens to give away."),
  );
} else if (finishing) {
  await watch(decodeURIComponent(finishing[1]));
} else {
  choose();
}
