// JSON schemas as tables of fields.
import { h, prose } from "/dom.js";

export class Schemas {
  constructor(document) {
    this.named = document.components.schemas;
  }

  resolve(schema) {
    return schema.$ref ? this.named[schema.$ref.split("/").pop()] : schema;
  }

  type(schema) {
    if (schema.$ref) return schema.$ref.split("/").pop().split(".").pop();
    if (schema.type === "array") return `${this.type(schema.items)}[]`;
    if (schema.additionalProperties) return `map of ${this.type(schema.additionalProperties)}`;
    if (schema.format === "int64" || schema.format === "uint64") return `${schema.format}, as a string`;
    return { "date-time": "time" }[schema.format] ?? schema.type ?? "any";
  }

  // A table of an object's fields; what they hold unfolds below them.
  fields(schema, outer = []) {
    const object = this.resolve(schema);
    const required = new Set(object.required);
    const rows = Object.entries(object.properties ?? {}).map(([name, field]) =>
      this.row(name, field, required.has(name), outer));
    return rows.length ? h("table", {}, rows) : h("p", { class: "soft" }, "No fields.");
  }

  row(name, field, required, outer = []) {
    return h("tr", {},
      h("td", { class: "name" }, name, required ? h("span", { class: "needed", title: "required" }, " *") : null,
        h("span", { class: "type" }, this.type(field))),
      h("td", {}, prose(field.description), this.bounds(field), this.inside(field, outer)));
  }

  bounds(schema) {
    const told = [];
    if (schema.minimum !== undefined) told.push(`at least ${schema.minimum}`);
    if (schema.maximum !== undefined) told.push(`at most ${schema.maximum}`);
    if (schema.maxLength !== undefined) told.push(`at most ${schema.maxLength} characters`);
    if (schema.maxItems !== undefined) told.push(`at most ${schema.maxItems} of them`);
    // A 64-bit integer's pattern says only what its type does.
    const { format, pattern } = schema.items ?? schema;
    const shown = pattern && !format;
    return h("span", { class: "soft" }, told.join(", "), told.length && shown ? ", " : "",
      shown ? h("code", {}, pattern) : null);
  }

  inside(schema, outer) {
    const held = schema.items ?? schema;
    const inner = this.resolve(held);
    if (inner.enum && held.$ref) return h("details", { class: "nested" }, h("summary", {}, "values"), prose(inner.description));
    if (!inner.properties || outer.includes(held.$ref)) return null;
    const details = h("details", { class: "nested" }, h("summary", {}, `fields of ${this.type(held)}`));
    // Built when opened: an order holds a hundred fields.
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) {
        details.append(...prose(inner.description), this.fields(held, [...outer, held.$ref]));
      }
    });
    return details;
  }
}
