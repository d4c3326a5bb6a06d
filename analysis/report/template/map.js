// The map: the surface of a layer, every trial on it, the curve of best LR, the joint region, the winner.

const MARKS = { diverged: "M-4.5-4.5L4.5 4.5M-4.5 4.5L4.5-4.5", failed: "M0-5L5 4H-5Z", unused: "M-4-4H4V4H-4Z" };
/** @type {Plot | null} */
let plot = null;

/** The trials that run now, where their ALMR has a place. */
const running = () => (page.live && !data.alone ? page.live.running : []);

/** @param {number} k */
function markOf(k) {
  const { status, out } = data.trials;
  return status[k] === "diverged" ? "diverged" : status[k] === "failed" ? "failed" : out[k] ? "unused" : "complete";
}

function drawMap() {
  const box = byId("map");
  if (!known(data.trials.lr).length && !running().length) return; // nothing has a place
  const every = layers();
  const layer = every.find((one) => one.key === page.layer) || every[0];
  const width = Math.max(300, box.clientWidth);
  const height = Math.round(Math.min(width < 560 ? width * 0.9 : width * 0.62, 470));
  const name = data.alone ? "along one hyper-parameter" : "over ALMR and LR";
  const svg = shape("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, class: "chart", role: "group",
    "aria-label": `${layer.label} ${name}: ${TRIALS} trials. Arrow keys go from trial to trial.`,
  });
  const share = shares(layer);
  if (data.alone) drawAlong(svg, width, height, layer);
  else drawSurface(svg, width, height, layer, share);
  drawTrials(svg, layer, share);
  if (!data.alone) drawWinner(svg);
  box.replaceChildren(svg);
  for (const item of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-mark]"))) {
    item.hidden = !box.querySelector(item.dataset.mark || "");
  }
  markTrials();
}

/** The place of a value in the layer's colours: 0 is best. @param {Layer} layer */
function shares(layer) {
  const values = [...(layer.field || []), ...known(layer.trials)].sort((a, b) => a - b);
  const [low, high] = [values[0] ?? 0, values[Math.floor((values.length - 1) * (layer.field ? 0.97 : 1))] ?? 1];
  if (layer.key === "sd" || layer.higher) {
    const even = (/** @type {number} */ v) => (layer.higher ? high - v : v - low) / (high - low || 1);
    return Object.assign(even, { invert: (/** @type {number} */ s) => (layer.higher ? high - s * (high - low) : low + s * (high - low)) });
  }
  return rampOf(low, high);
}

/** @param {SVGElement} svg @param {number} width @param {number} height @param {Layer} layer
 * @param {ReturnType<typeof shares>} share */
function drawSurface(svg, width, height, layer, share) {
  const { almr, lr } = data.trials;
  const grid = page.lattice;
  const more = [...data.next.filter((one) => !missing(one[0])), ...running(), ...(page.live ? page.live.corners : [])];
  const x = scaleOf(extent([...known(almr), ...(grid ? grid.almr : []), ...more.map((one) => Number(one[0]))], 0.025), [58, width - 64]);
  const y = scaleOf(extent([...known(lr), ...(grid ? grid.lr : []), ...more.map((one) => Number(one[1]))], 0.03, true), [height - 46, 8], true);
  plot = { x, y, place: (k) => (missing(almr[k]) ? null : [x(Number(almr[k])), y(Number(lr[k]))]) };
  svg.append(shape("rect", { class: "ground", x: x.range[0], y: y.range[1], width: x.range[1] - x.range[0], height: y.range[0] - y.range[1] }));
  if (grid && layer.field) drawField(svg, grid, layer.field, share, { x, y });
  axes(svg, x, y, { x: "ALMR (share of training tokens)", y: "peak LR" });
  if (layer.field || known(layer.trials).length) drawKey(svg, width, y, share, layer);
}

/** @param {SVGElement} svg @param {Lattice} grid @param {Matrix} field @param {ReturnType<typeof shares>} share
 * @param {{x: Scale, y: Scale}} scales */
