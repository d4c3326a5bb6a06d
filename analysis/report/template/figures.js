// The other figures. Each is a function of a width that returns an SVG, or null where its data are missing.

/** Trials in the order of the search. @returns {number[]} */
const inOrder = () => Array.from({ length: TRIALS }, (_, k) => k).filter((k) => !missing(data.trials.order[k]))
  .sort((a, b) => Number(data.trials.order[a]) - Number(data.trials.order[b]));

/** The lowest objective so far, against trials. @param {number} width */
function bestSoFar(width) {
  const order = inOrder();
  const values = order.map((k) => (data.trials.out[k] ? null : data.trials.objective[k]));
  if (known(values).length < 2) return null;
  const height = 230;
  const svg = figure(width, height, `best objective so far, against ${order.length} trials`);
  const shown = known(values).sort((a, b) => a - b);
  const middle = shown[Math.floor(shown.length * 0.7)];
  const x = scaleOf([0, order.length], [58, width - 10]);
  const y = scaleOf(extent([shown[0], Math.max(middle, shown[0] + 1e-3)], 0.15), [height - 46, 8]);
  axes(svg, x, y, { x: "trials", y: "objective" }, { grid: true });
  let best = Infinity;
  const line = [];
  values.forEach((value, n) => {
    if (value !== null && value < best) { if (line.length) line.push([x(n + 1), clampY(y, best)]); best = value; line.push([x(n + 1), clampY(y, best)]); }
    if (value !== null && y(value) >= y.range[1]) svg.append(shape("circle", { class: "dot", cx: x(n + 1), cy: y(value), r: order.length > 300 ? 2 : 3 }));
  });
  line.push([x(order.length), clampY(y, best)]);
  svg.append(shape("path", { class: "line", d: path(line) }));
  return svg;
}

const clampY = (/** @type {Scale} */ y, /** @type {number} */ value) => Math.max(y(value), y.range[1]);

/** The widths of the winner's intervals against trials. @param {number} width */
function widths(width) {
  const all = data.history;
  if (all.length < 2) return null;
  const height = 230;
  const lr = all.map((one) => Math.sqrt(one.lr[1] / one.lr[0]));
  const almr = all.map((one) => (one.almr[1] - one.almr[0]) / 2);
  const svg = figure(width, height, `half widths of the winner's intervals: ALMR ${almr.map((one) => number(one, 3)).join(", ")}; LR a factor of ${lr.map((one) => number(one, 2)).join(", ")}`);
  const x = scaleOf([0, all[all.length - 1].trials], [58, width - 76]);
  const y = scaleOf([0, Math.max(...almr, 0.02) * 1.15], [height - 46, 8]);
  const z = scaleOf([1, 1 + (Math.max(...lr, 1.05) - 1) * 1.15], [height - 46, 8]);
  axes(svg, x, y, { x: "trials", y: "ALMR, +/-" }, { grid: true });
  const right = shape("g", { class: "axes", "aria-hidden": "true" });
  const ticks = ticksOf(z, 4);
  tickTexts(z, ticks).forEach((text, k) => right.append(shape("text", { x: width - 70, y: z(ticks[k]) + 4 }, `${text} x`)));
  right.append(shape("text", { class: "name", "text-anchor": "middle", transform: `translate(${width - 6} ${(height - 38) / 2}) rotate(-90)` }, "LR, times or over"));
  svg.append(right);
  for (const [values, scale, name] of /** @type {[number[], Scale, string][]} */ ([[almr, y, "line"], [lr, z, "line second"]])) {
    svg.append(shape("path", { class: name, d: path(values.map((one, k) => [x(all[k].trials), scale(one)])) }));
    values.forEach((one, k) => svg.append(shape(name === "line" ? "circle" : "rect", name === "line"
      ? { class: "dot", cx: x(all[k].trials), cy: scale(one), r: 4 }
      : { class: "dot second", x: x(all[k].trials) - 4, y: scale(one) - 4, width: 8, height: 8 })));
  }
  return svg;
}

/** One row per name with a value and an interval. @param {number} width @param {string} title
 * @param {{name: string, value: number, ends: number[], kind: string}[]} rows
 * @param {{log?: boolean, axis: string, mark?: number, shade?: number[], text: (v: number) => string}} how */
