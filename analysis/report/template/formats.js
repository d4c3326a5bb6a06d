// Numbers as sweep/study/numbers.py writes them, and elements whose text is text.

const DASH = "–";

/** @param {number | null | undefined} value */
const missing = (value) => value === null || value === undefined || Number.isNaN(value);

/** @param {number | null | undefined} value @param {number} digits @param {boolean} sign */
function number(value, digits = 3, sign = false) {
  if (missing(value)) return DASH;
  return (sign && /** @type {number} */ (value) >= 0 ? "+" : "") + /** @type {number} */ (value).toFixed(digits);
}

/** 0.65; more decimals only where two would hide the difference from 0 or 1. @param {number | null | undefined} value */
function almrText(value) {
  if (missing(value)) return DASH;
  const one = /** @type {number} */ (value);
  const nearest = Math.min(Math.abs(one), Math.abs(1 - one));
  const decimals = nearest < 1e-6 ? 2 : Math.max(2, -Math.floor(Math.log10(nearest)));
  const [whole, part] = one.toFixed(decimals).split(".");
  return `${whole}.${part.replace(/0+$/, "").padEnd(2, "0")}`;
}

/** At most three significant digits: 1e-4, 3.5e-3. @param {number | null | undefined} value */
function lrText(value) {
  if (missing(value)) return DASH;
  const [mantissa, exponent] = /** @type {number} */ (value).toExponential(2).split("e");
  return `${mantissa.replace(/\.?0+$/, "")}e${Number(exponent)}`;
}

/** @param {number | null | undefined} value */
function tokensText(value) {
  if (missing(value)) return DASH;
  const rounded = Number(/** @type {number} */ (value).toPrecision(3));
  const [unit, size] = /** @type {[string, number][]} */ ([["T", 1e12], ["B", 1e9], ["M", 1e6], ["k", 1e3]])
    .find((one) => rounded >= one[1]) || ["", 1];
  return `${Number((rounded / size).toPrecision(3))}${unit}`;
}

/** An element with attributes and children; texts are set as text.
 * @param {string} tag @param {Record<string, string | number | null>} attributes @param {...(Node | string | null)} children
 * @returns {HTMLElement} */
function element(tag, attributes = {}, ...children) {
  return /** @type {HTMLElement} */ (filled(document.createElement(tag), attributes, children));
}

/** The same in SVG. @param {string} tag @param {Record<string, string | number | null>} attributes
 * @param {...(Node | string | null)} children @returns {SVGElement} */
function shape(tag, attributes = {}, ...children) {
  return /** @type {SVGElement} */ (filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children));
}

/** @param {Element} made @param {Record<string, string | number | null>} attributes @param {(Node | string | null)[]} children */
function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, String(value));
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** The element of the page with this id. @param {string} id @returns {HTMLElement} */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** Values that are numbers. @param {(number | null)[]} values @returns {number[]} */
const known = (values) => /** @type {number[]} */ (values.filter((value) => !missing(value)));

/** Text for a POSIX shell. @param {string} text */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