function drawField(svg, grid, field, share, { x, y }) {
  const [rows, columns] = [grid.almr.length, grid.lr.length];
  const [left, right] = [x(grid.almr[0]), x(grid.almr[grid.almr.length - 1])];
  const [bottom, top] = [y(grid.lr[0]), y(grid.lr[columns - 1])];
  const sized = { x: left, y: top, width: right - left, height: bottom - top, preserveAspectRatio: "none" };
  const smooth = (/** @type {Matrix} */ values) => finerMatrix(values, rows, columns);
  const [fine, wide] = [smooth(field), (columns - 1) * TIMES + 1];
  svg.append(shape("image", { ...sized, href: picture(fine, wide, share), "aria-hidden": "true" }));
  const at = (/** @type {number[]} */ [i, j]) =>
    [left + ((right - left) * i) / (TIMES * (rows - 1)), bottom + ((top - bottom) * j) / (wide - 1)];
  for (let k = 1; k < 10; k++) {
    const pieces = contour(fine, wide, share.invert(k / 10));
    svg.append(shape("path", { class: "contour", d: pieces.map((piece) => path(piece.map(at))).join("") }));
  }
  if (Object.keys(page.bounds).every((name) => !grid.mean[name])) return;
  const over = excess(grid, page.bounds, data.quantiles[1]);
  svg.append(shape("path", { class: "guard", d: contour(smooth(over), wide, 0).map((piece) => path(piece.map(at))).join("") }));
}

/** The scale of the colours. @param {SVGElement} svg @param {number} width @param {Scale} y
 * @param {ReturnType<typeof shares>} share @param {Layer} layer */
function drawKey(svg, width, y, share, layer) {
  const [bottom, top] = y.range;
  const group = shape("g", { class: "axes", "aria-hidden": "true" });
  for (let k = 0; k < 40; k++) {
    const step = (bottom - top) / 40;
    group.append(shape("rect", { x: width - 54, y: bottom - (k + 1) * step, width: 9, height: step + 0.5, fill: `rgb(${colour((k + 0.5) / 40)})` }));
  }
  const marks = [0, 1, 2, 3, 4].map((k) => share.invert(k / 4));
  const differ = (/** @type {number} */ digits) => new Set(marks.map((mark) => number(mark, digits))).size === marks.length;
  const digits = [2, 3, 4].find(differ) || 4;
  for (let k = 0; k <= 4; k++) {
    group.append(shape("text", { x: width - 41, y: bottom - (k / 4) * (bottom - top) + (k === 4 ? 10 : k ? 4 : 0) }, number(marks[k], digits)));
  }
  svg.append(group);
}

/** The loss along the one hyper-parameter that was fitted. @param {SVGElement} svg @param {number} width
 * @param {number} height @param {Layer} layer */
function drawAlong(svg, width, height, layer) {
  const name = data.alone === "almr" ? "almr" : "lr";
  const [values, axis] = [data.trials[name], page.lattice ? page.lattice[name] : []];
  const { field } = layer;
  const sd = page.lattice && layer.key === "objective" && field ? weightedSd(page.weights, page.lattice.sd) : null;
  const ends = (/** @type {number} */ k, /** @type {number} */ side) => Number(field && field[k]) + side * data.quantiles[0] * Number(sd && sd[k]);
  const sorted = known(layer.trials).sort((a, b) => a - b);
  const most = sorted.length ? sorted[0] + 4 * (sorted[Math.floor(sorted.length / 2)] - sorted[0]) : 1;
  const heights = [...sorted, ...(field || [])].filter((one) => one <= most);
  const x = scaleOf(extent([...known(values), ...axis], 0.03, name === "lr"), [58, width - 16], name === "lr");
  const y = scaleOf(extent(heights.length ? heights : [0, 1], 0.08), [height - 46, 8]);
  plot = { x, y, place: (k) => (missing(values[k]) ? null : [x(Number(values[k])), missing(layer.trials[k]) ? y.range[1] + 8 : Math.max(y(Number(layer.trials[k])), y.range[1] + 4)]) };
  svg.append(shape("rect", { class: "ground", x: x.range[0], y: y.range[1], width: x.range[1] - x.range[0], height: y.range[0] - y.range[1] }));
  if (field) {
    const inside = framed(svg, x, y);
    const line = (/** @type {number} */ side) => axis.map((one, k) => [x(one), y(ends(k, side))]);
    if (sd) inside.append(shape("path", { class: "band", d: band(line(1), line(-1)) }));
    inside.append(shape("path", { class: "line", d: path(axis.map((one, k) => [x(one), y(field[k])])) }));
  }
  if (data.winner && !missing(data.winner[name])) {
    const [low, high] = data.winner[name === "lr" ? "lr_interval" : "almr_interval"].map(Number);
    svg.append(shape("line", { class: "winner", x1: x(low), x2: x(high), y1: y.range[0] - 6, y2: y.range[0] - 6 }));
    svg.append(shape("circle", { class: "winner", cx: x(Number(data.winner[name])), cy: y.range[0] - 6, r: 5 }));
  }
  axes(svg, x, y, { x: name === "lr" ? "peak LR" : "ALMR (share of training tokens)", y: layer.label }, { grid: true });
}

