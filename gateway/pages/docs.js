// The reference, drawn from the OpenAPI document.
import { h, prose } from "/dom.js";
import { requestForm } from "/request.js";
import { Schemas } from "/schema.js";

const answer = await fetch("/openapi.json");
const openapi = await answer.json();
const schemas = new Schemas(openapi);
const operations = Object.entries(openapi.paths).flatMap(([path, verbs]) =>
  Object.entries(verbs).map(([verb, operation]) => ({
    ...operation,
    path,
    verb: verb.toUpperCase(),
    tag: operation.tags[0],
    stream: "text/event-stream" in (operation.responses["200"].content ?? {}),
  })));
// Further ways to an RPC are named `…_2`; they are told with its own.
const isAlias = (operation) => /_\d+$/.test(operation.operationId);
const aliasesOf = (operation) => operations.filter((other) => isAlias(other) && other.operationId.replace(/_\d+$/, "") === operation.operationId);

function verb(operation) {
  return h("span", { class: `verb ${operation.verb.toLowerCase()}` }, operation.verb);
}

function rpc(operation) {
  return operation.operationId.split("_")[1];
}

function draw(operation) {
  const inside = h("div", { class: "inside" });
  const card = h("details", { class: "operation", id: operation.operationId },
    h("summary", {}, verb(operation), h("span", { class: "path" }, operation.path),
      operation.stream ? h("span", { class: "stream" }, "stream") : null, h("span", { class: "soft" }, operation.summary)),
    inside);
  card.addEventListener("toggle", () => {
    if (card.open && !inside.children.length) inside.append(...explain(operation));
  });
  return card;
}

function explain(operation) {
  const parts = operation.description.split(/\n{2,}(?= {4})/);
  const example = (parts[1] ?? "").replace(/^ {4}/gm, "");
  const shown = [h("p", { class: "soft" }, "gRPC: ", h("code", {}, `tickmesh.${operation.tag}/${rpc(operation)}`)), ...prose(parts[0])];
  const aliases = aliasesOf(operation);
  if (aliases.length) {
    shown.push(h("p", {}, "Also as ", aliases.map((alias, index) => [index ? ", " : "", h("code", {}, `${alias.verb} ${alias.path}`)]).flat(), "."));
  }
  shown.push(h("h4", {}, "Try it"), requestForm(operation, example));
  if (operation.parameters) {
    const rows = operation.parameters.map((parameter) =>
      schemas.row(parameter.name, { ...parameter.schema, description: parameter.description }, parameter.required));
    shown.push(h("h4", {}, "Parameters"), h("table", {}, rows));
  }
  const body = operation.requestBody?.content["application/json"].schema;
  if (body) shown.push(h("h4", {}, "Body"), ...prose(schemas.resolve(body).description), schemas.fields(body));
  const [result] = Object.values(operation.responses["200"].content);
  const title = `${operation.stream ? "Each event" : "Answer"}: ${schemas.type(result.schema)}`;
  shown.push(h("h4", {}, title), ...prose(schemas.resolve(result.schema).description), schemas.fields(result.schema));
  shown.push(h("h4", {}, "Failures"), failures(operation));
  return shown;
}

function failures(operation) {
  const rows = Object.entries(operation.responses).flatMap(([status, response]) =>
    Object.keys(response.content?.["application/json"].examples ?? {}).map((reason) => {
      const { summary, value } = openapi.components.examples[reason];
      return h("tr", {}, h("td", { class: "name" }, reason, h("span", { class: "type" }, `HTTP ${status}`)),
        h("td", {}, prose(summary), h("details", { class: "nested" }, h("summary", {}, "sample"),
          h("pre", {}, h("code", {}, JSON.stringify(value, null, 2))))));
    }));
  return rows.length ? h("table", {}, rows) : h("p", { class: "soft" }, "None of its own.");
}

function section(tag) {
  const own = operations.filter((operation) => operation.tag === tag.name && !isAlias(operation));
  return h("section", { id: tag.name }, h("h2", {}, tag.name.split(".").pop()), prose(tag.description), own.map(draw));
}

function contents(wanted) {
  const words = wanted.toLowerCase().split(/\s+/);
  return openapi.tags.map((tag) => {
    const found = operations.filter((operation) => {
      const text = `${operation.verb} ${operation.path} ${rpc(operation)} ${operation.summary} ${operation.stream ? "stream" : ""}`.toLowerCase();
      return operation.tag === tag.name && !isAlias(operation) && words.every((word) => text.includes(word));
    });
    if (!found.length) return [];
    return [h("h4", {}, tag.name.split(".").pop()), ...found.map((operation) => h("a", { href: `#${operation.operationId}` }, verb(operation), rpc(operation)))];
  }).flat();
}

function openTarget() {
  const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (card instanceof HTMLDetailsElement) {
    card.open = true;
    card.scrollIntoView();
  }
}

const index = document.querySelector("#index");
const search = document.querySelector("#search");
search.addEventListener("input", () => index.replaceChildren(...contents(search.value)));
index.replaceChildren(...contents(""));
document.querySelector("#reference").replaceChildren(
  h("h1", {}, `${openapi.info.title} ${openapi.info.version}`), ...prose(openapi.info.description),
  h("p", {}, h("a", { href: "/openapi.json" }, "openapi.json")), ...openapi.tags.map(section));
addEventListener("hashchange", openTarget);
openTarget();