function rowsFigure(width, title, rows, how) {
  if (!rows.length) return null;
  const left = Math.min(width * 0.32, 22 + 7.2 * Math.max(...rows.map((row) => row.name.length)));
  const height = 54 + 30 * rows.length;
  const svg = figure(width, height, `${title}: ${rows.map((row) => `${row.name} ${how.text(row.value)} (${how.text(row.ends[0])} to ${how.text(row.ends[1])})`).join("; ")}`);
  const log = Boolean(how.log);
  const values = [...rows.flatMap((row) => [row.value, ...row.ends]), ...(how.mark === undefined ? [] : [how.mark])];
  const x = scaleOf(extent(values, 0.06, log), [left, width - 14], log);
  const y = scaleOf([0, rows.length], [8, height - 46]);
  if (how.shade) svg.append(shape("rect", { class: "band", x: x(how.shade[0]), width: x(how.shade[1]) - x(how.shade[0]), y: 8, height: height - 54 }));
  axes(svg, x, scaleOf([0, 1], [height - 46, 8]), { x: how.axis, y: "" }, { yTicks: 0.01 });
  for (const text of svg.querySelectorAll(".axes text[text-anchor=end], .axes line.tick[x2='" + left + "']")) text.remove();
  if (how.mark !== undefined) svg.append(shape("line", { class: "zero", x1: x(how.mark), x2: x(how.mark), y1: 8, y2: height - 46 }));
  rows.forEach((row, n) => {
    const at = y(n + 0.5);
    const most = Math.floor((left - 12) / 6.6);
    const name = row.name.length > most ? `${row.name.slice(0, most - 1)}…` : row.name;
    svg.append(shape("text", { class: "row-name", x: left - 10, y: at + 4, "text-anchor": "end" }, name, shape("title", {}, row.name)));
    svg.append(shape("line", { class: `reach ${row.kind}`, x1: x(row.ends[0]), x2: x(row.ends[1]), y1: at, y2: at }));
    svg.append(shape("circle", { class: `reach ${row.kind}`, cx: x(row.value), cy: at, r: 5 }));
  });
  return svg;
}

/** The launch's LR by every rule, and the small model's. @param {number} width */
function transferFigure(width) {
  if (!data.rules.length || !data.winner) return null;
  const rows = data.rules.map((rule) => ({
    name: `${rule.name}${rule.chosen ? " (the study's)" : rule.applies ? "" : " (does not apply)"}`,
    value: rule.lr, ends: rule.interval, kind: rule.chosen ? "chosen" : rule.applies ? "" : "faint",
  }));
  rows.push({ name: "small model's winner", value: data.winner.lr, ends: data.winner.lr_interval, kind: "small" });
  const chosen = data.rules.find((rule) => rule.chosen);
  return rowsFigure(width, "LR of the launch by every rule", rows, {
    log: true, axis: "peak LR of the launch", text: lrText, ...(chosen ? { shade: [chosen.lr / 2, chosen.lr * 2] } : {}),
  });
}

/** The change of each score from the base model to the chosen trial. @param {number} width */
function scoresFigure(width) {
  const rows = data.scores.filter((one) => one.change !== null && one.interval).map((one) => {
    const ends = /** @type {number[]} */ (one.interval).map((end) => end * one.sign).sort((a, b) => a - b);
    const kind = one.verdict === "better" ? "good" : one.verdict === "worse" ? "bad" : "faint";
    return { name: scoreLabel(one.name), value: Number(one.change) * one.sign, ends, kind };
  });
  return rowsFigure(width, "change of each score", rows, { axis: "change from the base model, above 0: better", mark: 0, text: (v) => number(v, 3, true) });
}