/** @param {SVGElement} svg @param {Layer} layer @param {ReturnType<typeof shares>} share */
function drawTrials(svg, layer, share) {
  const group = shape("g", { class: TRIALS > 300 ? "trials many" : "trials", role: "listbox", "aria-label": "trials" });
  const seen = new Map();
  for (let k = 0; k < TRIALS; k++) {
    const place = plot && plot.place(k);
    if (!place) continue;
    const key = place.map(Math.round).join();
    seen.set(key, (seen.get(key) || 0) + 1);
    const shift = data.alone || seen.get(key) > 5 ? 0 : 6 * Math.ceil((seen.get(key) - 1) / 2) * (seen.get(key) % 2 ? -1 : 1);
    const mark = markOf(k);
    const named = { class: `trial ${mark}`, "data-k": k, transform: `translate(${(place[0] + shift).toFixed(1)} ${place[1].toFixed(1)})`, tabindex: -1, role: "option", "aria-label": trialName(k) };
    const value = layer.trials[k];
    const fill = missing(value) ? null : `rgb(${colour(share(Number(value)))})`;
    group.append(mark === "complete"
      ? shape("circle", { ...named, r: TRIALS > 300 ? 3 : 5.5, fill: data.alone ? null : fill })
      : shape("path", { ...named, d: MARKS[mark] }));
  }
  const first = group.firstElementChild;
  if (first) first.setAttribute("tabindex", "0");
  svg.append(group);
}

/** The winner with its intervals, the curve of best LR, the region, the edge, and suggested trials. @param {SVGElement} svg */
function drawWinner(svg) {
  if (!plot) return;
  const { x, y } = plot;
  const over = shape("g", { class: "over" });
  const found = data.winner;
  const curve = found ? found.curve.filter((one) => !missing(one[0])).map((one) => one.map(Number)) : [];
  if (found && !page.changed && curve.length > 1) {
    over.append(shape("path", { class: "best-band", d: band(curve.map((c) => [x(c[0]), y(c[3])]), curve.map((c) => [x(c[0]), y(c[2])])) }));
    over.append(shape("path", { class: "best halo", d: path(curve.map((c) => [x(c[0]), y(c[1])])) }));
    over.append(shape("path", { class: "best", d: path(curve.map((c) => [x(c[0]), y(c[1])])) }));
  }
  if (found && found.edge.length > 1) over.append(shape("path", { class: "edge", d: path(found.edge.map(([a, lr]) => [x(a), y(lr)])) }));
  if (found && !page.changed && found.region.length > 1) {
    over.append(shape("path", { class: "region", d: band(found.region.map((r) => [x(r[0]), y(r[2])]), found.region.map((r) => [x(r[0]), y(r[1])])) }));
  }
  for (const [almr, lr] of data.next) {
    if (!missing(almr)) over.append(shape("path", { class: "suggested", d: "M0-7L7 0L0 7L-7 0Z", transform: `translate(${x(Number(almr))} ${y(Number(lr))})` }));
  }
  if (found && !missing(found.almr)) over.append(cross(Number(found.almr), found.lr, found));
  if (page.found) over.append(shape("path", { class: "what-if", d: "M0-9V9M-9 0H9M0-6A6 6 0 1 0 .01-6Z", transform: `translate(${x(page.found.almr)} ${y(page.found.lr)})` }));
  for (const [almr, lr, share] of running()) {
    const place = { transform: `translate(${x(almr)} ${y(lr)})` };
    over.append(shape("g", place, shape("circle", { class: "running ground", r: 6.5 }), shape("circle", { class: "running", r: 6.5, pathLength: 1, "stroke-dasharray": `${share} 1`, transform: "rotate(-90)" })));
  }
  svg.insertBefore(over, svg.querySelector(".trials"));
  const top = shape("g", { class: "over" }, ...over.querySelectorAll(".winner-cross, .what-if"));
  svg.append(top);
}

