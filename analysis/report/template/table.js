// The trials as a table that can be sorted and filtered, and the selected trial beside it.

const CHUNK = 200; // rows that are shown at once; the rest follows when the page is idle

/** @typedef {{head: string, text: (k: number) => string, value: (k: number) => number | string | null, words?: boolean}} Column */

/** @type {Column[]} */
let tableColumns = [];
/** @type {HTMLElement[]} rows by trial, made when they are first shown */
const tableRows = [];
let sorted = { column: 0, down: false };
/** @type {number} */
let pending = 0;

/** The columns that have any value. @returns {Column[]} */
function columnsOf() {
  const t = data.trials;
  const numeric = (/** @type {string} */ head, /** @type {Numbers} */ values, /** @type {(v: number | null) => string} */ text) =>
    ({ head, value: (/** @type {number} */ k) => values[k], text: (/** @type {number} */ k) => text(values[k]), has: known(values).length > 0 });
  const words = (/** @type {string} */ head, /** @type {Texts} */ values) =>
    ({ head, value: (/** @type {number} */ k) => values[k], text: (/** @type {number} */ k) => values[k] || "", words: true, has: values.some(Boolean) });
  const seeds = new Set(known(t.seed)).size;
  const losses = data.losses.filter((name) => name !== "total" || !known(t.objective).length);
  return [
    numeric("ALMR", data.winner && data.winner.almr === null ? [] : t.almr, almrText),
    numeric("peak LR", t.lr, lrText),
    { ...numeric("seed", t.seed, (v) => (missing(v) ? DASH : String(v))), has: seeds > 1 },
    numeric("objective", t.objective, (v) => number(v, 4)),
    ...losses.map((name) => numeric(label(name), t.loss[name], (v) => number(v, 4))),
    ...Object.keys(t.score).map((name) => numeric(scoreLabel(name), t.score[name], (v) => number(v))),
    { ...words("status", t.status), has: true },
    words("why tried", t.why),
    { ...numeric("ALMR counted", t.counted, (v) => number(v, 4)), has: t.counted.some((v, k) => !missing(v) && Math.abs(Number(v) - Number(t.almr[k])) > 5e-4) },
    numeric("tokens", t.tokens, tokensText),
    numeric("seconds", t.seconds, (v) => number(v, 1)),
    words("left out because", t.out),
  ].filter((column) => column.has);
}

function buildTable() {
  tableColumns = columnsOf();
  sorted.column = Math.max(0, tableColumns.findIndex((column) => column.head === "objective"));
  const heads = tableColumns.map((column, c) => {
    const button = element("button", { type: "button" }, column.head);
    button.addEventListener("click", () => sortBy(c));
    return element("th", { scope: "col", class: column.words ? "text" : null }, button);
  });
  byId("trial-heads").replaceChildren(...heads);
  for (const status of new Set(data.trials.status)) byId("filter-status").append(element("option", { value: status }, status));
  byId("filter-status").addEventListener("change", fillTable);
  byId("filter-text").addEventListener("input", fillTable);
  listenToTable();
  fillTable();
}

/** @param {number} k */
const rowFor = (k) => tableRows[k] || (tableRows[k] = rowOf(k));

/** @param {number} k */
function rowOf(k) {
  const cells = tableColumns.map((column) => element("td", { class: column.words ? "text" : null }, column.text(k)));
  return element("tr", { "data-k": k, tabindex: -1, class: data.trials.out[k] ? "out" : null }, ...cells);
}

/** @param {number} column */
function sortBy(column) {
  sorted = { column, down: sorted.column === column ? !sorted.down : false };
  fillTable();
}

/** The trials that the filters let through, in the order of the table. @returns {number[]} */
function shownTrials() {
  const status = /** @type {HTMLSelectElement} */ (byId("filter-status")).value;
  const text = /** @type {HTMLInputElement} */ (byId("filter-text")).value.trim().toLowerCase();
  const { value } = tableColumns[sorted.column];
  const every = Array.from({ length: TRIALS }, (_, k) => k).filter((k) =>
    (!status || data.trials.status[k] === status)
    && (!text || [data.trials.id[k], ...tableColumns.map((column) => column.text(k))].join(" ").toLowerCase().includes(text)));
  const side = sorted.down ? -1 : 1;
  return every.sort((a, b) => {
    const [one, other] = [value(a), value(b)];
    if (one === null || other === null) return Number(one === null) - Number(other === null) || a - b;
    return (typeof one === "string" ? one.localeCompare(String(other)) : one - Number(other)) * side || a - b;
  });
}

function fillTable() {
  const shown = shownTrials();
  byId("trial-heads").querySelectorAll("th").forEach((head, c) =>
    head.setAttribute("aria-sort", c === sorted.column ? (sorted.down ? "descending" : "ascending") : "none"));
  byId("trial-count").textContent = shown.length === TRIALS ? `${TRIALS} trials` : `${shown.length} of ${TRIALS} trials`;
  clearTimeout(pending);
  byId("trial-rows").querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
  byId("trial-rows").replaceChildren(...shown.slice(0, CHUNK).map(rowFor));
  if (shown.length) rowFor(shown[0]).setAttribute("tabindex", "0");
  addRows(shown, CHUNK);
}

