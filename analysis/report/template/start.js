// Ties the parts together: hover and selection, layers, buttons, print.

/** @param {number} k @param {string} words what to say where no trial is near */
function hover(k, words) {
  byId("readout").textContent = k >= 0 ? trialName(k) : words || byId("readout").dataset.rest || "";
  if (k === page.hot) return;
  page.hot = k;
  markTrials();
  markRows(false);
}

/** @param {number} k */
function select(k) {
  page.selected = page.selected === k ? -1 : k;
  markTrials();
  markRows(true);
  drawDetail();
}

function fillLayers() {
  const box = /** @type {HTMLSelectElement} */ (byId("layer"));
  const every = layers();
  box.replaceChildren(...every.map((layer) => element("option", { value: layer.key }, layer.label)));
  if (!every.some((layer) => layer.key === page.layer)) page.layer = every[0].key;
  box.value = page.layer;
  byId("layer-unit").textContent = every.find((layer) => layer.key === page.layer)?.unit || "";
}

/** The trials as CSV, in the order of the table. */
function tableText() {
  const t = data.trials;
  const fields = /** @type {[string, Numbers | Texts][]} */ ([
    ["trial_id", t.id], ["almr", t.almr], ["lr", t.lr], ["seed", t.seed], ["status", t.status], ["objective", t.objective],
    ...Object.entries(t.loss).map(([name, values]) => [`loss_${name}`, values]),
    ...Object.entries(t.score).map(([name, values]) => [`score_${name}`, values]),
    ["tokens", t.tokens], ["seconds", t.seconds], ["why", t.why], ["excluded", t.out],
  ]);
  const cell = (/** @type {string | number | null} */ value) => {
    const text = value === null ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = t.id.map((_, k) => fields.map(([, values]) => cell(values[k])).join());
  return `${[fields.map(([name]) => cell(name)).join(), ...lines].join("\n")}\n`;
}

function listenToButtons() {
  document.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("button");
    if (!button) return;
    const { copy, figure: drawn } = button.dataset;
    if (copy) copyText(button, byId(copy).textContent || "");
    const svg = drawn ? byId(drawn).querySelector("svg") : null;
    if (svg && drawn) download(`${data.study}-${drawn.replace("figure-", "")}.svg`, standalone(svg), "image/svg+xml");
  });
  byId("get-trials").addEventListener("click", () => download(`${data.study}-trials.csv`, tableText(), "text/csv"));
  const fit = document.getElementById("fit-json");
  if (fit) byId("get-fit").addEventListener("click", () => download("fit.json", JSON.stringify(JSON.parse(fit.textContent || ""), null, 2), "application/json"));
}

function listenToPrint() {
  /** @type {Element[]} */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.setAttribute("open", "");
    allRows();
    drawFigures();
  });
  addEventListener("afterprint", () => { for (const one of opened) one.removeAttribute("open"); });
}

function start() {
  for (const one of document.querySelectorAll("[hidden][data-script]")) one.removeAttribute("hidden");
  listenToTheme();
  listenToButtons();
  buildTable();
  buildWhatIf();
  fillLayers();
  drawMap();
  drawDetail();
  listenToMap();
  listenToPrint();
  byId("layer").addEventListener("change", () => {
    page.layer = /** @type {HTMLSelectElement} */ (byId("layer")).value;
    fillLayers();
    drawMap();
  });
  requestAnimationFrame(drawFigures);
  for (const one of document.querySelectorAll("details")) one.addEventListener("toggle", () => drawFigures());
  let [width, timer] = [innerWidth, 0];
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => { drawMap(); drawDetail(); drawFigures(); }, 120);
  });
  keepLoading();
  performance.mark("interactive"); // tests/benchmarks/page.py reads it
  document.documentElement.dataset.ready = "true";
}

start();
