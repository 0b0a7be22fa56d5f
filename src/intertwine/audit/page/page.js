// Linked views of an audit page. Everything drawn is in #audit-data; without this script the page is complete but still.
(() => {
"use strict";
const D = JSON.parse(document.getElementById("audit-data").textContent);
const NS = "http://www.w3.org/2000/svg";
const $ = (s, r = document) => r.querySelector(s);
const $$ = (s, r = document) => [...r.querySelectorAll(s)];
document.documentElement.classList.add("js");

const el = (name, attributes = {}, ...children) => {
  const e = name === "svg" || SVG.has(name) ? document.createElementNS(NS, name) : document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) if (v !== null && v !== undefined) e.setAttribute(k, v);
  e.append(...children);
  return e;
};
const SVG = new Set(["circle", "rect", "path", "line", "g", "text", "image"]);
const num = v => v === null || v === undefined ? "no value" : v === 0 ? "0" :
  Math.abs(v) >= 1e-3 && Math.abs(v) < 1e5 ? String(Number(v.toPrecision(3))) : v.toExponential(2);

// numbers arrive plain, or as levels 0..999 of a scale (−1 is zero on a logarithmic one); null has a flag beside it
const unpacked = new Map();
const unpack = p => {
  if (!p) return null;
  if (!unpacked.has(p)) unpacked.set(p, p.v || p.q.map(x => x === null ? null : x < 0 ? 0 :
    p.log ? p.lo * Math.pow(p.hi / p.lo, x / 999) : p.lo + (p.hi - p.lo) * x / 999));
  return unpacked.get(p);
};

const RAMP = D.ramp.map(c => [1, 3, 5].map(j => parseInt(c.slice(j, j + 2), 16)));
const colour = s => {
  const x = Math.min(1, Math.max(0, s)) * (RAMP.length - 1), i = Math.min(Math.floor(x), RAMP.length - 2);
  return "rgb(" + RAMP[i].map((a, j) => Math.round(a + (RAMP[i + 1][j] - a) * (x - i))).join(",") + ")";
};
const share = (v, lo, hi, log) => {
  if (hi <= lo) return 0;
  const s = log ? Math.log(Math.max(v, lo) / lo) / Math.log(hi / lo) : (v - lo) / (hi - lo);
  return Math.min(1, Math.max(0, s));
};
const scaleOf = svg => {
  const lo = Number(svg.dataset.lo), hi = Number(svg.dataset.hi), log = svg.dataset.log === "1";
  return v => share(v, lo, hi, log);
};
const line = points => {
  let d = "", pen = "M";
  for (const p of points) {
    if (!p) { pen = "M"; continue; }
    d += pen + p[0].toFixed(2) + " " + p[1].toFixed(2);
    pen = "L";
  }
  return d;
};

class Result {
  constructor(root) {
    this.root = root;
    this.d = D.results[Number(root.dataset.result)];
    this.i = this.d.first;
    this.k = this.d.peak;
    this.output = this.d.worst && this.d.worst.length ? this.d.worst[0].o : 0;
    this.kept = this.d.kept ? new Map(this.d.kept.map((i, n) => [i, n])) : null;
    this.marks = $$("figure[data-stage=samples] [data-i]", root).map(m => Number(m.dataset.i));
    this.order = [...new Set(this.marks)].sort((a, b) => a - b);
    for (const figure of $$("figure[data-stage]", root)) this.connect(figure);
    for (const button of $$("button[data-go]", root)) button.addEventListener("click", () => {
      const [i, k, o] = button.dataset.go.split(",").map(Number);
      this.show(o || 0, i, k);
      const target = this.orbitFigure();
      if (target) { target.scrollIntoView({block: "nearest"}); $(".cursor", target).focus(); }
    });
    for (const button of $$("button[data-shade]", root)) button.addEventListener("click", () => this.shade(button));
    const select = $("select[data-class]", root);
    if (select) select.addEventListener("change", () => this.classes(Number(select.value)));
    this.ring();
    this.slider();
    this.detail();
  }
  orbitFigure() { return $(`figure[data-stage=orbit][data-output="${this.output}"]`, this.root) || $("figure[data-stage=orbit]", this.root); }
  has(i) { return !this.kept || this.kept.has(i); }
  count() { return this.d.kind === "nero" ? this.d.elements : this.d.outputs[this.output].columns; }
  value(m, i, k) {
    if (!this.has(i)) return null;
    const n = this.kept ? this.kept.get(i) : i;
    if (this.d.kind === "audit") {
      const o = this.d.outputs[this.output];
      return unpack(o.errors)[n * o.columns + k];
    }
    const s = this.kept ? this.kept.size : this.d.samples;
    return unpack(this.d.values)[(m * s + n) * this.d.elements + k];
  }
  row(m, i) { return Array.from({length: this.count()}, (_, k) => this.value(m, i, k)); }
  name(k) {
    const d = this.d;
    if (d.kind === "audit") {
      const own = d.names[this.i];
      return own ? own[k] : k < d.drawn ? (d.shared ? d.shared[k] : `draw ${k + 1}`) : d.special[k - d.drawn];
    }
    if (d.labels) return d.labels[k];
    const axes = d.shape[1], v = d.axes[k % axes];
    return `${num(d.angles[Math.floor(k / axes)])}° about (${v.map(x => x.toFixed(2)).join(", ")})`;
  }
  models() { return this.d.kind === "nero" ? this.d.models : ["error"]; }
  sampleName(i) { return this.d.index ? this.d.index[i] : i; }

  connect(figure) {
    const samples = figure.dataset.stage === "samples", cursor = $(".cursor", figure), hover = $(".hover", figure);
    const nearest = (event) => {
      const svg = event.target.closest("svg");
      if (!svg) return null;
      const hit = event.target.closest(samples ? "[data-i]" : ".cell[data-k]");
      if (hit) return hit;
      const from = svg.getScreenCTM().inverse();
      const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(from);
      let best = null, reach = 28 * 28;
      for (const mark of svg.querySelectorAll(samples ? "[data-i]" : "[data-k]:not(text):not(line)")) {
        const box = mark.getBBox(), dx = box.x + box.width / 2 - p.x, dy = box.y + box.height / 2 - p.y;
        if (dx * dx + dy * dy < reach) { reach = dx * dx + dy * dy; best = mark; }
      }
      return best;
    };
    const pick = event => {
      const mark = nearest(event);
      if (!mark) return;
      const output = Number(figure.dataset.output || 0);
      if (samples) this.show(output, Number(mark.dataset.i), null);
      else this.show(output, this.i, Number(mark.dataset.k));
    };
    const stage = $(".stage", figure);
    stage.addEventListener("click", pick);
    stage.addEventListener("pointermove", event => {
      const mark = nearest(event);
      const output = this.output;
      this.output = Number(figure.dataset.output || 0);
      hover.textContent = !mark ? "" : samples ? this.sayShort(Number(mark.dataset.i)) : this.say(this.i, Number(mark.dataset.k));
      this.output = output;
    });
    stage.addEventListener("pointerleave", () => { hover.textContent = ""; });
    cursor.addEventListener("keydown", event => {
      const output = Number(figure.dataset.output || 0), n = samples ? this.order.length : this.count();
      const at = samples ? Math.max(0, this.order.indexOf(this.i)) : this.k;
      let to = null;
      const [rows, columns] = this.d.shape && this.d.shape.length === 2 ? this.d.shape : [1, n];
      const grid = !samples && rows > 1 && columns > 1, sphere = this.d.grid === "sphere";
      const across = grid && sphere ? columns : 1, along = grid && !sphere ? columns : 1;
      const up = this.d.grid === "finite" || sphere ? -along : along;
      const leap = Math.max(1, Math.round(n / 10));
      switch (event.key) {
        case "ArrowRight": to = at + across; break;
        case "ArrowLeft": to = at - across; break;
        case "ArrowUp": to = at + (grid && !sphere ? up : 1); break;
        case "ArrowDown": to = at - (grid && !sphere ? up : 1); break;
        case "PageUp": to = at + leap; break;
        case "PageDown": to = at - leap; break;
        case "Home": to = 0; break;
        case "End": to = n - 1; break;
        case "Enter": if (samples) { const f = this.orbitFigure(); if (f) $(".cursor", f).focus(); } break;
        case "Escape": { const f = $("figure[data-stage=samples]", this.root); if (!samples && f) $(".cursor", f).focus(); break; }
        case "?": $("#keys").showModal(); break;
        default: return;
      }
      event.preventDefault();
      if (to === null) return;
      const wrap = this.d.grid === "circle" && !samples;
      to = wrap ? (to % n + n) % n : Math.min(n - 1, Math.max(0, to));
      if (samples) this.show(output, this.order[to], null); else this.show(output, this.i, to);
    });
  }

  show(output, i, k) {
    const fresh = i !== this.i || output !== this.output;
    this.output = output;
    this.i = i;
    if (k !== null) this.k = k;
    else if (fresh) this.k = this.worst();
    if (fresh) this.redraw("individual", m => this.row(m, i));
    this.ring();
    this.slider();
    this.detail();
    for (const tr of $$("tr[data-pair]", this.root)) tr.classList.toggle("on", tr.dataset.pair === `${i},${this.k}`);
  }
  worst() {
    let best = 0, found = -Infinity;
    const sign = this.d.better === "higher" ? -1 : 1;
    for (let m = 0; m < this.models().length; m++) this.row(m, this.i).forEach((v, k) => {
      if (v !== null && sign * v > found) { found = sign * v; best = k; }
    });
    return best;
  }
  sayShort(i) {
    if (this.d.kind === "audit") return `Sample ${this.sampleName(i)}: RMS error ${num(unpack(this.d.outputs[this.output].rms)[i])}`;
    const mean = unpack(this.d.mean), std = unpack(this.d.std), n = this.d.samples;
    return `Sample ${i}: ` + this.models().map((name, m) => `${name} ${num(mean[m * n + i])} ± ${num(std[m * n + i])}`).join("; ");
  }
  say(i, k) {
    if (!this.has(i)) return `Sample ${this.sampleName(i)}: its values along the orbit were left out of this page.`;
    return `Sample ${this.sampleName(i)}, ${this.name(k)}: ` +
      this.models().map((name, m) => `${name} ${num(this.value(m, i, k))}`).join("; ");
  }

  panels(role) {
    return $$(`svg[data-role=${role}]`, this.root).filter(svg => {
      const figure = svg.closest("figure");
      return this.d.kind === "nero" || Number(figure.dataset.output) === this.output;
    });
  }
  redraw(role, rows) {
    for (const svg of this.panels(role)) {
      const s = scaleOf(svg), g = svg.dataset;
      if (g.type === "cells") this.cells(svg, rows(Number(g.m)), s);
      else if (g.type === "profile") this.profile(svg, rows, s);
      else this.curve(svg, rows, s);
    }
    const title = $(".subject", this.orbitFigure() || this.root);
    if (role === "individual" && title) title.textContent = this.subject();
  }
  subject() {
    const parts = this.models().map((name, m) => {
      const row = this.row(m, this.i).map((v, k) => [v, k]).filter(x => x[0] !== null);
      if (!row.length) return `${name}: no value.`;
      row.sort((a, b) => a[0] - b[0]);
      const [low, high] = [row[0], row[row.length - 1]];
      if (this.d.flat && high[0] <= this.d.flat) return `${name}: flat, never above ${num(high[0])}.`;
      return this.d.kind === "audit" ? `largest error ${num(high[0])} at ${this.name(high[1])}.` :
        `${name}: ${this.d.label} from ${num(low[0])} at ${this.name(low[1])} to ${num(high[0])} at ${this.name(high[1])}.`;
    });
    return this.has(this.i) ? `Sample ${this.sampleName(this.i)}: ${parts.join(" ")}` : this.say(this.i, 0);
  }
  place(svg, k, v, s) {
    const g = svg.dataset;
    if (g.type === "polar") {
      const a = this.d.angles[k] * Math.PI / 180, r = Number(g.r0) + (Number(g.r1) - Number(g.r0)) * (v === null ? 0 : s(v));
      return [Number(g.cx) - r * Math.sin(a), Number(g.cy) - r * Math.cos(a)];
    }
    const y = Number(g.y0) + (Number(g.y1) - Number(g.y0)) * (v === null ? 0.02 : s(v));
    if (g.type === "line") return [Number(g.x0) + (Number(g.x1) - Number(g.x0)) * this.d.angles[k] / 360, y];
    const mark = svg.querySelector(`line.stem[data-k="${k}"]`);
    return [Number(mark.getAttribute("x1")), y];
  }
  curve(svg, rows, s) {
    const g = svg.dataset;
    for (const band of svg.querySelectorAll(".band,.range")) band.style.display = "none";
    for (const mark of svg.querySelectorAll("[data-k]:not(line)")) mark.remove();
    this.models().forEach((_, m) => {
      const values = rows(m), points = values.map((v, k) => v === null ? null : this.place(svg, k, v, s));
      const path = svg.querySelector(`path.curve[data-m="${m}"]`);
      if (path) {
        const end = points[0] && g.type === "line" ? [Number(g.x1), points[0][1]] : points[0];
        path.setAttribute("d", line([...points, end]));
      }
      values.forEach((v, k) => {
        const [x, y] = this.place(svg, k, v, s);
        const stem = svg.querySelector(`line.stem[data-k="${k}"]`);
        if (stem) stem.setAttribute("y2", y);
        const second = g.type === "dots" ? k >= this.d.drawn : m > 0, r = g.type === "dots" ? 3.6 : 2.6;
        const data = {"data-k": k, "data-m": m, class: v === null ? "mk none" : second ? "pt b" : "pt a"};
        svg.append(v === null ? el("rect", {...data, x: x - 4, y: y - 4, width: 8, height: 8, fill: "url(#hatch)"}) :
          second ? el("rect", {...data, x: x - r, y: y - r, width: 2 * r, height: 2 * r}) : el("circle", {...data, cx: x, cy: y, r}));
      });
    });
  }
  cells(svg, values, s) {
    for (const cell of svg.querySelectorAll(".cell")) {
      const v = values[Number(cell.dataset.k)];
      cell.setAttribute("fill", v === null ? "url(#hatch)" : colour(s(v)));
    }
    for (const label of svg.querySelectorAll("[data-t]")) {
      const v = values[Number(label.dataset.t)];
      label.textContent = v === null ? "none" : num(v);
      label.style.fill = v === null ? "" : s(v) < 0.55 ? "#fff" : "#000";
    }
  }
  profile(svg, rows, s) {
    const [angles, axes] = this.d.shape, g = svg.dataset;
    const at = (a, v) => [Number(g.x0) + (Number(g.x1) - Number(g.x0)) * this.d.angles[a] / 180, Number(g.y0) + (Number(g.y1) - Number(g.y0)) * s(v)];
    this.models().forEach((_, m) => {
      const values = rows(m), top = [], bottom = [], mean = [];
      for (let a = 0; a < angles; a++) {
        const row = values.slice(a * axes, (a + 1) * axes).filter(v => v !== null);
        if (!row.length) { mean.push(null); continue; }
        top.push(at(a, Math.max(...row)));
        bottom.unshift(at(a, Math.min(...row)));
        mean.push(at(a, row.reduce((p, q) => p + q, 0) / row.length));
      }
      svg.querySelector(`path.band[data-m="${m}"]`).setAttribute("d", line([...top, ...bottom]) + "Z");
      svg.querySelector(`path.curve[data-m="${m}"]`).setAttribute("d", line(mean));
    });
  }
  ring() {
    for (const old of $$(".ring", this.root)) old.remove();
    const around = (mark, extra) => {
      if (mark.classList.contains("cell")) {
        const ring = mark.cloneNode(false);
        for (const name of ["data-k", "data-m", "fill"]) ring.removeAttribute(name);
        ring.setAttribute("class", "ring");
        mark.parentNode.append(ring);
        return;
      }
      const box = mark.getBBox();
      mark.ownerSVGElement.append(el("circle", {
        class: "ring", cx: box.x + box.width / 2, cy: box.y + box.height / 2, r: Math.max(5, Math.max(box.width, box.height) / 2 + extra),
      }));
    };
    for (const figure of $$("figure[data-stage=samples]", this.root)) {
      if (this.d.kind === "audit" && Number(figure.dataset.output) !== this.output) continue;
      for (const mark of $$(`[data-i="${this.i}"]`, figure)) around(mark, 3);
    }
    for (const role of ["individual", "aggregate"]) for (const svg of this.panels(role)) {
      for (const mark of $$(`[data-k="${this.k}"]:not(text):not(line)`, svg)) around(mark, 3);
      const axis = svg.querySelector(".axisline");
      if (axis && role === "individual" && this.has(this.i)) {
        const [angles, axes] = this.d.shape, a = this.k % axes, s = scaleOf(svg), g = svg.dataset;
        axis.setAttribute("d", line(Array.from({length: angles}, (_, r) => {
          const v = this.value(0, this.i, r * axes + a);
          return v === null ? null : [Number(g.x0) + (Number(g.x1) - Number(g.x0)) * this.d.angles[r] / 180, Number(g.y0) + (Number(g.y1) - Number(g.y0)) * s(v)];
        })));
      }
    }
  }
  slider() {
    for (const cursor of $$(".cursor", this.root)) {
      const figure = cursor.closest("figure"), samples = figure.dataset.stage === "samples";
      const n = samples ? this.order.length : this.count(), now = samples ? this.order.indexOf(this.i) : this.k;
      cursor.setAttribute("aria-valuemax", n - 1);
      cursor.setAttribute("aria-valuenow", Math.max(0, now));
      cursor.setAttribute("aria-valuetext", samples ? this.sayShort(this.i) : this.say(this.i, this.k));
    }
  }
  detail() {
    const box = $(".detail", this.root);
    if (!box) return;
    $(".say", box).textContent = this.say(this.i, this.k) + ".";
    const views = $(".views", box);
    if (views) {
      views.replaceChildren();
      const view = this.d.views[this.i];
      if (view) {
        views.append(el("figure", {}, draw(view, null), el("figcaption", {}, "input")));
        const move = this.move();
        if (move) views.append(el("figure", {}, draw(view, move), el("figcaption", {}, "moved input")));
      } else views.append(el("p", {class: "soft"}, "No picture of this sample is kept in the page."));
    }
    const body = $("dl.numbers", box);
    if (body) {
      body.replaceChildren();
      this.models().forEach((name, m) => {
        const kept = this.d.outputs[this.i], w = this.d.width;
        const cell = which => {
          if (!kept) return "not kept";
          const at = ((m * this.d.elements + this.k) * 2 + which) * w;
          return unpack(kept).slice(at, at + w).map(num).join(", ");
        };
        body.append(el("dt", {}, `${name}: ${this.d.label} ${num(this.value(m, this.i, this.k))}`),
          el("dd", {}, "output f(gx): ", el("code", {}, cell(0))),
          el("dd", {}, "undone, ρ(g)⁻¹f(gx): ", el("code", {}, cell(1))));
      });
    }
    const snippet = $(".snippet", box);
    if (snippet) {
      const found = this.d.worst.find(w => w.i === this.i && w.k === this.k && w.o === this.output);
      snippet.textContent = found ? found.snippet : "";
    }
  }
  move() {
    const d = this.d, k = this.k;
    if (d.grid === "circle") {
      const a = d.angles[k] * Math.PI / 180, [i, j] = d.turn;
      return {angle: i < j ? d.angles[k] : -d.angles[k], fn: p => { const q = [...p]; q[i] = Math.cos(a) * p[i] - Math.sin(a) * p[j]; q[j] = Math.sin(a) * p[i] + Math.cos(a) * p[j]; return q; }};
    }
    if (d.grid === "torus") return {shift: [d.x[k], d.y[k]], fn: p => [p[0] + d.x[k], p[1] + d.y[k], ...p.slice(2)]};
    if (d.grid === "sphere") {
      const axes = d.shape[1], u = d.axes[k % axes], a = d.angles[Math.floor(k / axes)] * Math.PI / 180;
      const c = Math.cos(a), s = Math.sin(a);
      return {fn: p => {
        const dot = u[0] * p[0] + u[1] * p[1] + u[2] * p[2];
        const cross = [u[1] * p[2] - u[2] * p[1], u[2] * p[0] - u[0] * p[2], u[0] * p[1] - u[1] * p[0]];
        return p.map((x, j) => x * c + cross[j] * s + u[j] * dot * (1 - c));
      }};
    }
    return null;
  }
  shade(button) {
    for (const b of $$("button[data-shade]", this.root)) b.setAttribute("aria-pressed", b === button);
    const byStd = button.dataset.shade === "std", n = this.d.samples;
    const mean = unpack(this.d.mean), std = unpack(this.d.std), {lo, hi, log} = this.d.mean_scale;
    const most = Math.max(...std.filter(v => v !== null), 1e-300);
    for (const svg of $$("svg[data-type=samples]", this.root)) for (const mark of svg.querySelectorAll("[data-i]")) {
      const at = Number(svg.dataset.m) * n + Number(mark.dataset.i);
      const s = byStd ? (std[at] === null ? null : std[at] / most) : mean[at] === null ? null : share(mean[at], lo, hi, log);
      const size = byStd ? (mean[at] === null ? 0 : share(mean[at], lo, hi, log)) : (std[at] || 0) / most;
      mark.setAttribute("fill", s === null ? "url(#hatch)" : colour(s));
      mark.setAttribute("r", 3 + 5 * Math.sqrt(size));
    }
    this.ring();
  }
  classes(c) {
    const table = unpack(c < 0 ? this.d.aggregate : this.d.classes.values), e = this.d.elements, n = this.models().length;
    const start = c < 0 ? 0 : c * n * e;
    this.redraw("aggregate", m => table.slice(start + m * e, start + (m + 1) * e));
    if (c < 0) for (const band of $$("svg[data-role=aggregate] .band, svg[data-role=aggregate] .range", this.root)) band.style.display = "";
    this.ring();
  }
}

// a sample: an image, points in the plane or in space (seen from above, nearer ones drawn later), or numbers
function draw(view, move) {
  const svg = el("svg", {viewBox: "0 0 160 160", role: "img", "aria-label": move ? "moved input" : "input"});
  if (view.kind === "image") {
    const image = el("image", {href: view.src, x: 12, y: 12, width: 136, height: 136, style: "image-rendering:pixelated"});
    // y points down in images; shifts are in half heights
    if (move && move.angle) image.setAttribute("transform", `rotate(${move.angle} 80 80)`);
    if (move && move.shift) image.setAttribute("transform", `translate(${move.shift.map(v => v * view.half).join(" ")})`);
    svg.append(image);
  } else if (view.kind === "points") {
    const centre = view.centre, size = view.size || 1;
    const moved = view.pos.map(p => {
      const q = (move ? move.fn : p => p)(p);
      return q.map((x, j) => (x - centre[j]) / size);
    });
    const middle = moved[0].map((_, j) => moved.reduce((t, p) => t + p[j], 0) / moved.length);
    const lone = moved.length === 1;
    const shift = !lone && Math.hypot(...middle) > 0.9 ? middle : middle.map(() => 0);
    const at = p => [80 + 62 * (p[0] - shift[0]), 80 - 62 * (p[1] - shift[1])];
    if (lone) svg.append(el("line", {class: "bond", x1: 80, y1: 80, x2: at(moved[0])[0], y2: at(moved[0])[1]}));
    for (const [a, b] of view.bonds || []) {
      const [p, q] = [at(moved[a]), at(moved[b])];
      svg.append(el("line", {class: "bond", x1: p[0], y1: p[1], x2: q[0], y2: q[1]}));
    }
    const order = moved.map((p, n) => [p[2] || 0, n]).sort((a, b) => a[0] - b[0]);
    for (const [depth, n] of order) {
      const [x, y] = at(moved[n]), name = view.names ? view.names[n] : "", small = name === "H";
      const r = (view.names ? (small ? 5 : 8.5) : 4) * (1 + 0.18 * depth);
      svg.append(el("circle", {class: "atom " + (small ? "h" : "x"), cx: x, cy: y, r}));
      if (name && !small) svg.append(el("text", {x, y: y + 3.6, "text-anchor": "middle"}, name));
    }
  } else svg.append(el("text", {x: 80, y: 84, "text-anchor": "middle", style: "fill:var(--ink)"}, view.text));
  return svg;
}

for (const root of $$("section[data-result]")) {
  new Result(root);
}

const save = (name, content, type) => {
  const a = el("a", {download: name, href: URL.createObjectURL(new Blob([content], {type}))});
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 1000);
};
$("#download").addEventListener("click", () => save("audit.json", document.getElementById("audit-data").textContent, "application/json"));
const csv = table => [...table.rows].map(row => [...row.cells].filter(c => !c.dataset.skip).map(c => {
  const t = c.textContent.trim();
  return /[",\n]/.test(t) ? '"' + t.replace(/"/g, '""') + '"' : t;
}).join(",")).join("\n");
for (const button of $$("button[data-csv]")) button.addEventListener("click", async () => {
  const content = csv($("table", button.closest("[data-copies]")));
  const said = button.textContent;
  try { await navigator.clipboard.writeText(content); button.textContent = "Copied"; }
  catch { save("table.csv", content, "text/csv"); button.textContent = "Saved as a file"; }
  setTimeout(() => { button.textContent = said; }, 1500);
});
for (const button of $$("button[data-keys]")) button.addEventListener("click", () => $("#keys").showModal());
$("#keys button").addEventListener("click", () => $("#keys").close());
})();
