// A form that makes a request: the same as curl, or sent from here.
import { copyButton, h } from "/dom.js";

const MAX_LINES = 200;

export function requestForm(operation, example) {
  const parameters = operation.parameters ?? [];
  const inputs = new Map(parameters.map((parameter) => [parameter, h("input", { placeholder: placeholder(parameter) })]));
  const body = operation.requestBody ? h("textarea", { spellcheck: "false" }) : null;
  fill(operation, example, inputs, body);

  const command = h("code", {});
  const answer = h("pre", { class: "answer", hidden: true }, h("code", {}));
  const state = h("span", { class: "soft" });
  const send = h("button", { class: "main", type: "button" }, operation.stream ? "Subscribe" : "Send");
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  let sent = null;

  const target = () => {
    let path = operation.path;
    const query = [];
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else for (const value of input.value.split(/\s+/).filter(Boolean)) query.push(`${parameter.name}=${encodeURIComponent(value)}`);
    }
    return query.length ? `${path}?${query.join("&")}` : path;
  };
  const refresh = () => {
    const parts = ["curl"];
    if (operation.stream) parts.push("-N");
    if (operation.verb !== (body ? "POST" : "GET")) parts.push("-X", operation.verb);
    parts.push(quote(location.origin + target()));
    if (body) parts.push("-d", quote(body.value));
    command.textContent = parts.join(" ");
  };
  const run = async () => {
    sent?.abort();
    sent = new AbortController();
    stop.hidden = !operation.stream;
    answer.hidden = false;
    answer.firstChild.textContent = "";
    state.textContent = "…";
    try {
      await call(sent.signal);
    } catch (error) {
      if (error.name !== "AbortError") state.textContent = error.message;
    }
    stop.hidden = true;
  };
  const call = async (signal) => {
    const began = performance.now();
    const response = await fetch(target(), { method: operation.verb, body: body?.value, signal });
    state.textContent = `${response.status} in ${Math.round(performance.now() - began)} ms`;
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) await follow(response, answer.firstChild);
    else answer.firstChild.textContent = pretty(await response.text());
  };
  send.addEventListener("click", run);
  stop.addEventListener("click", () => sent?.abort());
  for (const input of [...inputs.values(), body].filter(Boolean)) input.addEventListener("input", refresh);
  refresh();

  const labels = [...inputs].map(([parameter, input]) => h("label", {}, `${parameter.name}${parameter.required ? " *" : ""}`, input));
  return h("div", { class: "form" }, labels, body,
    h("div", { class: "try" }, h("pre", {}, command), copyButton(() => command.textContent)),
    h("div", { class: "buttons" }, send, stop, state), answer);
}

function placeholder(parameter) {
  if (parameter.schema.type === "array") return "several, parted by spaces";
  return parameter.schema.type === "boolean" ? "true or false" : "";
}

// The worked example of the RPC's comment: `POST /api/v1/orders` and a body.
function fill(operation, example, inputs, body) {
  const [, target = "", json = ""] = example.match(/^[A-Z]+ (\S+)\s*([^]*)$/) ?? [];
  if (body) {
    body.value = pretty(json.trim() || "{}");
    body.rows = body.value.split("\n").length + 1;
  }
  const [path, query = ""] = target.split("?");
  const values = path.match(new RegExp(`^${operation.path.replace(/\{\w+\}/g, "([^/:]+)")}$`))?.slice(1) ?? [];
  const asked = new URLSearchParams(query);
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") input.value = decodeURIComponent(values.shift() ?? "");
    else input.value = asked.getAll(parameter.name).join(" ");
  }
}

async function follow(response, output) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let lines = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    lines = (lines.join("\n") + value).split("\n").slice(-MAX_LINES);
    output.textContent = lines.join("\n");
    output.parentElement.scrollTop = output.parentElement.scrollHeight;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
