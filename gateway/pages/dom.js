// Elements without a library: h("p", {class: "soft"}, "text", other).
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

// The little Markdown that comments in the protos use: paragraphs, lists, indented code, `code`.
export function prose(text) {
  return (text ?? "").split(/\n{2,}/).filter((part) => part.trim()).map((part) => {
    if (part.startsWith("    ")) return h("pre", {}, h("code", {}, part.replace(/^ {4}/gm, "")));
    const [first, ...items] = part.split(/^- /m);
    const list = items.length ? h("ul", {}, items.map((item) => h("li", {}, spans(item.trim())))) : null;
    return [first.trim() ? h("p", {}, spans(first.trim())) : null, list];
  }).flat().filter(Boolean);
}

function spans(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

export function copyButton(text) {
  const button = h("button", { type: "button", onclick: copy }, "Copy");
  async function copy() {
    await navigator.clipboard.writeText(text());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1200);
  }
  return button;
}
