/* The cortex viewer: a mesh, one number per vertex, and controls.  Plain WebGL; nothing comes from elsewhere.

   A page holds <div class="cortex-viewer" data-files="FOLDER/"> with the manifest as JSON inside.  Here it gets
   a button (button.load); after a click, the controls (select[name=subject|model|minus|component|instruction|
   region|surface], input[name=layer], button[data-view]), a canvas, and a line that says what is under the
   pointer (.viewer-readout).  What is chosen stays when something else is: the instruction by its id, the layer by
   its relative depth.  All models and subjects share one scale.  data-state on the div is "idle", "loading", "ready" or "failed".
   Data files are scripts that call brainalignCortex.receive, so that this also works from disk. */
(() => {
  "use strict";
  const waiting = new Map(), loaded = new Map();
  window.brainalignCortex = {
    receive(name, data) { waiting.get(name)?.(data); },
  };

  function load(folder, name) {
    if (!loaded.has(name)) {
      loaded.set(name, new Promise((resolve, reject) => {
        waiting.set(name, resolve);
        const script = document.createElement("script");
        script.src = `${folder}${name}.js`;
        script.onerror = () => { loaded.delete(name); reject(new Error(`${name}.js did not load`)); };
        document.head.append(script);
      }));
    }
    return loaded.get(name);
  }

  function bytes(text, Kind) {
    const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Kind(raw.buffer);
  }

  const parse = (list) => list.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const VIRIDIS = parse(["440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26", "fde725"]);
  const RED_BLUE = parse(["053061", "4393c3", "f7f7f7", "d6604d", "67001f"]);
  function colour(map, t) {
    const at = Math.min(Math.max(t, 0), 1) * (map.length - 1), k = Math.min(Math.floor(at), map.length - 2);
    return map[k].map((low, i) => low + (map[k + 1][i] - low) * (at - k));
  }

  const VIEWS = { back: [0, 0], left: [90, 0], right: [-90, 0], below: [0, -90], above: [0, 90], "back, below": [25, -35] };

  /* ---- drawing ---- */
  const VERTEX = `attribute vec3 position, normal, color; uniform mat3 turn; uniform vec3 scale; varying vec3 shade;
    void main() { vec3 p = turn * position; vec3 n = turn * normal; shade = color * (0.45 + 0.55 * max(-n.y, 0.0));
    gl_Position = vec4(p.x * scale.x, p.z * scale.y, p.y * scale.z, 1.0); }`;
  const FRAGMENT = "precision mediump float; varying vec3 shade; void main() { gl_FragColor = vec4(shade, 1.0); }";

  class Scene {
    constructor(canvas, mesh) {
      const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
      if (!gl) throw new Error("this browser has no WebGL");
      Object.assign(this, { canvas, gl, yaw: 0, pitch: 0, zoom: 1 });
      const { vertices, faces } = mesh.perHemisphere;
      this.n = vertices;
      this.faces = bytes(mesh.arrays.faces, Uint16Array).map((v, i) => (i < 3 * faces ? v : v + vertices));
      this.folds = bytes(mesh.arrays.folds, Uint8Array);
      this.shapes = {};
      for (const name of ["inflated", "pial"]) this.shapes[name] = this.#shape(bytes(mesh.arrays[name], Int16Array));
      this.program = this.#link();
      this.buffers = Object.fromEntries(["position", "normal", "color"].map((k) => [k, gl.createBuffer()]));
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.faces, gl.STATIC_DRAW);
      gl.enable(gl.DEPTH_TEST);
      this.surface("inflated");
      new ResizeObserver(() => this.draw()).observe(canvas);
    }

    /* Positions in mm, hemispheres side by side and centred; normals from the faces. */
    #shape(raw) {
      const p = Float32Array.from(raw, (v) => v / 100), n = this.n, faces = this.faces;
      const edge = (from, to, pick) => { let e = p[3 * from]; for (let i = from; i < to; i++) e = pick(e, p[3 * i]); return e; };
      const left = edge(0, n, Math.max), right = edge(n, 2 * n, Math.min);
      const middle = [1, 2].map((d) => { let low = 1e9, high = -1e9; for (let i = d; i < p.length; i += 3) { low = Math.min(low, p[i]); high = Math.max(high, p[i]); } return (low + high) / 2; });
      for (let i = 0; i < 2 * n; i++) {
        p[3 * i] -= i < n ? left + 3 : right - 3;
        p[3 * i + 1] -= middle[0];
        p[3 * i + 2] -= middle[1];
      }
      const normal = new Float32Array(p.length);
      for (let f = 0; f < faces.length; f += 3) {
        const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
        const u = [0, 1, 2].map((i) => p[b + i] - p[a + i]), v = [0, 1, 2].map((i) => p[c + i] - p[a + i]);
        const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        for (const at of [a, b, c]) for (let i = 0; i < 3; i++) normal[at + i] += cross[i];
      }
      for (let i = 0; i < normal.length; i += 3) {
        const size = Math.hypot(normal[i], normal[i + 1], normal[i + 2]) || 1;
        for (let d = 0; d < 3; d++) normal[i + d] /= size;
      }
      return { position: p, normal };
    }

    #link() {
      const gl = this.gl, program = gl.createProgram();
      for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, text);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      gl.useProgram(program);
      return program;
    }

    #fill(name, values) {
      const gl = this.gl, at = gl.getAttribLocation(this.program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
    }

    surface(name) {
      this.shape = this.shapes[name];
      this.#fill("position", this.shape.position);
      this.#fill("normal", this.shape.normal);
    }

    /* values: one per vertex, NaN shows the folds; inside: whether a vertex is in the chosen region. */
    paint(values, inside, low, high, map) {
      const color = new Float32Array(6 * this.n);
      for (let i = 0; i < 2 * this.n; i++) {
        const fold = this.folds[i] ? 0.62 : 0.78;
        const own = Number.isNaN(values[i]) ? null : colour(map, (values[i] - low) / (high - low)).map((c) => c / 255);
        for (let d = 0; d < 3; d++) color[3 * i + d] = own === null ? fold : inside[i] ? own[d] : 0.25 * own[d] + 0.75 * fold;
      }
      this.#fill("color", color);
      this.draw();
    }

    #turn() {
      const [y, q] = [this.yaw, this.pitch].map((a) => (a * Math.PI) / 180);
      const [c, s, cp, sp] = [Math.cos(y), Math.sin(y), Math.cos(q), Math.sin(q)];
      return [c, cp * s, sp * s, -s, cp * c, sp * c, 0, -sp, cp]; // columns
    }

    #scale() {
      const size = 100 / this.zoom, aspect = this.canvas.clientWidth / this.canvas.clientHeight;
      return aspect > 1 ? [1 / (size * aspect), 1 / size, 1 / 400] : [1 / size, aspect / size, 1 / 400];
    }

    draw() {
      const { gl, canvas } = this, ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(canvas.clientWidth * ratio);
      canvas.height = Math.round(canvas.clientHeight * ratio);
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniformMatrix3fv(gl.getUniformLocation(this.program, "turn"), false, this.#turn());
      gl.uniform3fv(gl.getUniformLocation(this.program, "scale"), this.#scale());
      gl.drawElements(gl.TRIANGLES, this.faces.length, gl.UNSIGNED_SHORT, 0);
    }

    /* The vertex in front that is nearest to a point of the canvas; -1 for none within 12 pixels. */
    pick(x, y) {
      const t = this.#turn(), [sx, sy] = this.#scale(), { position: p, normal: n } = this.shape;
      const [w, h] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
      const near = [];
      for (let i = 0; i < 2 * this.n; i++) {
        const k = 3 * i;
        if (t[1] * n[k] + t[4] * n[k + 1] + t[7] * n[k + 2] > 0) continue; // faces away
        const dx = w + w * sx * (t[0] * p[k] + t[3] * p[k + 1] + t[6] * p[k + 2]) - x;
        const dy = h - h * sy * (t[2] * p[k] + t[5] * p[k + 1] + t[8] * p[k + 2]) - y;
        const depth = t[1] * p[k] + t[4] * p[k + 1] + t[7] * p[k + 2];
        if (dx * dx + dy * dy < 144) near.push([i, dx * dx + dy * dy, depth]);
      }
      const front = Math.min(...near.map((v) => v[2]));
      return near.filter((v) => v[2] < front + 12).sort((a, b) => a[1] - b[1])[0]?.[0] ?? -1;
    }
  }

  /* ---- the page ---- */
  function element(tag, attributes = {}, ...children) {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  }

  function choice(name, title, options) {
    const select = element("select", { name }, ...options.map(([value, text]) => element("option", { value, textContent: text })));
    return [select, element("label", {}, element("span", { textContent: title }), select)];
  }

  class Viewer {
    constructor(root) {
      this.root = root;
      this.folder = root.dataset.files;
      this.depth = 0.66;
      this.manifest = JSON.parse(root.querySelector("script").textContent);
      root.dataset.state = "idle";
      const button = element("button", { type: "button", className: "load", textContent: "Load the viewer (about 1 MB)" });
      button.onclick = () => { button.disabled = true; this.start().then(() => button.remove()).catch((error) => this.fail(error, button)); };
      root.append(button);
    }

    fail(error, button) {
      this.root.dataset.state = "failed";
      button.textContent = `The viewer does not work here: ${error.message}. The figure below shows four views.`;
    }

    async start() {
      this.root.dataset.state = "loading";
      const mesh = await load(this.folder, "mesh");
      this.panel = element("div", { className: "viewer-panel" });
      this.canvas = element("canvas", { tabIndex: 0 });
      this.canvas.setAttribute("role", "img");
      this.readout = element("p", { className: "viewer-readout" });
      this.readout.setAttribute("aria-live", "polite");
      this.root.append(this.panel);
      this.#controls();
      this.scale = element("div", { className: "viewer-scale" });
      this.panel.append(this.canvas, this.scale, this.readout);
      this.scene = new Scene(this.canvas, mesh);
      this.#listen();
      this.#parts();
      await this.show();
    }

    #controls() {
      const m = this.manifest, models = Object.entries(m.models).map(([id, row]) => [id, row.title]);
      const label = (s) => (s === "mean" ? "mean of subjects" : s.replace("subj0", "subject "));
      const lists = {
        model: ["Model", models],
        minus: ["Minus model", [["", "none: the scores themselves"], ...models]],
        component: ["Part of the model", []],
        instruction: ["Instruction", []],
        subject: ["Subject", m.subjects.map((s) => [s, label(s)]).reverse()],
        region: ["Region", m.rois],
        surface: ["Surface", [["inflated", "inflated"], ["pial", "folded"]]],
      };
      const form = element("div", { className: "viewer-controls" });
      this.select = {};
      for (const [name, [title, options]] of Object.entries(lists)) {
        const [select, box] = choice(name, title, options);
        this.select[name] = select;
        form.append(box);
      }
      this.layer = element("input", { type: "range", name: "layer", min: 0, step: 1 });
      this.layerSaid = element("span");
      form.append(element("label", { className: "wide" }, this.layerSaid, this.layer));
      const views = element("div", { className: "viewer-views" });
      views.setAttribute("role", "group");
      views.setAttribute("aria-label", "Views");
      for (const name of Object.keys(VIEWS)) {
        const button = element("button", { type: "button", textContent: name });
        button.dataset.view = name;
        button.onclick = () => { [this.scene.yaw, this.scene.pitch] = VIEWS[name]; this.scene.draw(); };
        views.append(button);
      }
      this.panel.append(form, views);
      if (m.models.instructblip) this.select.model.value = "instructblip";
    }

    #listen() {
      const redraw = () => this.show().catch((error) => { this.readout.textContent = error.message; });
      this.select.model.onchange = () => { this.#parts(); redraw(); };
      this.select.component.onchange = () => { this.#instructions(); redraw(); };
      for (const name of ["instruction", "subject", "region", "minus"]) this.select[name].onchange = redraw;
      this.layer.oninput = () => { this.depth = Number(this.layer.value) / this.layer.max; redraw(); };
      this.select.surface.onchange = () => { this.scene.surface(this.select.surface.value); this.scene.draw(); };
      const { canvas } = this;
      canvas.onpointerdown = (event) => { this.drag = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); };
      canvas.onpointerup = canvas.onpointercancel = () => { this.drag = null; };
      canvas.onpointermove = (event) => {
        if (!this.drag) return this.#hover(event);
        this.scene.yaw += 0.5 * (event.clientX - this.drag[0]);
        this.scene.pitch = Math.max(-90, Math.min(90, this.scene.pitch + 0.5 * (event.clientY - this.drag[1])));
        this.drag = [event.clientX, event.clientY];
        this.scene.draw();
      };
      canvas.onkeydown = (event) => {
        const move = { ArrowLeft: [-10, 0, 1], ArrowRight: [10, 0, 1], ArrowUp: [0, -10, 1], ArrowDown: [0, 10, 1], "+": [0, 0, 1.15], "-": [0, 0, 1 / 1.15] }[event.key];
        if (!move) return;
        event.preventDefault();
        this.scene.yaw += move[0];
        this.scene.pitch = Math.max(-90, Math.min(90, this.scene.pitch + move[1]));
        this.scene.zoom = Math.max(0.6, Math.min(6, this.scene.zoom * move[2]));
        this.scene.draw();
      };
    }

    #hover(event) {
      const box = this.canvas.getBoundingClientRect();
      const vertex = this.scene.pick(event.clientX - box.left, event.clientY - box.top);
      if (vertex < 0) { this.readout.textContent = this.summary; return; }
      const value = this.values[vertex], rois = this.manifest.rois;
      const areas = rois.filter((_, bit) => (this.regions[vertex] >>> bit) & 1).map((roi) => roi[1]);
      const side = vertex < this.scene.n ? "left" : "right";
      const said = Number.isNaN(value) ? "no value (outside the mask, or ceiling below the threshold)" : value.toFixed(2);
      this.readout.textContent = `${side} hemisphere, vertex ${vertex % this.scene.n}: ${said}${areas.length ? `; ${areas.join(", ")}` : ""}`;
    }

    get spaces() { return this.manifest.models[this.select.model.value].spaces; }

    #fill(select, options) {
      const before = select.value;
      select.replaceChildren(...options.map(([value, text]) => element("option", { value, textContent: text })));
      select.value = options.some(([value]) => value === before) ? before : options[options.length - 1][0];
      select.disabled = options.length < 2;
    }

    #parts() {
      const names = [...new Set(this.spaces.map((space) => space[0]))];
      this.#fill(this.select.component, names.map((name) => [name, name]));
      this.#instructions();
    }

    #instructions() {
      const own = this.spaces.filter((space) => space[0] === this.select.component.value);
      const ids = [...new Set(own.map((space) => space[1]))];
      const texts = this.manifest.instructions;
      this.#fill(this.select.instruction, ids.map((id) => [id, texts[id] ? `${id}: ${texts[id]}` : "none: does not depend on it"]));
      const last = Math.max(...own.map((space) => space[2]));
      this.layer.max = last;
      this.layer.value = Math.round(this.depth * last);
      this.layer.disabled = last === 0;
    }

    /* The number of a model's space that is most like the chosen one: by part, instruction and relative depth. */
    #like(model) {
      const spaces = this.manifest.models[model].spaces;
      const keep = (rows, of, wanted) => {
        const same = rows.filter((k) => spaces[k][of] === wanted);
        return same.length ? same : rows.filter((k) => spaces[k][of] === spaces[rows[rows.length - 1]][of]);
      };
      const part = keep([...spaces.keys()], 0, this.select.component.value);
      const own = keep(part, 1, this.select.instruction.value);
      const layer = Math.round(this.depth * Math.max(...own.map((k) => spaces[k][2])));
      return own.find((k) => spaces[k][2] === layer);
    }

    /* One number per vertex that has some, NaN where it is undefined. */
    async #values(model, subject, n) {
      const data = await load(this.folder, `${subject}_${model}`), codes = bytes(data.arrays.values, Uint8Array);
      const start = this.#like(model) * n, step = (data.high - data.low) / 254;
      return Float32Array.from(codes.subarray(start, start + n), (c) => (c === 255 ? NaN : data.low + c * step));
    }

    async show() {
      const { subject, model, minus, component, instruction, region } = Object.fromEntries(Object.entries(this.select).map(([k, s]) => [k, s.value]));
      const layer = Number(this.layer.value), n = 2 * this.scene.n;
      const where = await load(this.folder, `regions_${subject}`);
      const used = bytes(where.arrays.vertices, Uint16Array), bits = bytes(where.arrays.rois, Uint32Array);
      const [values, other] = await Promise.all([model, minus].map((m) => (m ? this.#values(m, subject, used.length) : null)));
      const bit = this.manifest.rois.findIndex((roi) => roi[0] === region);
      this.values = new Float32Array(n).fill(NaN);
      this.regions = new Uint32Array(n);
      const inside = new Uint8Array(n), chosen = [];
      used.forEach((vertex, i) => {
        this.values[vertex] = other ? values[i] - other[i] : values[i];
        this.regions[vertex] = bits[i];
        inside[vertex] = (bits[i] >>> bit) & 1;
        if (inside[vertex] && !Number.isNaN(this.values[vertex])) chosen.push(this.values[vertex]);
      });
      const high = other ? this.manifest.high / 2 : this.manifest.high, low = other ? -high : 0;
      this.scene.paint(this.values, inside, low, high, other ? RED_BLUE : VIRIDIS);
      chosen.sort((a, b) => a - b);
      const title = this.select.region.selectedOptions[0].textContent;
      this.summary = chosen.length ? `${title}: median ${chosen[chosen.length >> 1].toFixed(2)} over ${chosen.length} vertices.` : `${title}: no vertex has a value.`;
      if (other) {
        const [part, , at] = this.manifest.models[minus].spaces[this.#like(minus)];
        this.summary += ` Subtracted: ${part}, layer ${at}, of ${this.select.minus.selectedOptions[0].textContent}.`;
      }
      this.readout.textContent = this.summary;
      this.layerSaid.textContent = `Layer ${layer} of ${this.layer.max}`;
      this.scale.textContent = "";
      const unit = `${other ? "difference in " : ""}normalised alignment${this.manifest.data === "phantom" ? " (phantom)" : ""}`;
      this.scale.append(element("span", { textContent: low ? low.toFixed(2) : "0" }), element("i", { className: other ? "difference" : "" }), element("span", { textContent: `${high.toFixed(2)} ${unit}` }));
      this.canvas.setAttribute("aria-label", `Cortex, ${model}${minus ? ` minus ${minus}` : ""}, ${component}, layer ${layer}, instruction ${instruction}, ${subject}. ${this.summary}`);
      this.root.dataset.state = "ready";
    }
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".cortex-viewer").forEach((root) => new Viewer(root)));
})();