/** One language's loss against the other's: the trials, the front of all weights, the base model. @param {number} width */
function languagesFigure(width) {
  const front = data.winner ? data.winner.front.filter((point) => point.length > 8) : [];
  const { original, additional } = data.trials.loss;
  if (!front.length || !original || !additional) return null;
  const height = Math.round(Math.min(width * 0.75, 380));
  const svg = figure(width, height, `${label("additional")} loss against ${label("original")} loss: ${TRIALS} trials and the winner at every weight`);
  const base = ["original", "additional"].map((name) => data.base[name]).filter((one) => one !== undefined);
  const spread = (/** @type {number} */ c, /** @type {number | undefined} */ more) => extent([...front.map((point) => Number(point[c])), ...(more === undefined ? [] : [more])], 0.12);
  const x = scaleOf(spread(7, base.length === 2 ? base[0] : undefined), [58, width - 12]);
  const y = scaleOf(spread(8, base.length === 2 ? base[1] : undefined), [height - 46, 8]);
  axes(svg, x, y, { x: `${label("original")} loss (${data.unit})`, y: `${label("additional")} loss` }, { grid: true });
  for (let k = 0; k < TRIALS; k++) {
    const [a, b] = [original[k], additional[k]];
    if (data.trials.out[k] || missing(a) || missing(b)) continue;
    const [px, py] = [x(Number(a)), y(Number(b))];
    if (px < x.range[0] || px > x.range[1] || py < y.range[1] || py > y.range[0]) continue;
    svg.append(shape("circle", { class: "dot", cx: px, cy: py, r: TRIALS > 300 ? 2 : 3.5 }, shape("title", {}, trialName(k))));
  }
  svg.append(shape("path", { class: "line", d: path(front.map((point) => [x(Number(point[7])), y(Number(point[8]))])) }));
  if (base.length === 2) {
    svg.append(shape("path", { class: "cross-mark", d: "M-6-6L6 6M-6 6L6-6", transform: `translate(${x(base[0])} ${y(base[1])})` }));
    svg.append(shape("text", { class: "note", x: x(base[0]) + 10, y: y(base[1]) + 4, "text-anchor": x(base[0]) > width - 110 ? "end" : "start", dx: x(base[0]) > width - 110 ? -20 : 0 }, "base model"));
  }
  return svg;
}

/** The winner's ALMR and LR at every weight, in two panels. @param {number} width */
function frontFigure(width) {
  const front = data.winner ? data.winner.front : [];
  if (!front.length || missing(front[0][1])) return null;
  const height = 360;
  const svg = figure(width, height, `the winner's ALMR and LR as the weight of ${label("additional")} goes from 0 to 1`);
  const x = scaleOf([0, 1], [58, width - 12]);
  const panels = /** @type {[number, Scale, string][]} */ ([
    [1, scaleOf(extent(front.flatMap((point) => [Number(point[2]), Number(point[3])])), [height / 2 - 30, 8]), "ALMR"],
    [4, scaleOf(extent(front.flatMap((point) => [Number(point[5]), Number(point[6])]), 0.05, true), [height - 46, height / 2 + 4], true), "peak LR"],
  ]);
  for (const [column, y, name] of panels) {
    axes(svg, x, y, { x: column === 4 ? `weight of ${label("additional")}` : "", y: name }, { grid: true });
    const line = (/** @type {number} */ c) => front.map((point) => [x(Number(point[0])), y(Number(point[c]))]);
    svg.append(shape("path", { class: "band", d: band(line(column + 2), line(column + 1)) }));
    svg.append(shape("path", { class: "line", d: path(line(column)) }));
  }
  return svg;
}

/** The objective along the LR, a panel for each of at most nine tried ALMRs. @param {number} width */
function slicesFigure(width) {
  const { lattice } = page;
  if (!lattice || data.alone || !data.winner) return null;
  const { almr, lr, out } = data.trials;
  const used = Array.from({ length: TRIALS }, (_, k) => k).filter((k) => !out[k] && !missing(almr[k]));
  const every = [...new Set(used.map((k) => Number(almr[k])))].sort((a, b) => a - b);
  const most = Math.min(9, every.length);
  const chosen = [...new Set(Array.from({ length: most }, (_, n) => every[Math.round((n * (every.length - 1)) / Math.max(1, most - 1))]))];
  const across = Math.max(1, Math.min(chosen.length, Math.floor(width / 250)));
  const [wide, high] = [(width - 50) / across, 170];
  const height = Math.ceil(chosen.length / across) * (high + 44);
  const [mean, sd] = [weighted(page.weights, lattice.mean), weightedSd(page.weights, lattice.sd)];
  const losses = known(used.map(trialLoss)).sort((a, b) => a - b);
  const top = losses[0] + 4 * (losses[Math.floor(losses.length / 2)] - losses[0]);
  const svg = figure(width, height, `objective along the LR at ALMR ${chosen.map(almrText).join(", ")}`);
  chosen.forEach((one, n) => {
    const [left, up] = [50 + (n % across) * wide, Math.floor(n / across) * (high + 44)];
    const x = scaleOf(extent(lattice.lr, 0.02, true), [left + 8, left + wide - 12], true);
    const y = scaleOf(extent([losses[0], Math.min(top, losses[losses.length - 1])], 0.08), [up + high, up + 20]);
    axes(svg, x, y, { x: "", y: "" }, { grid: true, xTicks: Math.max(3, wide / 70), yTicks: 4 });
    svg.append(shape("text", { class: "title", x: (x.range[0] + x.range[1]) / 2, y: up + 13, "text-anchor": "middle" }, `ALMR ${almrText(one)}`));
    const at = lattice.lr.map((_, j) => {
      const i = indexOf(lattice.almr, one);
      return [matrixAt(mean, lattice.lr.length, i, j), data.quantiles[0] * matrixAt(sd, lattice.lr.length, i, j)];
    });
    const line = (/** @type {number} */ side) => at.map(([m, s], j) => [x(lattice.lr[j]), y(m + side * s)]);
    const inside = framed(svg, x, y);
    inside.append(shape("path", { class: "band", d: band(line(1), line(-1)) }));
    inside.append(shape("path", { class: "line", d: path(line(0)) }));
    for (const k of used) {
      const loss = trialLoss(k);
      if (Number(almr[k]) === one && loss !== null && loss <= y.domain[1]) svg.append(shape("circle", { class: "dot", cx: x(Number(lr[k])), cy: y(loss), r: 3.5 }, shape("title", {}, trialName(k))));
    }
  });
  return svg;
}

