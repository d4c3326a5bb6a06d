// One map per run, all with the same axes, and with one scale of colours where the losses compare.

const data = /** @type {ComparisonData} */ (JSON.parse(byId("data").textContent || ""));
/** @type {Surface[]} */
const surfaces = data.runs.map((run) => ({
  rows: run.grid_almr.length, columns: run.grid_lr.length,
  losses: Object.fromEntries(Object.entries(run.mean).map(([name, text]) => [name, decode(text)])),
}));

/** A layer of a run on its grid. @param {number} k @param {string} layer @returns {Matrix} */
function fieldOf(k, layer) {
  return layer === "objective" ? weighted(data.runs[k].weights, surfaces[k].losses) : surfaces[k].losses[layer];
}

/** The layer of a run's trials. @param {number} k @param {string} layer @returns {Numbers} */
function trialsOf(k, layer) {
  const { loss, weights, almr } = data.runs[k];
  if (layer !== "objective") return loss[layer];
  const names = Object.keys(weights);
  return almr.map((_, n) => names.some((name) => missing(loss[name][n])) ? null
    : names.reduce((sum, name) => sum + weights[name] * Number(loss[name][n]), 0));
}

/** The colours of a layer: one scale for all runs, or one for each. @param {string} layer */
function ramps(layer) {
  const ends = data.runs.map((_, k) => {
    const sorted = [...fieldOf(k, layer)].sort((a, b) => a - b);
    return [sorted[0], sorted[Math.floor((sorted.length - 1) * 0.97)]];
  });
  if (!data.scales[layer]) return ends.map(([low, high]) => rampOf(low, high));
  const one = rampOf(Math.min(...ends.map((end) => end[0])), Math.max(...ends.map((end) => end[1])));
  return ends.map(() => one);
}

/** The axes that all maps have. @param {number} width @param {number} height */
function frame(width, height) {
  const every = (/** @type {(run: MapData) => (number | null)[]} */ values) => known(data.runs.flatMap(values));
  const almrs = every((run) => [...run.grid_almr, ...run.almr]);
  const lrs = every((run) => [...run.grid_lr, ...run.lr]);
  return { x: scaleOf(extent(almrs, 0.025), [58, width - 12]), y: scaleOf(extent(lrs, 0.03, true), [height - 46, 8], true) };
}

/** @param {number} k @param {string} layer @param {ReturnType<typeof rampOf>} share */
function drawMap(k, layer, share) {
  const run = data.runs[k];
  const box = byId(`map-${run.mark}`);
  const width = Math.max(280, box.clientWidth);
  const height = Math.round(Math.min(width * 0.8, 380));
  const scales = frame(width, height);
  const svg = shape("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, class: "chart", role: "img", tabindex: 0, "data-run": k,
    "aria-label": `${run.name}: ${layerName(layer)} over ALMR and LR. Arrow keys move the place that is read on all maps.`,
  });
  const { x, y } = scales;
  svg.append(shape("rect", { class: "ground", x: x.range[0], y: y.range[1], width: x.range[1] - x.range[0], height: y.range[0] - y.range[1] }));
  drawField(svg, k, fieldOf(k, layer), share, scales);
  axes(svg, x, y, { x: "ALMR (share of training tokens)", y: "peak LR" }, { xTicks: 5 });
  drawTrials(svg, k, trialsOf(k, layer), share, scales);
  drawWinners(svg, k, scales);
  svg.append(shape("g", { class: "cross-hair-group" }));
  box.replaceChildren(svg);
}

/** @param {SVGElement} svg @param {number} k @param {Matrix} field @param {ReturnType<typeof rampOf>} share
 * @param {{x: Scale, y: Scale}} scales */
function drawField(svg, k, field, share, { x, y }) {
  const { rows, columns } = surfaces[k];
  const { grid_almr: almr, grid_lr: lr } = data.runs[k];
  const [left, right, bottom, top] = [x(almr[0]), x(almr[rows - 1]), y(lr[0]), y(lr[columns - 1])];
  const [fine, wide] = [finerMatrix(field, rows, columns), (columns - 1) * TIMES + 1];
  const sized = { x: left, y: top, width: right - left, height: bottom - top, preserveAspectRatio: "none" };
  svg.append(shape("image", { ...sized, href: picture(fine, wide, share), "aria-hidden": "true" }));
  const at = (/** @type {number[]} */ [i, j]) =>
    [left + ((right - left) * i) / (TIMES * (rows - 1)), bottom + ((top - bottom) * j) / (wide - 1)];
  for (let n = 1; n < 10; n++) {
    const pieces = contour(fine, wide, share.invert(n / 10));
    svg.append(shape("path", { class: "contour", d: pieces.map((piece) => path(piece.map(at))).join("") }));
  }
}

/** @param {SVGElement} svg @param {number} k @param {Numbers} values @param {ReturnType<typeof rampOf>} share
 * @param {{x: Scale, y: Scale}} scales */
