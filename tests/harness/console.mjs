// The console without a browser: as much of a document as it touches, an API that answers from a table, and its script.
// Usage: node console.mjs SCRIPT; the question is JSON on standard input, the answer JSON on standard output.

import { readFileSync } from "node:fs";

const { hash, answers, acts } = JSON.parse(readFileSync(0, "utf8"));

class Element {
  constructor(tag) { Object.assign(this, { tag, children: [], attributes: {}, heard: {}, checked: false }); }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  addEventListener(name, listener) { this.heard[name] = listener; }
  get text() { return this.children.map((child) => child?.text ?? String(child)).join(this.tag === "tr" ? " | " : "\n"); }
  find(wanted) { return wanted(this) ? this : this.children.map((child) => child?.find?.(wanted)).find(Boolean); }
}

const main = new Element("main");
const asked = [];
globalThis.document = { getElementById: () => main, createElement: (tag) => new Element(tag) };
globalThis.window = { location: { hash }, addEventListener: () => {} };
globalThis.fetch = async (path) => {
  asked.push(path);
  const said = answers[path];
  return { ok: said !== undefined, status: said === undefined ? 404 : 200, json: async () => said ?? { detail: "no such thing" } };
};

await import(process.argv[2]);
for (const act of acts) {
  if (act === "review") {
    const box = main.find((one) => one.attributes.id === "review");
    box.checked = !box.checked;
    await box.heard.change();
  } else {
    await main.find((one) => one.tag === "button" && one.text === act).heard.click();
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
}
console.log(JSON.stringify({ asked, text: main.text }));
