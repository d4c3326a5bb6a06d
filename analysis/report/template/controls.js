// What the buttons of every page do: save a figure or a file, copy a command, change the colours.

/** @param {string} name @param {BlobPart} content @param {string} type */
function download(name, content, type) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([content], { type })) });
  document.body.append(link);
  link.click();
  link.remove();
}

const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "stroke-linejoin", "font-size", "font-family", "font-weight", "opacity"];

/** A figure as a file of its own: with the colours that the style sheet gives it. @param {SVGElement} svg */
function standalone(svg) {
  const copy = /** @type {SVGElement} */ (svg.cloneNode(true));
  const from = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((one, n) => {
    const style = getComputedStyle(from[n]);
    for (const name of DRAWN) one.setAttribute(name, style.getPropertyValue(name));
    one.removeAttribute("class");
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.prepend(shape("rect", { width: "100%", height: "100%", fill: getComputedStyle(document.body).backgroundColor }));
  return new XMLSerializer().serializeToString(copy);
}

/** @param {Element} button @param {string} text */
function copyText(button, text) {
  const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => copyOld(text, done));
  else copyOld(text, done);
}

/** Where the browser has no clipboard for pages from files. @param {string} text @param {() => void} done */
function copyOld(text, done) {
  const area = /** @type {HTMLTextAreaElement} */ (element("textarea", { "aria-hidden": "true" }));
  area.value = text;
  document.body.append(area);
  area.select();
  if (document.execCommand("copy")) done();
  area.remove();
}

function listenToTheme() {
  const button = byId("theme");
  const dark = () => document.documentElement.dataset.theme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const named = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; named(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", named);
  named();
}
