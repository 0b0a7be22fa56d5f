"use strict";
/* Structures on a canvas: turned with the arrow keys or the pointer, frame by frame; the text below says what is seen. */
(function () {
  const data = JSON.parse(document.getElementById("structures").textContent);
  const root = document.getElementById("viewer");
  document.documentElement.classList.add("js");
  for (const button of document.querySelectorAll("[data-csv]")) button.addEventListener("click", () => {
    const rows = [...button.closest("[data-copies]").querySelectorAll("tr")];
    const quote = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
    navigator.clipboard.writeText(rows.map((row) => [...row.cells].map((cell) => quote(cell.textContent)).join(",")).join("\n"));
  });
  if (!data.frames.length) { root.remove(); return; }
  const canvas = root.querySelector("canvas"), slider = root.querySelector("input"), said = root.querySelector("[role=status]");
  const play = root.querySelector("[data-play]"), arrows = root.querySelector("select"), pen = canvas.getContext("2d");
  const START = [0.95, 0.2, -0.24, -0.1, 0.93, 0.35, 0.29, -0.31, 0.9];
  let turn = square(START), zoom = 1.25, at = 0, timer = null;

  function square(m) { /* the nearest rotation, by Gram-Schmidt: rounding must not shear the picture */
    const a = unit(m.slice(0, 3)), d = dot(m.slice(3, 6), a), b = unit([m[3] - d * a[0], m[4] - d * a[1], m[5] - d * a[2]]);
    return [...a, ...b, a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  }
  function dot(a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
  function unit(a) { const n = Math.hypot(...a); return a.map((x) => x / n); }
  function rotate(dx, dy) {
    const [c, s, d, t] = [Math.cos(dx), Math.sin(dx), Math.cos(dy), Math.sin(dy)];
    const by = [c, 0, s, s * t, d, -c * t, -s * d, t, c * d], m = [];
    for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) m.push(by[3 * i] * turn[j] + by[3 * i + 1] * turn[3 + j] + by[3 * i + 2] * turn[6 + j]);
    turn = square(m);
    draw();
  }
  function apply(v, k) { return [0, 3, 6].map((i) => turn[i] * v[k] + turn[i + 1] * v[k + 1] + turn[i + 2] * v[k + 2]); }

  function draw() {
    const frame = data.frames[at], n = frame.z.length, box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, box.width, box.height);
    const style = getComputedStyle(root), ink = style.getPropertyValue("--ink"), soft = style.getPropertyValue("--soft");
    const mean = [0, 1, 2].map((k) => frame.p.reduce((s, x, i) => s + (i % 3 === k ? x : 0), 0) / n);
    const centred = frame.p.map((x, i) => x - mean[i % 3]);
    let reach = 1.5;
    for (let i = 0; i < n; i++) reach = Math.max(reach, Math.hypot(centred[3 * i], centred[3 * i + 1], centred[3 * i + 2]) + 1);
    const scale = (zoom * Math.min(box.width, box.height)) / (2 * reach), cx = box.width / 2, cy = box.height / 2;
    const place = (v) => [cx + scale * v[0], cy - scale * v[1], v[2]];
    const spot = [], things = [];
    for (let i = 0; i < n; i++) spot.push(place(apply(centred, 3 * i)));
    const radius = (i) => data.elements[frame.z[i]].radius;
    for (let i = 0; i < n; i++) {
      things.push([spot[i][2], () => atom(i)]);
      for (let j = 0; j < i && n <= 400; j++) {
        const d = Math.hypot(...[0, 1, 2].map((k) => centred[3 * i + k] - centred[3 * j + k]));
        if (d < 1.2 * (radius(i) + radius(j))) things.push([(spot[i][2] + spot[j][2]) / 2 - 0.01, () => line(spot[i], spot[j], soft, 0.13 * scale)]);
      }
    }
    if (frame.c) {
      const corner = (a, b, c) => place(apply([0, 1, 2].map((k) => a * frame.c[k] + b * frame.c[3 + k] + c * frame.c[6 + k] - mean[k]), 0));
      for (const [a, b, c] of [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
        for (const [u, v, w] of [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
          if (a + u < 2 && b + v < 2 && c + w < 2) { const [p, q] = [corner(a, b, c), corner(a + u, b + v, c + w)]; things.push([Math.min(p[2], q[2]), () => line(p, q, soft, 1)]); }
    }
    things.sort((a, b) => a[0] - b[0]).forEach((thing) => thing[1]());
    const shown = { error: frame.r && frame.f.map((x, i) => x - frame.r[i]), predicted: frame.f, reference: frame.r }[arrows.value];
    if (shown) {
      const gain = arrows.value === "error" ? data.gain.error : data.gain.force;
      pen.strokeStyle = pen.fillStyle = ink;
      for (let i = 0; i < n; i++) arrow(spot[i], place(apply(centred.map((x, k) => x + gain * shown[k]), 3 * i)));
    }
    function atom(i) {
      const [x, y] = spot[i], r = 0.45 * radius(i) * scale, element = data.elements[frame.z[i]];
      pen.beginPath();
      pen.arc(x, y, r, 0, 2 * Math.PI);
      pen.fillStyle = element.colour;
      pen.fill();
      pen.lineWidth = 1.2;
      pen.strokeStyle = ink;
      pen.stroke();
      if (r > 9) {
        pen.fillStyle = element.dark ? "#fff" : "#000";
        pen.font = `600 ${Math.min(r, 15)}px system-ui, sans-serif`;
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText(element.symbol, x, y);
      }
    }
    slider.value = at;
    const text = `${frame.t}. Arrows: ${arrows.selectedOptions[0].textContent}.`;
    if (said.textContent !== text) said.textContent = text;
  }
  function line(p, q, colour, width) {
    pen.beginPath();
    pen.moveTo(p[0], p[1]);
    pen.lineTo(q[0], q[1]);
    pen.strokeStyle = colour;
    pen.lineWidth = Math.max(width, 1);
    pen.stroke();
  }
  function arrow(p, q) {
    const [dx, dy] = [q[0] - p[0], q[1] - p[1]], size = Math.hypot(dx, dy);
    if (size < 2) return;
    const head = Math.min(8, size), [u, v] = [dx / size, dy / size];
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(p[0], p[1]);
    pen.lineTo(q[0] - head * u * 0.8, q[1] - head * v * 0.8);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(q[0], q[1]);
    pen.lineTo(q[0] - head * u - 0.45 * head * v, q[1] - head * v + 0.45 * head * u);
    pen.lineTo(q[0] - head * u + 0.45 * head * v, q[1] - head * v - 0.45 * head * u);
    pen.fill();
  }
  function show(i) { at = (i + data.frames.length) % data.frames.length; draw(); }
  function toggle() {
    if (timer) { clearInterval(timer); timer = null; } else timer = setInterval(() => show(at + 1), 120);
    play.textContent = timer ? "Stop" : "Play";
    play.setAttribute("aria-pressed", String(Boolean(timer)));
    said.setAttribute("aria-live", timer ? "off" : "polite"); /* nobody can listen to eight frames a second */
  }
  const STEP = Math.PI / 24;
  const KEYS = {
    ArrowLeft: () => rotate(-STEP, 0), ArrowRight: () => rotate(STEP, 0), ArrowUp: () => rotate(0, -STEP), ArrowDown: () => rotate(0, STEP),
    "+": () => { zoom = Math.min(zoom * 1.15, 12); draw(); }, "=": () => KEYS["+"](), "-": () => { zoom = Math.max(zoom / 1.15, 0.2); draw(); },
    n: () => show(at + 1), p: () => show(at - 1), Home: () => show(0), End: () => show(data.frames.length - 1), " ": toggle,
    a: () => { arrows.selectedIndex = (arrows.selectedIndex + 1) % arrows.length; draw(); },
    r: () => { turn = square(START); zoom = 1.25; draw(); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    rotate((event.clientX - held[0]) / 90, (event.clientY - held[1]) / 90);
    held = [event.clientX, event.clientY];
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { held = null; });
  slider.addEventListener("input", () => show(Number(slider.value)));
  play.addEventListener("click", toggle);
  arrows.addEventListener("change", draw);
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme:dark)").addEventListener("change", draw);
  draw();
})();
