// What if: the winner of other weights or of a forgetting guard, and the cost of an LR that is off.

/** @typedef {{weights: Record<string, number>, bounds: Record<string, number>, command: string}} Aim */

const inputOf = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));

/** The losses that can be weighed, the additional language last. @returns {string[]} */
function weighable() {
  const named = Object.keys(data.goal.weights);
  const languages = ["original", "additional"].filter((name) => page.lattice && page.lattice.mean[name]);
  return named.some((name) => name !== "original" && name !== "additional") ? [...new Set([...named, ...languages])] : languages;
}

const guardable = () => Boolean(page.lattice && page.lattice.mean.original && page.lattice.mean.additional && data.base.original);

function buildWhatIf() {
  const names = weighable();
  if (!document.getElementById("what-if")) return; // a run without a fit
  if (!page.lattice || !data.winner || data.alone && names.length < 2) { byId("what-if").hidden = true; return; }
  const box = byId("weights");
  const two = names.length === 2 && names[0] === "original" && names[1] === "additional";
  const shown = two ? ["additional"] : names;
  for (const name of names.length > 1 ? shown : []) {
    const [id, value] = [`weight-${names.indexOf(name)}`, data.goal.weights[name] || 0];
    const slider = element("input", { type: "range", id, min: 0, max: 1, step: 0.05, value: two && data.goal.forgetting !== null ? 0.5 : value });
    box.append(element("div", { class: "slider" }, element("label", { for: id }, `Weight of ${label(name)}`), element("output", { for: id, id: `${id}-shown` }), slider));
    slider.addEventListener("input", () => { inputOf("use-guard").checked = false; moved(); });
  }
  byId("guard-row").hidden = !guardable();
  inputOf("guard").value = String(data.goal.forgetting ?? 3);
  inputOf("use-guard").checked = data.goal.forgetting !== null;
  byId("guard-label").textContent = `Instead: ${label("original")} loss may rise by at most`;
  inputOf("guard").addEventListener("input", () => { inputOf("use-guard").checked = true; moved(); });
  inputOf("use-guard").addEventListener("change", moved);
  inputOf("off").addEventListener("input", drawOff);
  byId("reset").addEventListener("click", resetWhatIf);
  recompute();
  drawOff();
}

function moved() {
  page.moved = true;
  recompute();
}

function resetWhatIf() {
  page.moved = false;
  weighable().forEach((name, n) => { const slider = inputOf(`weight-${n}`); if (slider) slider.value = String(data.goal.weights[name] ?? 0); });
  if (data.goal.forgetting !== null && inputOf("weight-1")) inputOf("weight-1").value = "0.5";
  inputOf("guard").value = String(data.goal.forgetting ?? 3);
  inputOf("use-guard").checked = data.goal.forgetting !== null;
  recompute();
}

/** An option of guards, as of `almr fit`. @param {[string, number][]} guards */
const guardOption = (guards) => (guards.length ? ` --guard ${quoted(guards.map(([name, percent]) => `${name}=${percent}`).join())}` : "");

/** The highest losses that guards allow. @param {[string, number][]} guards */
const boundsOf = (guards) => Object.fromEntries(guards.map(([name, percent]) => [name, data.base[name] * (1 + percent / 100)]));

/** The objective that the controls state, and the command that fits it. Until one is moved, that of the fit itself: a
 * slider has steps, and may not stand where the fit does. @returns {Aim} */
function aimOf() {
  const guards = Object.entries(data.goal.guards);
  if (page.moved ? inputOf("use-guard").checked && guardable() : data.goal.forgetting !== null) {
    return forgettingAim(page.moved ? Number(inputOf("guard").value) : Number(data.goal.forgetting), guards);
  }
  const names = weighable();
  if (names.length < 2) return { weights: data.goal.weights, bounds: boundsOf(guards), command: data.table + guardOption(guards) };
  const raw = names.map((name, n) => {
    if (!page.moved) return data.goal.weights[name] || 0;
    const slider = inputOf(`weight-${n}`);
    return slider ? Number(slider.value) : 1 - Number(inputOf("weight-1").value);
  });
  const total = raw.reduce((a, b) => a + b, 0) || 1;
  const texts = names.map((name, n) => `${name}=${Number(raw[n].toFixed(page.moved ? 2 : 7))}`);
  const weights = Object.fromEntries(names.map((name, n) => [name, raw[n] / total]));
  return { weights, bounds: boundsOf(guards), command: `${data.table} --weights ${quoted(texts.join())}${guardOption(guards)}` };
}

/** A forgetting guard, beside the guards of sources. @param {number} percent @param {[string, number][]} guards @returns {Aim} */
function forgettingAim(percent, guards) {
  const weights = { additional: 1 };
  const original = Math.min(percent, ...guards.filter(([name]) => name === "original").map(([, own]) => own));
  /** @type {[string, number][]} */
  const every = [["original", original], ...guards.filter(([name]) => name !== "original")];
  const option = guards.length ? ` --weights additional=1${guardOption(every)}` : ` --guard ${percent}`;
  return { weights, bounds: boundsOf(every), command: data.table + option };
}

/** @param {Aim} aim */
const sameAsFit = (aim) => [["weights", aim.weights], ["bounds", aim.bounds]].every(([part, one]) => {
  const fit = data.goal[/** @type {"weights" | "bounds"} */ (part)];
  return [...new Set([...Object.keys(fit), ...Object.keys(one)])].every((name) =>
    Math.abs((fit[name] || 0) - (/** @type {Record<string, number>} */ (one)[name] || 0)) < 1e-6);
});