/** @param {number[]} shown @param {number} from */
function addRows(shown, from) {
  if (from >= shown.length) return;
  pending = setTimeout(() => {
    byId("trial-rows").append(...shown.slice(from, from + CHUNK).map(rowFor));
    addRows(shown, from + CHUNK);
  }, 30);
}

/** Every row at once, for print. */
function allRows() {
  clearTimeout(pending);
  byId("trial-rows").replaceChildren(...shownTrials().map(rowFor));
}

function listenToTable() {
  const body = byId("trial-rows");
  const rowAt = (/** @type {Event} */ event) => /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("tr"));
  body.addEventListener("pointerover", (event) => { const row = rowAt(event); if (row) hover(Number(row.dataset.k), ""); });
  body.addEventListener("pointerleave", () => hover(-1, ""));
  body.addEventListener("focusin", (event) => { const row = rowAt(event); if (row) hover(Number(row.dataset.k), ""); });
  body.addEventListener("click", (event) => { const row = rowAt(event); if (row) select(Number(row.dataset.k)); });
  body.addEventListener("keydown", (event) => {
    const row = rowAt(event);
    if (!row) return;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); select(Number(row.dataset.k)); return; }
    const next = event.key === "ArrowDown" ? row.nextElementSibling : event.key === "ArrowUp" ? row.previousElementSibling : null;
    if (!next) return;
    event.preventDefault();
    row.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    /** @type {HTMLElement} */ (next).focus();
  });
}

/** Show which trials are hot and selected, in the table. @param {boolean} follow bring the selected row into view */
function markRows(follow) {
  for (const one of tableRows) {
    if (!one || !(one.classList.contains("hot") || one.classList.contains("selected"))) continue;
    one.classList.remove("hot", "selected");
    one.removeAttribute("aria-current");
  }
  const row = tableRows[page.selected];
  if (tableRows[page.hot]) tableRows[page.hot].classList.add("hot");
  if (row) row.classList.add("selected");
  if (row) row.setAttribute("aria-current", "true");
  const box = byId("trial-scroll");
  if (!follow || !row || !row.isConnected) return;
  const [top, bottom] = [row.offsetTop - 40, row.offsetTop + row.offsetHeight];
  if (top < box.scrollTop || bottom > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
}

/** The selected trial in full. */
function drawDetail() {
  const [box, k] = [byId("detail"), page.selected];
  if (k < 0) {
    box.replaceChildren(element("p", { class: "soft" }, "Choose a trial on the map or in the table: its losses, why it was tried, its log and its curve stand here."));
    return;
  }
  const t = data.trials;
  const rows = [["status", t.out[k] || t.status[k]], ["tried", t.why[k] || ""]];
  for (const name of data.losses) {
    const loss = t.loss[name][k];
    const change = name in data.base && !missing(loss) ? ` (${number(Number(loss) - data.base[name], 3, true)} against the base model)` : "";
    rows.push([name === "total" ? "loss" : label(name), missing(loss) ? "" : number(loss, 4) + change]);
  }
  for (const name of Object.keys(t.score)) {
    const base = (data.scores.find((one) => one.name === name) || { base: null }).base;
    const change = missing(base) || missing(t.score[name][k]) ? "" : ` (${number(Number(t.score[name][k]) - Number(base), 3, true)})`;
    rows.push([scoreLabel(name), missing(t.score[name][k]) ? "" : number(t.score[name][k]) + change]);
  }
  rows.push(["tokens", missing(t.tokens[k]) ? "" : tokensText(t.tokens[k])], ["seconds", missing(t.seconds[k]) ? "" : number(t.seconds[k], 1)], ["log", t.log[k] || ""]);
  const list = element("dl");
  for (const [name, text] of rows) {
    if (!text) continue;
    const value = name === "log" ? element("code", {}, text) : text;
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  box.replaceChildren(element("h3", {}, t.id[k]), list, ...smallCurve(k));
}

/** The trial's training loss against tokens. @param {number} k @returns {Node[]} */
function smallCurve(k) {
  const { axes: every, axis, loss } = data.curves;
  const losses = loss[k];
  if (!losses || losses.length < 2) return [];
  const tokens = every[Number(axis[k])];
  const width = Math.max(240, byId("detail").clientWidth - 24);
  const svg = figure(width, 120, `training loss of ${data.trials.id[k]}: ${number(losses[0])} to ${number(losses[losses.length - 1])}`);
  const x = scaleOf([0, tokens[tokens.length - 1]], [44, width - 8]);
  const y = scaleOf(extent(losses, 0.08), [96, 8]);
  axes(svg, x, y, { x: "", y: "" }, { grid: true, yTicks: 3, xTicks: 3 });
  for (const text of svg.querySelectorAll("text[text-anchor=middle]")) if (text.textContent && !text.classList.contains("name")) text.textContent = tokensText(Number(text.textContent));
  svg.append(shape("path", { class: "line", d: path(losses.map((one, n) => [x(tokens[n]), y(one)])) }));
  return [element("p", { class: "soft small" }, `Training loss (${data.unit}) against tokens`), svg];
}
