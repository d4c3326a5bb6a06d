// Axes, colours, contours and frames that all figures share. Colours are classes of the style sheet, but for the map's.

const RAMP = ["#1b1033", "#35285f", "#3a4b8c", "#38719f", "#3f95a8", "#5ab8ab", "#93d6b4", "#cdecc9", "#f2faee"];

/** @param {[number, number]} domain @param {[number, number]} range @param {boolean} log @returns {Scale} */
function scaleOf(domain, range, log = false) {
  const of = log ? Math.log : (/** @type {number} */ value) => value;
  const back = log ? Math.exp : (/** @type {number} */ value) => value;
  const [low, high] = [of(domain[0]), of(domain[1])];
  const scale = (/** @type {number} */ value) => range[0] + ((of(value) - low) / (high - low || 1)) * (range[1] - range[0]);
  const invert = (/** @type {number} */ place) => back(low + ((place - range[0]) / (range[1] - range[0])) * (high - low));
  return Object.assign(scale, { domain, range, log, invert });
}

/** The range of values with room on both sides. @param {number[]} values @param {number} room @param {boolean} log
 * @returns {[number, number]} */
function extent(values, room = 0.05, log = false) {
  const of = log ? values.map(Math.log) : values;
  const [low, high] = [of.reduce((a, b) => Math.min(a, b), Infinity), of.reduce((a, b) => Math.max(a, b), -Infinity)];
  const more = (high - low) * room || (log ? 0.5 : Math.abs(low) * 0.05 || 0.05);
  return log ? [Math.exp(low - more), Math.exp(high + more)] : [low - more, high + more];
}

/** Round places on an axis: 1, 2 and 5 on a log scale. @param {Scale} scale @param {number} most @returns {number[]} */
function ticksOf(scale, most) {
  const [low, high] = scale.domain;
  if (!scale.log) {
    const raw = (high - low) / most;
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * ([1, 2, 5, 10].find((one) => one * unit >= raw) || 10);
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => (first + k) * step);
  }
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
      for (const one of steps) if (one * 10 ** e >= low * 0.999 && one * 10 ** e <= high * 1.001) ticks.push(one * 10 ** e);
    }
    if (ticks.length <= most || steps.length === 1) return ticks.length > 1 ? ticks : [low, high];
  }
  return [];
}

/** @param {number} value @param {number} step */
const plain = (value, step) => value.toFixed(Math.max(0, -Math.floor(Math.log10(step || 1) + 1e-9)));

/** The texts of ticks. @param {Scale} scale @param {number[]} ticks */
const tickTexts = (scale, ticks) => ticks.map((one) =>
  scale.log ? lrText(one) : ticks.length > 1 ? plain(one, ticks[1] - ticks[0]) : String(Number(one.toPrecision(3))));

let clips = 0;

/** A group in which nothing is drawn outside the frame. @param {SVGElement} svg @param {Scale} x @param {Scale} y */
function framed(svg, x, y) {
  const id = `clip-${clips++}`;
  const size = { x: x.range[0], y: y.range[1], width: x.range[1] - x.range[0], height: y.range[0] - y.range[1] };
  const group = shape("g", { "clip-path": `url(#${id})` });
  svg.append(shape("clipPath", { id }, shape("rect", size)), group);
  return group;
}

/** An empty figure with a name for screen readers. @param {number} width @param {number} height @param {string} label */
function figure(width, height, label) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, class: "chart" });
}

/** Grid lines, ticks and the names of both axes. @param {SVGElement} svg @param {Scale} x @param {Scale} y
 * @param {{x: string, y: string}} names @param {{grid?: boolean, xTicks?: number, yTicks?: number}} options */