/** The fit's own weight of a loss, or that of its slider. @param {string} name @param {number} n */
const weightShown = (name, n) => (page.moved || data.goal.forgetting !== null ? Number(inputOf(`weight-${n}`).value) : data.goal.weights[name] || 0);

function recompute() {
  const aim = aimOf();
  const some = Object.values(aim.weights).some((share) => share > 0);
  if (!some) { byId("outcome-note").textContent = "All weights are 0: give at least one a weight."; return; }
  const lattice = /** @type {Lattice} */ (latticeFor(aim.bounds));
  const found = winnerOf(lattice, aim.weights, aim.bounds, data.quantiles);
  page.changed = !sameAsFit(aim);
  Object.assign(page, { weights: aim.weights, bounds: aim.bounds, found: page.changed ? found : null });
  weighable().forEach((name, n) => { const shown = byId(`weight-${n}-shown`); if (shown) shown.textContent = number(weightShown(name, n), 2); });
  byId("guard-shown").textContent = `${page.moved ? Number(inputOf("guard").value) : data.goal.forgetting ?? Number(inputOf("guard").value)} %`;
  byId("reset").hidden = !page.changed;
  byId("what-if-command").textContent = aim.command;
  drawOutcome(aim, found, lattice);
  drawOff();
  fillLayers();
  drawMap();
}

/** Intervals of a winner by weights alone, which the fit has for its own weights and at steps of 0.05.
 * @param {Aim} aim @returns {{almr: Numbers, lr: Numbers} | null} */
function knownIntervals(aim) {
  if (!page.changed && data.winner) return { almr: data.winner.almr_interval, lr: data.winner.lr_interval };
  if (Object.keys(aim.bounds).length || Object.keys(data.goal.bounds).length || !data.winner) return null;
  const extra = Object.keys(aim.weights).some((name) => aim.weights[name] && name !== "original" && name !== "additional");
  const point = extra ? null : data.winner.front.find((one) => Math.abs(Number(one[0]) - (aim.weights.additional || 0)) < 1e-6);
  return point ? { almr: [point[2], point[3]], lr: [point[5], point[6]] } : null;
}

/** @param {Aim} aim @param {Found} found @param {Lattice} lattice */
function drawOutcome(aim, found, lattice) {
  const winner = /** @type {WinnerData} */ (data.winner);
  const intervals = knownIntervals(aim);
  const range = (/** @type {Numbers} */ ends, /** @type {(v: number | null) => string} */ text) => `${text(ends[0])} to ${text(ends[1])}`;
  const rows = [["", "this fit", "what if", `${Number((100 * data.level).toPrecision(6))} % interval, or change`]];
  if (!missing(winner.almr)) rows.push(["ALMR", almrText(winner.almr), almrText(found.almr), intervals ? range(intervals.almr, almrText) : "by the command"]);
  rows.push(["peak LR", lrText(winner.lr), lrText(found.lr), intervals ? range(intervals.lr, lrText) : "by the command"]);
  rows.push(["objective", number(winner.objective, 4), number(found.objective, 4), range(found.interval, (v) => number(v, 4))]);
  const fit = winnerOf(/** @type {Lattice} */ (latticeFor(data.goal.bounds)), data.goal.weights, data.goal.bounds, data.quantiles);
  for (const name of Object.keys(lattice.mean).filter((one) => one !== "total")) {
    const change = name in data.base ? `${number(found.losses[name] - data.base[name], 3, true)} against the base model` : "";
    rows.push([`${label(name)} loss`, number(fit.losses[name]), number(found.losses[name]), change]);
  }
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...rows[0].map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.slice(1).map(([head, ...cells]) => element("tr", {}, element("th", { scope: "row" }, head), ...cells.map((cell) => element("td", {}, cell))))));
  byId("outcome").replaceChildren(table);
  const points = intervals ? "" : " ALMR and LR are points: their intervals need draws of the surfaces, which the command makes.";
  byId("outcome-note").textContent = outcomeNote(aim, found, lattice) + points;
}

/** @param {Aim} aim @param {Found} found @param {Lattice} lattice */
function outcomeNote(aim, found, lattice) {
  if (!found.kept) return "No point keeps the guard: this is the point that breaks it by least. The command refuses it.";
  if (!page.changed) return "Move a slider: the map and these numbers follow. They are those that the command gives.";
  const { almr, lr } = /** @type {WinnerData} */ (data.winner);
  const mean = weighted(aim.weights, lattice.mean);
  const there = matrixAt(mean, lattice.lr.length, indexOf(lattice.almr, almr ?? lattice.almr[0]), indexOf(lattice.lr.map(Math.log), Math.log(lr)));
  return `With this objective, this fit's ALMR and LR would lose ${number(Math.max(0, there - found.objective), 4)} nats over the best.`;
}

/** The cost of an LR off by a factor, at the winner that is shown. */
function drawOff() {
  if (!page.lattice || !data.winner) return;
  const at = page.found || { almr: data.winner.almr ?? page.lattice.almr[0], lr: data.winner.lr };
  const factor = 2 ** Number(inputOf("off").value);
  const lattice = /** @type {Lattice} */ (latticeFor(page.bounds));
  const shown = factor >= 1 ? `${Number(factor.toPrecision(2))} x` : `1/${Number((1 / factor).toPrecision(2))} x`;
  byId("off-shown").textContent = shown;
  const cost = costOfLr(lattice, page.weights, at.almr, at.lr, factor);
  byId("off-cost").textContent = cost === null
    ? `LR ${lrText(at.lr * factor)} is outside the tried LRs: nothing is predicted there.`
    : `LR ${lrText(at.lr * factor)} instead of ${lrText(at.lr)}: ${number(cost, 3, true)} nats expected, on the small model.`;
}