/** The winner as a cross of its intervals. @param {number} almr @param {number} lr @param {WinnerData} found */
function cross(almr, lr, found) {
  const { x, y } = /** @type {Plot} */ (plot);
  const [a, b] = [found.almr_interval.map(Number), found.lr_interval];
  const bars = path([[x(a[0]), y(lr)], [x(a[1]), y(lr)]]) + path([[x(almr), y(b[0])], [x(almr), y(b[1])]]);
  return shape("g", { class: "winner-cross" }, shape("path", { class: "winner halo", d: bars }), shape("path", { class: "winner", d: bars }),
    shape("circle", { class: "winner ring", cx: x(almr), cy: y(lr), r: 7 }));
}

/** The trial under the pointer, -1 where none is near. @param {number} px @param {number} py */
function trialAt(px, py) {
  let [best, at] = [15, -1];
  for (let k = 0; plot && k < TRIALS; k++) {
    const place = plot.place(k);
    const distance = place ? Math.hypot(place[0] - px, place[1] - py) : Infinity;
    if (distance < best) [best, at] = [distance, k];
  }
  return at;
}

/** What the surfaces predict at a point of the map, in words. @param {number} px @param {number} py */
function prediction(px, py) {
  const { lattice } = page;
  if (!plot || !lattice || data.alone) return "";
  const [almr, lr] = [plot.x.invert(px), plot.y.invert(py)];
  const [i, j] = [indexOf(lattice.almr, almr), indexOf(lattice.lr.map(Math.log), Math.log(lr))];
  const [rows, columns] = [lattice.almr.length, lattice.lr.length];
  if (i < 0 || j < 0 || i > rows - 1 || j > columns - 1) return "";
  const at = (/** @type {Matrix} */ values) => matrixAt(values, columns, i, j);
  const losses = Object.keys(lattice.mean).filter((name) => name !== "total").map((name) => {
    const loss = at(lattice.mean[name]);
    return `${label(name)} ${number(loss)}${name in data.base ? ` (${number(loss - data.base[name], 3, true)})` : ""}`;
  });
  const doubt = data.quantiles[0] * at(weightedSd(page.weights, lattice.sd));
  return `Predicted at ALMR ${almrText(almr)}, LR ${lrText(lr)}: objective ${number(at(weighted(page.weights, lattice.mean)), 4)} ± ${number(doubt, 4)}${losses.length ? `; ${losses.join(", ")}` : ""}`;
}

/** Show which trials are hot and selected, on the map. */
function markTrials() {
  for (const one of byId("map").querySelectorAll(".trial.hot, .trial.selected")) one.classList.remove("hot", "selected");
  for (const [k, name] of /** @type {[number, string][]} */ ([[page.hot, "hot"], [page.selected, "selected"]])) {
    const mark = byId("map").querySelector(`.trial[data-k="${k}"]`);
    if (mark) mark.classList.add(name);
  }
}

function listenToMap() {
  const box = byId("map");
  box.addEventListener("pointermove", (event) => {
    const frame = box.getBoundingClientRect();
    const [px, py] = [event.clientX - frame.left, event.clientY - frame.top];
    hover(trialAt(px, py), prediction(px, py));
  });
  box.addEventListener("pointerleave", () => hover(-1, ""));
  box.addEventListener("click", () => page.hot >= 0 && select(page.hot));
  box.addEventListener("focusin", (event) => {
    const k = /** @type {Element} */ (event.target).getAttribute("data-k");
    if (k !== null) hover(Number(k), "");
  });
  box.addEventListener("keydown", (event) => {
    const k = /** @type {Element} */ (event.target).getAttribute("data-k");
    if (k === null) return;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(Number(k)); return; }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const marks = /** @type {SVGElement[]} */ ([...box.querySelectorAll(".trial")]);
    const next = marks[(marks.indexOf(/** @type {SVGElement} */ (event.target)) + step + marks.length) % marks.length];
    for (const mark of marks) mark.setAttribute("tabindex", mark === next ? "0" : "-1");
    next.focus();
  });
}
