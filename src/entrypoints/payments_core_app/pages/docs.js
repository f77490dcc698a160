// The OpenAPI document, readable: every operation with its body, its answers and its errors.

import { element } from "/pages/common.js";

const main = document.getElementById("main");
const api = await (await fetch("/schema/openapi.json")).json();

function resolve(schema) {
  return schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function type(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const several = schema.oneOf || schema.anyOf;
  if (several) return several.map(type).join(" or ");
  if (schema.type === "array") return `list of ${type(schema.items)}`;
  return [schema.type].flat().join(" or ") || "any";
}

function fields(schema) {
  const known = resolve((schema?.oneOf || schema?.anyOf || []).find((one) => one.$ref) || schema);
  if (!known?.properties) return "";
  const rows = Object.entries(known.properties).map(([name, field]) => element("tr", {},
    element("td", { class: "mono" }, name),
    element("td", {}, type(field)),
    element("td", { class: "soft" }, (known.required || []).includes(name) ? "" : "optional")));
  return element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, ...rows)));
}

function operation(method, path, told) {
  const body = told.requestBody?.content?.["application/json"]?.schema;
  const good = Object.entries(told.responses).find(([status]) => status.startsWith("2"));
  const answer = good?.[1]?.content?.["application/json"]?.schema;
  const queries = (told.parameters || []).filter((one) => one.in === "query");
  return element("section", { class: "card" },
    element("h3", {}, element("span", { class: "mono" }, `${method.toUpperCase()} ${path}`)),
    element("p", {}, told.summary || ""),
    ...(queries.length ? [element("p", { class: "soft" }, `query: ${queries.map((one) => one.name).join(", ")}`)] : []),
    ...(body ? [element("h4", {}, "Body"), fields(body)] : []),
    ...(answer ? [element("h4", {}, `Answer ${good[0]}`), fields(answer)] : []));
}

const tags = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, told] of Object.entries(methods)) {
    const tag = told.tags?.[0] || "other";
    tags.set(tag, [...(tags.get(tag) || []), operation(method, path, told)]);
  }
}
main.replaceChildren(
  element("p", {}, api.info.description),
  ...[...tags].flatMap(([tag, operations]) => [element("h2", {}, tag), ...operations]));