function axes(svg, x, y, names, options = {}) {
  const [left, right, bottom, top] = [x.range[0], x.range[1], y.range[0], y.range[1]];
  const group = shape("g", { class: "axes", "aria-hidden": "true" });
  const across = ticksOf(x, options.xTicks || Math.max(3, (right - left) / 80));
  const up = ticksOf(y, options.yTicks || Math.max(4, (bottom - top) / 48));
  tickTexts(x, across).forEach((text, k) => {
    const place = x(across[k]);
    if (options.grid) group.append(shape("line", { class: "grid", x1: place, x2: place, y1: top, y2: bottom }));
    group.append(shape("line", { class: "tick", x1: place, x2: place, y1: bottom, y2: bottom + 4 }));
    group.append(shape("text", { x: place, y: bottom + 17, "text-anchor": "middle" }, text));
  });
  tickTexts(y, up).forEach((text, k) => {
    const place = y(up[k]);
    if (options.grid) group.append(shape("line", { class: "grid", x1: left, x2: right, y1: place, y2: place }));
    group.append(shape("line", { class: "tick", x1: left - 4, x2: left, y1: place, y2: place }));
    group.append(shape("text", { x: left - 8, y: place + 4, "text-anchor": "end" }, text));
  });
  group.append(shape("line", { class: "frame", x1: left, x2: right, y1: bottom, y2: bottom }));
  group.append(shape("line", { class: "frame", x1: left, x2: left, y1: top, y2: bottom }));
  group.append(shape("text", { class: "name", x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, names.x));
  const middle = (top + bottom) / 2;
  const turned = { class: "name", x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${middle}) rotate(-90)` };
  if (names.y) group.append(shape("text", turned, names.y));
  svg.append(group);
}

/** A path through points. @param {number[][]} points @param {boolean} closed */
const path = (points, closed = false) =>
  points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("") + (closed ? "Z" : "");

/** A band between two lines of points. @param {number[][]} upper @param {number[][]} lower */
const band = (upper, lower) => path([...upper, ...lower.slice().reverse()], true);

/** The colour of a share of the ramp, 0 the darkest. @param {number} share @returns {[number, number, number]} */
function colour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const k = Math.min(Math.floor(place), RAMP.length - 2);
  const part = (/** @type {string} */ hex, /** @type {number} */ n) => parseInt(hex.slice(1 + 2 * n, 3 + 2 * n), 16);
  const mixed = (/** @type {number} */ n) =>
    Math.round(part(RAMP[k], n) + (part(RAMP[k + 1], n) - part(RAMP[k], n)) * (place - k));
  return [mixed(0), mixed(1), mixed(2)];
}

/** Shares of the ramp that grow fast near the best value: even steps would not show the basin.
 * @param {number} best @param {number} worst */
function rampOf(best, worst) {
  const steep = 40;
  return Object.assign(
    (/** @type {number} */ value) => Math.log1p((steep * (value - best)) / (worst - best || 1)) / Math.log1p(steep),
    { invert: (/** @type {number} */ share) => best + ((worst - best) * Math.expm1(share * Math.log1p(steep))) / steep },
  );
}

/** A matrix as a picture: columns of LRs upwards, rows of ALMRs to the right.
 * @param {Matrix} values @param {number} columns @param {(value: number) => number} share */
function picture(values, columns, share) {
  const rows = values.length / columns;
  const [width, height] = [(rows - 1) * 3 + 1, (columns - 1) * 2 + 1];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  if (!pen) return "";
  const image = pen.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = matrixAt(values, columns, (x / (width - 1 || 1)) * (rows - 1), (1 - y / (height - 1 || 1)) * (columns - 1));
      image.data.set([...colour(share(value)), 255], 4 * (y * width + x));
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** Line pieces where a matrix crosses a level, as fractional [row, column] pairs. @param {Matrix} values
 * @param {number} columns @param {number} level @returns {number[][][]} */
function contour(values, columns, level) {
  const rows = values.length / columns;
  const pieces = [];
  for (let i = 0; i + 1 < rows; i++) {
    for (let j = 0; j + 1 < columns; j++) {
      const corners = [[i, j], [i, j + 1], [i + 1, j + 1], [i + 1, j]];
      const crossed = [];
      for (let k = 0; k < 4; k++) {
        const [a, b] = [corners[k], corners[(k + 1) % 4]];
        const [u, v] = [values[a[0] * columns + a[1]] - level, values[b[0] * columns + b[1]] - level];
        if (u < 0 !== v < 0) crossed.push([a[0] + ((b[0] - a[0]) * u) / (u - v), a[1] + ((b[1] - a[1]) * u) / (u - v)]);
      }
      for (let k = 0; k + 1 < crossed.length; k += 2) pieces.push([crossed[k], crossed[k + 1]]);
    }
  }
  return pieces;
}
