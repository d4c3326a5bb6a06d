// While a run goes on, its page is written anew every few seconds. It loads itself again, and is as the reader left it.

/** @typedef {{scroll: number[], rows: number, selected: string | null, layer: string, sort: string, down: boolean,
 *   status: string, text: string, folds: Record<string, boolean>, theme: string | null, inputs: Record<string, string>,
 *   focus: string, paused: boolean, written: string, since: number}} Kept */

const STALE_MS = 90_000; // the writer signs every 30 s, also where nothing changed
const CLOCKS_MS = 300_000; // far more than the clocks of two machines differ
const SILENT = "NOT HEARD OF";
const QUIET_MS = 1500; // nobody is interrupted within so long of a key or a move of the pointer with a button down
const PATIENCE_MS = 60_000; // but a selected text, or a choice that is open, holds the page no longer than this
const keptName = `almr ${location.pathname}`;
const live = { paused: false, touched: 0, due: 0, since: Date.now(), down: false };

/** The folds of the page by their headings: their number differs from load to load. @returns {[string, HTMLDetailsElement][]} */
function folds() {
  /** @type {Map<string, number>} */
  const seen = new Map();
  return [...document.querySelectorAll("details")].map((one) => {
    const name = (one.querySelector("summary")?.textContent || "").replace(/\d+/g, "").trim();
    seen.set(name, (seen.get(name) || 0) + 1);
    return [`${name} ${seen.get(name)}`, one];
  });
}

/** The controls of what-if. @returns {HTMLInputElement[]} */
const controls = () => /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll("#what-if input")]);
const stateOf = (/** @type {HTMLInputElement} */ one) => (one.type === "checkbox" ? String(one.checked) : one.value);

/** @returns {Kept} */
function kept() {
  return {
    scroll: [scrollX, scrollY], rows: byId("trial-scroll").scrollTop,
    selected: page.selected >= 0 ? data.trials.id[page.selected] : null,
    layer: page.layer, sort: tableColumns[sorted.column]?.head || "", down: sorted.down,
    status: inputOf("filter-status").value, text: inputOf("filter-text").value,
    folds: Object.fromEntries(folds().map(([name, one]) => [name, one.open])),
    theme: document.documentElement.dataset.theme || null,
    inputs: Object.fromEntries(controls().map((one) => [one.id, stateOf(one)])),
    focus: document.activeElement?.id || "", paused: live.paused,
    written: page.live?.written || "", since: live.since,
  };
}

/** What the last load of this page kept for this one. @returns {Kept | null} */
function taken() {
  try {
    const text = sessionStorage.getItem(keptName);
    sessionStorage.removeItem(keptName);
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // a browser that keeps nothing for files
  }
}

/** @param {Kept} was */
function restore(was) {
  if (was.theme) document.documentElement.dataset.theme = was.theme;
  for (const [name, one] of folds()) if (name in was.folds) one.open = was.folds[name];
  const column = tableColumns.findIndex((one) => one.head === was.sort);
  if (column >= 0) sorted = { column, down: was.down };
  inputOf("filter-text").value = was.text;
  if (data.trials.status.includes(was.status)) inputOf("filter-status").value = was.status;
  fillTable();
  restoreWhatIf(was.inputs);
  page.layer = was.layer;
  fillLayers();
  drawMap();
  const k = was.selected === null ? -1 : data.trials.id.indexOf(was.selected);
  if (k >= 0) select(k);
  byId("trial-scroll").scrollTop = was.rows;
  scrollTo(was.scroll[0], was.scroll[1]);
  if (was.focus) document.getElementById(was.focus)?.focus({ preventScroll: true });
}

/** The guard last: a moved weight switches it off. @param {Record<string, string>} inputs */
function restoreWhatIf(inputs) {
  for (const one of controls()) {
    if (!(one.id in inputs) || inputs[one.id] === stateOf(one)) continue;
    if (one.type === "checkbox") one.checked = inputs[one.id] === "true";
    else one.value = inputs[one.id];
    one.dispatchEvent(new Event(one.type === "checkbox" ? "change" : "input"));
  }
  const guard = /** @type {HTMLInputElement | null} */ (document.getElementById("use-guard"));
  if (guard && inputs["use-guard"] && inputs["use-guard"] !== String(guard.checked)) {
    guard.checked = !guard.checked;
    guard.dispatchEvent(new Event("change"));
  }
}

/** Whether a load now would take something out of the reader's hands. */
function busy() {
  const now = Date.now();
  if (live.down || now - live.touched < QUIET_MS) return true;
  const holds = document.activeElement?.tagName === "SELECT" || !(getSelection()?.isCollapsed ?? true);
  return holds && now - live.due < PATIENCE_MS;
}

function refresh() {
  if (live.paused || document.hidden) return; // each wakes it again
  if (busy()) { setTimeout(refresh, 500); return; }
  history.scrollRestoration = "manual";
  addEventListener("pagehide", keep, { once: true }); // until then the reader goes on
  location.reload();
}

function keep() {
  try {
    sessionStorage.setItem(keptName, JSON.stringify(kept()));
  } catch {
    // then the page is loaded as it is opened
  }
}

/** For how long nobody has written the page: by this browser's clock since it saw the page, and by that of the writer,
 * where these differ by more than clocks do. */
function silence() {
  const now = Date.now();
  const whole = page.live ? now - 1000 * page.live.at : 0;
  return Math.max(now - live.since, whole > CLOCKS_MS ? whole : 0);
}

/** Say so where nobody has written the page for long: then it is not known whether the run goes on. */
function watchAge() {
  const silent = silence();
  if (!page.live || silent < STALE_MS) return;
  const word = document.querySelector("#verdict .word b");
  if (word && word.textContent !== SILENT) {
    document.title = document.title.replace(word.textContent || "", SILENT);
    word.textContent = SILENT;
  }
  const since = new Date(1000 * page.live.at).toLocaleString();
  const minutes = Math.round(silent / 60_000);
  byId("age").textContent = `Nothing was heard of the run since ${since}, for ${minutes} min: was its machine lost, or the run killed? almr status says.`;
}

function keepLoading() {
  const was = taken();
  if (was) restore(was);
  const every = page.live?.every;
  if (!page.live || !every) return;
  if (was && was.written === page.live.written) live.since = was.since;
  live.paused = Boolean(was?.paused);
  const button = byId("pause");
  const named = () => { button.textContent = live.paused ? "Go on" : "Pause"; button.setAttribute("aria-pressed", String(live.paused)); };
  button.addEventListener("click", () => { live.paused = !live.paused; named(); if (!live.paused) refresh(); });
  named();
  for (const one of ["keydown", "wheel", "touchmove", "input"]) addEventListener(one, () => { live.touched = Date.now(); }, { passive: true });
  addEventListener("pointerdown", () => { live.down = true; });
  for (const one of ["pointerup", "pointercancel"]) addEventListener(one, () => { live.down = false; live.touched = Date.now(); });
  live.due = Date.now() + 1000 * every;
  setTimeout(refresh, 1000 * every);
  setInterval(watchAge, 5000);
  watchAge();
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() > live.due) refresh(); });
}