/** Every trial's training loss. @param {number} width */
function trainingFigure(width) {
  const { axes: every, axis, loss } = data.curves;
  const drawn = loss.map((_, k) => k).filter((k) => loss[k] && /** @type {number[]} */ (loss[k]).length > 1);
  if (!drawn.length) return null;
  const height = Math.round(Math.min(width * 0.6, 400));
  const svg = figure(width, height, `training loss of ${drawn.length} trials against tokens`);
  const sound = drawn.filter((k) => data.trials.status[k] !== "diverged");
  const values = (sound.length ? sound : drawn).flatMap((k) => loss[k] || []);
  const x = scaleOf([0, Math.max(...every.map((one) => one[one.length - 1]))], [58, width - 64]);
  const y = scaleOf(extent(values, 0.05), [height - 46, 8]);
  axes(svg, x, y, { x: "", y: `training loss (${data.unit})` }, { grid: true });
  for (const text of svg.querySelectorAll("text[text-anchor=middle]:not(.name)")) text.textContent = tokensText(Number(text.textContent));
  svg.append(shape("text", { class: "axis-name", x: (x.range[0] + x.range[1]) / 2, y: height - 10, "text-anchor": "middle" }, "tokens"));
  const every_lr = known(data.trials.lr).sort((a, b) => a - b);
  const lrs = /** @type {[number, number]} */ ([every_lr[0], every_lr[every_lr.length - 1]]);
  const share = scaleOf(lrs, [0, 0.85], true);
  const inside = framed(svg, x, y);
  for (const k of drawn) {
    const line = /** @type {number[]} */ (loss[k]).map((one, n) => [x(every[Number(axis[k])][n]), y(one)]);
    inside.append(shape("path", { class: "curve", stroke: `rgb(${colour(share(Number(data.trials.lr[k])))})`, d: path(line) }, shape("title", {}, trialName(k))));
  }
  const key = shape("g", { class: "axes", "aria-hidden": "true" });
  for (let k = 0; k < 40; k++) key.append(shape("rect", { x: width - 52, y: 8 + ((39 - k) * (height - 54)) / 40, width: 9, height: (height - 54) / 40 + 0.5, fill: `rgb(${colour((0.85 * k) / 39)})` }));
  lrs.forEach((one, n) => key.append(shape("text", { x: width - 40, y: n ? 18 : height - 48 }, lrText(one))));
  svg.append(key);
  return svg;
}

/** @type {Record<string, (width: number) => SVGElement | null>} */
const FIGURES = {
  history: bestSoFar, widths, transfer: transferFigure, scores: scoresFigure, languages: languagesFigure, front: frontFigure,
  slices: slicesFigure, training: trainingFigure,
};

/** Draw every figure whose place is on view; a figure without data takes its place away. */
function drawFigures() {
  for (const [name, draw] of Object.entries(FIGURES)) {
    const box = document.getElementById(`figure-${name}`);
    if (!box) continue;
    const place = /** @type {HTMLElement} */ (box.closest("figure") || box);
    const hidden = box.clientWidth === 0;
    const made = draw(Math.max(280, hidden ? 640 : box.clientWidth));
    place.hidden = !made;
    if (made) box.replaceChildren(made);
  }
}
