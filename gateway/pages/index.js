import { copyButton, h } from "/dom.js";

const SERVICES = ["marketdata", "strategy", "order", "risk", "portfolio"];

const dots = new Map();
for (const name of SERVICES) {
  const dot = h("span", { class: "dot" });
  dots.set(name, dot);
  document.querySelector("#services").append(h("div", { class: "card" }, h("b", {}, dot, name)));
}

async function lookAt(name) {
  const answer = await fetch(`/healthz/${name}`).catch(() => ({ ok: false }));
  dots.get(name).className = `dot ${answer.ok ? "good" : "bad"}`;
  dots.get(name).title = answer.ok ? "serving" : "away";
}

function look() {
  SERVICES.forEach(lookAt);
}

look();
setInterval(look, 3000);

// The commands name where this page came from, not where it usually is.
for (const box of document.querySelectorAll(".try")) {
  const code = box.querySelector("code");
  code.textContent = code.textContent.replaceAll("localhost:8080", location.host);
  box.append(copyButton(() => code.textContent));
}

const prices = new Map();

function show(symbol, price) {
  if (!price) return;
  if (!prices.size) document.querySelector("#prices").replaceChildren();
  if (!prices.has(symbol)) {
    const value = h("span", { class: "value" });
    prices.set(symbol, value);
    document.querySelector("#prices").append(h("div", { class: "card" }, h("b", { class: "soft" }, symbol), value));
  }
  prices.get(symbol).textContent = price;
}

// EventSource connects again by itself; the half second bounds the work of a fast replay.
const events = new EventSource("/api/v1/market-data:stream?max_delay=0.5s");
events.onmessage = ({ data }) => {
  const { snapshot, rows } = JSON.parse(data);
  for (const quote of [...(snapshot?.quotes ?? []), ...(rows?.quotes ?? [])]) show(quote.symbol, quote.last_price);
  for (const trade of rows?.trades ?? []) show(trade.symbol, trade.price);
  for (const bar of rows?.bars ?? []) show(bar.symbol, bar.close);
};
