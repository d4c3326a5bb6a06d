// Ties the maps together: the layer, the place that is read on all of them, and the buttons.

const shown = { layer: "objective", almr: NaN, lr: NaN };

function drawMaps() {
  const { layer } = shown;
  const every = ramps(layer);
  data.runs.forEach((_, k) => drawMap(k, layer, every[k]));
  const note = byId("scale-note");
  const one = data.scales[layer];
  const why = layer === "objective" ? note.dataset.own : "";
  note.textContent = one ? "All maps have the same axes and the same colours: equal colours are equal losses, darker is lower."
    : `All maps have the same axes. Each has a scale of colours of its own${why ? `: ${why}` : ", since these losses do not compare"}.`;
  drawKey(one ? [every[0]] : every, one);
  read();
}

/** The scales of the colours. @param {ReturnType<typeof rampOf>[]} every @param {boolean} one */
function drawKey(every, one) {
  const bars = every.map((share, k) => {
    const svg = shape("svg", { viewBox: "0 0 330 34", width: 330, height: 34, class: "chart", role: "img", "aria-label": `Scale of colours${one ? "" : ` of ${data.runs[k].name}`}` });
    for (let n = 0; n < 60; n++) svg.append(shape("rect", { x: 24 + n * 4.6, y: 4, width: 5, height: 10, fill: `rgb(${colour((n + 0.5) / 60)})` }));
    for (let n = 0; n <= 4; n++) {
      svg.append(shape("text", { x: 24 + n * 69, y: 28, "text-anchor": "middle", "aria-hidden": "true" }, number(share.invert(n / 4))));
    }
    if (!one) svg.append(shape("text", { class: "title", x: 0, y: 14 }, data.runs[k].mark));
    return svg;
  });
  byId("map-key").replaceChildren(...bars);
}

/** What all surfaces predict at the place that is read. */
function read() {
  const { almr, lr, layer } = shown;
  const line = byId("readout");
  for (const group of document.querySelectorAll(".cross-hair-group")) group.replaceChildren();
  if (Number.isNaN(almr)) {
    line.textContent = "Point at a map, or use the arrow keys on it: every run's prediction at that ALMR and LR.";
    return;
  }
  const said = data.runs.map((run, k) => {
    const value = predicted(k, layer, almr, lr);
    const best = fieldOf(k, layer).reduce((a, b) => Math.min(a, b), Infinity);
    return `${run.name} ${value === null ? "outside of what was tried" : `${number(value, 4)} (${number(value - best, 4, true)} over its best)`}`;
  });
  line.textContent = `Predicted at ALMR ${almrText(almr)}, LR ${lrText(lr)}: ${said.join("; ")}`;
  for (const svg of document.querySelectorAll(".maps svg.chart")) {
    const box = svg.getAttribute("viewBox") || "";
    const { x, y } = frame(Number(box.split(" ")[2]), Number(box.split(" ")[3]));
    const group = svg.querySelector(".cross-hair-group");
    if (group) {
      group.append(shape("line", { class: "cross-hair", x1: x(almr), x2: x(almr), y1: y.range[0], y2: y.range[1] }));
      group.append(shape("line", { class: "cross-hair", x1: x.range[0], x2: x.range[1], y1: y(lr), y2: y(lr) }));
    }
  }
}

/** @param {Element} svg @param {number} px @param {number} py in pixels of the screen */
function point(svg, px, py) {
  const place = svg.getBoundingClientRect();
  const [, , width, height] = (svg.getAttribute("viewBox") || "").split(" ").map(Number);
  const { x, y } = frame(width, height);
  const clip = (/** @type {number} */ value, /** @type {number[]} */ [low, high]) => Math.min(Math.max(value, low), high);
  shown.almr = clip(x.invert(((px - place.left) / place.width) * width), x.domain);
  shown.lr = clip(y.invert(((py - place.top) / place.height) * height), y.domain);
  read();
}

/** @param {KeyboardEvent} event @param {Element} svg */
function step(event, svg) {
  const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!by) return;
  event.preventDefault();
  const run = data.runs[Number(svg.getAttribute("data-run"))];
  if (Number.isNaN(shown.almr)) [shown.almr, shown.lr] = [Number(run.winner.almr), run.winner.lr];
  const { x, y } = frame(400, 300);
  shown.almr = Math.min(Math.max(shown.almr + 0.01 * by[0], x.domain[0]), x.domain[1]);
  shown.lr = Math.min(Math.max(shown.lr * 1.05 ** by[1], y.domain[0]), y.domain[1]);
  read();
}

function listenToMaps() {
  const mapOf = (/** @type {Event} */ event) => /** @type {Element} */ (event.target).closest(".maps svg.chart");
  const box = /** @type {Element} */ (document.querySelector(".maps"));
  box.addEventListener("pointermove", (event) => {
    const svg = mapOf(event);
    const at = /** @type {PointerEvent} */ (event);
    if (svg) point(svg, at.clientX, at.clientY);
  });
  box.addEventListener("pointerleave", () => { shown.almr = NaN; read(); });
  box.addEventListener("keydown", (event) => { const svg = mapOf(event); if (svg) step(/** @type {KeyboardEvent} */ (event), svg); });
}

function listenToFigures() {
  document.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("button[data-figure]"));
    const drawn = button && button.dataset.figure;
    const svg = drawn ? byId(drawn).querySelector("svg") : null;
    if (svg && drawn) download(`compare-${drawn}.svg`, standalone(svg), "image/svg+xml");
  });
}

function startMaps() {
  if (!data.runs.length) return;
  const box = /** @type {HTMLSelectElement} */ (byId("layer"));
  box.replaceChildren(...Object.keys(data.scales).map((layer) => element("option", { value: layer }, layerName(layer))));
  box.addEventListener("change", () => { shown.layer = box.value; drawMaps(); });
  listenToMaps();
  drawMaps();
}

for (const one of document.querySelectorAll("[hidden][data-script]")) one.removeAttribute("hidden");
listenToTheme();
listenToFigures();
drawIntervals();
startMaps();
let [width, timer] = [innerWidth, 0];
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(timer);
  timer = setTimeout(() => { drawIntervals(); if (data.runs.length) drawMaps(); }, 120);
});
/** @type {Element[]} */
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const one of opened) one.setAttribute("open", "");
});
addEventListener("afterprint", () => { for (const one of opened) one.removeAttribute("open"); });
document.documentElement.dataset.ready = "true";