function drawTrials(svg, k, values, share, { x, y }) {
  const { almr, lr, status } = data.runs[k];
  const group = shape("g", { class: almr.length > 300 ? "trials many" : "trials", "aria-hidden": "true" });
  const size = almr.length > 300 ? 2.5 : 4;
  almr.forEach((one, n) => {
    if (missing(one)) return;
    const place = { transform: `translate(${x(Number(one)).toFixed(1)} ${y(Number(lr[n])).toFixed(1)})` };
    const fill = missing(values[n]) ? "none" : `rgb(${colour(share(Number(values[n])))})`;
    group.append(status[n] === "diverged" ? shape("path", { ...place, class: "trial diverged", d: "M-3.5-3.5L3.5 3.5M-3.5 3.5L3.5-3.5" })
      : shape("circle", { ...place, class: "trial complete", r: size, fill }));
  });
  svg.append(group);
}

/** The run's own winner with intervals and region, and the others by their letters. @param {SVGElement} svg
 * @param {number} k @param {{x: Scale, y: Scale}} scales */
function drawWinners(svg, k, { x, y }) {
  const run = data.runs[k];
  const over = shape("g", { class: "over" });
  if (run.region.length > 1) {
    const side = (/** @type {number} */ n) => run.region.map((row) => [x(row[0]), y(row[n])]);
    over.append(shape("path", { class: "region", d: band(side(2), side(1)) }));
  }
  data.runs.forEach((other, n) => {
    if (n !== k && !missing(other.winner.almr)) {
      over.append(shape("text", { class: "other-mark", x: x(Number(other.winner.almr)), y: y(other.winner.lr) + 4 }, other.mark));
    }
  });
  if (!missing(run.winner.almr)) {
    const [almr, lr] = [Number(run.winner.almr), run.winner.lr];
    const [a, b] = [run.winner.almr_interval.map(Number), run.winner.lr_interval];
    const bars = path([[x(a[0]), y(lr)], [x(a[1]), y(lr)]]) + path([[x(almr), y(b[0])], [x(almr), y(b[1])]]);
    over.append(shape("path", { class: "winner halo", d: bars }), shape("path", { class: "winner", d: bars }));
    over.append(shape("circle", { class: "winner ring", cx: x(almr), cy: y(lr), r: 7 }));
  }
  svg.append(over);
}

/** What a run's surface predicts at a point; null outside of what it tried. @param {number} k @param {string} layer
 * @param {number} almr @param {number} lr */
function predicted(k, layer, almr, lr) {
  const { grid_almr: almrs, grid_lr: lrs } = data.runs[k];
  const { rows, columns } = surfaces[k];
  const [i, j] = [indexOf(almrs, almr), indexOf(lrs.map(Math.log), Math.log(lr))];
  const inside = i >= -1e-9 && j >= -1e-9 && i <= rows - 1 + 1e-9 && j <= columns - 1 + 1e-9;
  const clip = (/** @type {number} */ at, /** @type {number} */ last) => Math.min(Math.max(at, 0), last);
  return inside ? matrixAt(fieldOf(k, layer), columns, clip(i, rows - 1), clip(j, columns - 1)) : null;
}

/** @param {string} layer */
function layerName(layer) {
  return layer === "objective" ? layer : `${[...new Set(data.runs.map((run) => run.labels[layer] || layer))].join(" / ")} loss`;
}

/** The winners of all runs with their intervals, on one axis. @param {string} id @param {boolean} log
 * @param {(run: MapData) => Numbers} values of a run: the best, low, high */
function drawWinnersOn(id, log, values) {
  const box = byId(id);
  const rows = data.winners.map((run) => ({ run, of: values(run) })).filter((row) => !missing(row.of[0]));
  if (!rows.length) { box.replaceChildren("No run varied it."); return; }
  const width = Math.max(280, box.clientWidth);
  const height = 26 * rows.length + 46;
  const svg = figure(width, height, `${log ? "Best LR" : "Best ALMR"} of each run, with its interval`);
  const x = scaleOf(extent(known(rows.flatMap((row) => row.of)), 0.08, log), [96, width - 14], log);
  const y = scaleOf([0, rows.length], [height - 46, 4]);
  axes(svg, x, y, { x: log ? "peak LR" : "ALMR", y: "" }, { grid: true, yTicks: 0.5, xTicks: Math.max(3, width / 110) });
  for (const stray of svg.querySelectorAll(".axes text[text-anchor=end]")) stray.remove();
  rows.forEach(({ run, of }, n) => {
    const place = y(rows.length - n - 0.5);
    const [best, low, high] = of.map(Number);
    const name = run.name.length > 11 ? `${run.name.slice(0, 10)}…` : run.name;
    svg.append(shape("text", { class: "row-name", x: 0, y: place + 4 }, `${run.mark} ${name}`));
    svg.append(shape("line", { class: `reach${run.refused ? " faint" : ""}`, x1: x(low), x2: x(high), y1: place, y2: place }));
    svg.append(shape("circle", { class: `reach${run.refused ? " faint" : ""}`, cx: x(best), cy: place, r: 5 }, shape("title", {}, `${run.name}${run.refused ? ", refused" : ""}`)));
  });
  box.replaceChildren(svg);
}

function drawIntervals() {
  drawWinnersOn("best-almr", false, (run) => (run.alone === "lr" ? [null] : [run.almr, ...run.almr_interval]));
  drawWinnersOn("best-lr", true, (run) => (run.alone === "almr" ? [null] : [run.lr, ...run.lr_interval]));
}
