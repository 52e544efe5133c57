/* Small readings of a table without a kernel.

   <div class="slider-table" data-kind="layers|pairs"> holds rows as JSON.  "layers": a part of a model and a
   slider over its layers give alignment per region.  "pairs": two instructions give what each explains alone and
   what both explain, per region.  Controls are select[name] and input[name=layer]; the result is a table. */
(() => {
  "use strict";
  function element(tag, attributes = {}, ...children) {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  }
  const unique = (values) => [...new Set(values)];

  class Reading {
    constructor(root) {
      this.data = JSON.parse(root.querySelector("script").textContent);
      this.controls = element("div", { className: "viewer-controls" });
      this.result = element("table", { className: "bars" });
      this.said = element("caption");
      this.choices = {};
      root.append(this.controls, this.result);
    }

    choose(name, title, values, first = 0) {
      const select = element("select", { name }, ...values.map((v) => element("option", { value: v, textContent: this.data.titles?.[v] ?? v })));
      select.selectedIndex = Math.max(first, 0);
      select.onchange = () => this.show();
      this.choices[name] = select;
      this.controls.append(element("label", {}, element("span", { textContent: title }), select));
    }

    /* rows of [title, value, note]; bars from zero, to the left where negative */
    bars(caption, head, rows) {
      const size = Math.max(...this.data.range.map(Math.abs)), low = Math.min(0, this.data.range[0]) / size;
      const span = 1 - low;
      this.said.textContent = caption;
      const body = rows.map(([title, value, note]) => {
        const bar = element("span", { className: "bar" });
        bar.style.left = `${(100 * (Math.min(value, 0) / size - low)) / span}%`;
        bar.style.width = `${(100 * Math.abs(value)) / size / span}%`;
        const cell = element("td", { className: "bar-cell" }, bar);
        return element("tr", {}, element("th", { scope: "row", textContent: title }), element("td", { textContent: Number.isFinite(value) ? value.toFixed(this.data.digits) : "undefined" }), cell, ...(note === undefined ? [] : [element("td", { className: "note", textContent: note })]));
      });
      const heads = head.map((text) => element("th", { scope: "col", textContent: text }));
      this.result.replaceChildren(this.said, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
    }
  }

  class Layers extends Reading {
    constructor(root) {
      super(root);
      this.choose("model", "Model", unique(this.data.rows.map((r) => r.model)));
      this.choose("component", "Part of the model", []);
      this.layer = element("input", { type: "range", name: "layer", min: 0, step: 1 });
      this.layer.oninput = () => this.show();
      this.layerSaid = element("span");
      this.controls.append(element("label", { className: "wide" }, this.layerSaid, this.layer));
      this.choices.model.onchange = () => { this.parts(); this.show(); };
      this.choices.component.onchange = () => { this.layers(); this.show(); };
      this.parts();
      this.show();
    }

    get own() {
      const { model, component } = this.choices;
      return this.data.rows.filter((r) => r.model === model.value && (!component.value || r.component === component.value));
    }

    parts() {
      const { model, component } = this.choices, before = component.value;
      const names = unique(this.data.rows.filter((r) => r.model === model.value).map((r) => r.component));
      component.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
      component.value = names.includes(before) ? before : names[names.length - 1];
      this.layers();
    }

    layers() {
      const last = Math.max(...this.own.map((r) => r.layer));
      this.layer.max = last;
      this.layer.value = last;
    }

    show() {
      const layer = Number(this.layer.value), rows = this.own.filter((r) => r.layer === layer);
      this.layerSaid.textContent = `Layer ${layer} of ${this.layer.max}`;
      const shown = rows.filter((r) => r.subject === "all").map((r) => {
        const each = rows.filter((s) => s.roi === r.roi && s.subject !== "all").map((s) => `${s.subject}: ${s.value === null ? "–" : s.value.toFixed(2)}`);
        return [this.data.titles[r.roi] ?? r.roi, r.value ?? NaN, each.join("  ")];
      });
      this.bars(`${this.data.titles[this.choices.model.value]}, ${this.choices.component.value}, layer ${layer}: ${this.data.unit}`, ["region", "mean", "", "subjects"], shown);
    }
  }

  class Pairs extends Reading {
    constructor(root) {
      super(root);
      const ids = unique(this.data.rows.flatMap((r) => [r.a, r.b]));
      this.choose("first", "First instruction", ids, ids.indexOf(this.data.first));
      this.choose("second", "Second instruction", ids, ids.indexOf(this.data.second));
      this.show();
    }

    show() {
      const first = this.choices.first.value, second = this.choices.second.value;
      if (first === second) {
        this.result.replaceChildren(element("caption", { textContent: "Choose two different instructions." }));
        return;
      }
      const rows = this.data.rows.filter((r) => [r.a, r.b].includes(first) && [r.a, r.b].includes(second));
      const shown = rows.flatMap((r) => {
        const [mine, other] = r.a === first ? [r.unique_a, r.unique_b] : [r.unique_b, r.unique_a];
        return [[`${first} alone`, mine], ["both", r.shared], [`${second} alone`, other]].map(([what, value]) => [`${this.data.titles[r.roi] ?? r.roi}: ${what}`, value]);
      });
      this.bars(`${first} and ${second}: ${this.data.unit}`, ["region and part", "mean", ""], shown);
    }
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".slider-table").forEach((root) => (root.dataset.kind === "layers" ? new Layers(root) : new Pairs(root))));
})();
