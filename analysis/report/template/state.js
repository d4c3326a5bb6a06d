// What the page shows now. Every part draws from it.

/** @returns {Page} */
function opened() {
  const data = /** @type {PageData} */ (JSON.parse(byId("data").textContent || ""));
  const lattice = data.grid && latticeOf(data.grid);
  const live = /** @type {LiveData | null} */ (JSON.parse(document.getElementById("live")?.textContent || "null"));
  return {
    data, live, lattice, fine: null, layer: "objective", weights: { ...data.goal.weights }, bounds: { ...data.goal.bounds },
    moved: false, changed: false, found: null, selected: -1, hot: -1,
  };
}

const page = opened();
const { data } = page;
const TRIALS = data.trials.id.length;

/** The lattice on which the fit seeks this objective's winner. @returns {Lattice | null} */
function latticeFor(/** @type {Record<string, number>} */ bounds) {
  if (!page.lattice || !Object.keys(bounds).length) return page.lattice;
  page.fine = page.fine || finer(page.lattice);
  return page.fine;
}

/** The weighted loss of a trial, whatever its guards. @param {number} k @returns {number | null} */
function trialLoss(k) {
  const names = Object.keys(page.weights).filter((name) => page.weights[name] > 0);
  const losses = names.map((name) => (data.trials.loss[name] || [])[k]);
  if (!names.length || losses.some(missing)) return null;
  return names.reduce((sum, name, n) => sum + page.weights[name] * /** @type {number} */ (losses[n]), 0);
}

const label = (/** @type {string} */ name) => data.labels[name] || name;

/** What can be shown on the map. @returns {Layer[]} */
function layers() {
  const { lattice } = page;
  const measured = data.losses.filter((name) => name !== "total" && known(data.trials.loss[name]).length);
  const every = Array.from({ length: TRIALS }, (_, k) => k);
  const objective = {
    key: "objective", label: page.changed ? "objective (what-if)" : "objective", unit: data.unit, higher: false,
    field: lattice && Object.keys(page.weights).every((name) => lattice.mean[name]) ? weighted(page.weights, lattice.mean) : null,
    trials: every.map(trialLoss),
  };
  const losses = measured.map((name) => ({
    key: `loss ${name}`, label: `${label(name)} loss`, unit: data.unit, higher: false,
    field: lattice && lattice.mean[name] ? lattice.mean[name] : null, trials: data.trials.loss[name],
  }));
  const scores = Object.keys(data.trials.score).map((name) => ({
    key: `score ${name}`, label: `score ${scoreLabel(name)}`, unit: lattice && lattice.score[name] ? "score" : "score, trials alone",
    field: lattice && lattice.score[name] ? lattice.score[name] : null,
    trials: data.trials.score[name], higher: (data.scores.find((one) => one.name === name) || { sign: 1 }).sign > 0,
  }));
  const doubt = objective.field && lattice ? [{
    key: "sd", label: "uncertainty", unit: "sd of the objective, nats", field: weightedSd(page.weights, lattice.sd),
    trials: every.map(() => null), higher: false,
  }] : [];
  return [objective, ...(measured.length > 1 || data.losses[0] !== "total" ? losses : []), ...scores, ...doubt];
}

/** A score's name with the user's name of a language. @param {string} name */
function scoreLabel(name) {
  const language = name.replace(/^cloze_/, "");
  return language !== name && data.labels[language] ? `${label(language)} cloze` : name;
}

/** A trial in words. @param {number} k */
function trialName(k) {
  const { almr, lr, status, objective, out } = data.trials;
  const place = [missing(almr[k]) ? null : `ALMR ${almrText(almr[k])}`, `LR ${lrText(lr[k])}`].filter(Boolean).join(", ");
  return `${place}, ${missing(objective[k]) ? (out[k] ? `not used: ${out[k]}` : status[k]) : `objective ${number(objective[k], 4)}`}`;
}
