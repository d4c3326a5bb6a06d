// The fitted surfaces on their grid, and the winner of any objective there: what analysis/surfaces/optima.py and
// analysis/decision/objectives.py compute, on the same numbers. Nothing here touches the page.

const FARTHEST = 1.5; // grid steps from the lowest point to a vertex
const TIMES = 3; // steps of the finer grid per step, on which a guard's border is sought

/** Doubles of a base64 text. @param {string} text @returns {Matrix} */
function decode(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return new Float64Array(bytes.buffer);
}

/** @param {GridData} grid @returns {Lattice} */
function latticeOf(grid) {
  const part = (/** @type {Record<string, string>} */ texts) =>
    Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, decode(text)]));
  return { almr: grid.almr, lr: grid.lr, mean: part(grid.mean), sd: part(grid.sd), score: part(grid.score) };
}

/** A not-a-knot cubic spline through even points, at `times` as many steps. @param {number[]} y @param {number} times */
function splined(y, times) {
  const n = y.length;
  const fine = new Array((n - 1) * times + 1);
  const bend = bends(y);
  for (let k = 0; k < fine.length; k++) {
    const i = Math.min(Math.floor(k / times), Math.max(n - 2, 0));
    const t = (k - i * times) / times;
    const next = Math.min(i + 1, n - 1);
    const u = 1 - t;
    fine[k] = y[i] * u + y[next] * t + ((u ** 3 - u) * bend[i] + (t ** 3 - t) * bend[next]) / 6;
  }
  return fine;
}

/** Second derivatives of the spline at its points. @param {number[]} y @returns {number[]} */
function bends(y) {
  const n = y.length;
  const m = new Array(n).fill(0);
  if (n < 3) return m;
  const d = y.map((_, i) => (i > 0 && i < n - 1 ? y[i - 1] - 2 * y[i] + y[i + 1] : 0));
  if (n === 3) return m.fill(d[1]);
  [m[1], m[n - 2]] = [d[1], d[n - 2]];
  const ratio = new Array(n).fill(0);
  const shift = new Array(n).fill(0);
  for (let i = 2; i < n - 2; i++) {
    const before = i === 2 ? { r: 0, s: m[1] } : { r: ratio[i - 1], s: shift[i - 1] };
    const pivot = 4 - before.r;
    ratio[i] = 1 / pivot;
    shift[i] = (6 * d[i] - before.s) / pivot;
  }
  for (let i = n - 3; i > 1; i--) m[i] = shift[i] - ratio[i] * m[i + 1];
  [m[0], m[n - 1]] = [2 * m[1] - m[2], 2 * m[n - 2] - m[n - 3]];
  return m;
}

/** @param {Matrix} values @param {number} rows @param {number} columns @returns {Matrix} */
function finerMatrix(values, rows, columns) {
  const [tall, wide] = [(rows - 1) * TIMES + 1, (columns - 1) * TIMES + 1];
  const half = new Float64Array(tall * columns);
  for (let j = 0; j < columns; j++) {
    splined(Array.from({ length: rows }, (_, i) => values[i * columns + j]), TIMES)
      .forEach((value, i) => { half[i * columns + j] = value; });
  }
  const whole = new Float64Array(tall * wide);
  for (let i = 0; i < tall; i++) {
    whole.set(splined(Array.from(half.subarray(i * columns, (i + 1) * columns)), TIMES), i * wide);
  }
  return whole;
}

/** The lattice with TIMES as many steps, by cubic splines. @param {Lattice} lattice @returns {Lattice} */
function finer(lattice) {
  const [rows, columns] = [lattice.almr.length, lattice.lr.length];
  const even = (/** @type {number[]} */ axis) => {
    const last = (axis.length - 1) * TIMES;
    return Array.from({ length: last + 1 }, (_, k) =>
      last ? axis[0] + (axis[axis.length - 1] - axis[0]) * (k / last) : axis[0]);
  };
  const part = (/** @type {Record<string, Matrix>} */ values) =>
    Object.fromEntries(Object.entries(values).map(([name, one]) => [name, finerMatrix(one, rows, columns)]));
  const lr = even(lattice.lr.map(Math.log)).map(Math.exp);
  return { almr: even(lattice.almr), lr, mean: part(lattice.mean), sd: part(lattice.sd), score: {} };
}

/** The weighted sum of losses. @param {Record<string, number>} weights @param {Record<string, Matrix>} losses */
function weighted(weights, losses) {
  const names = Object.keys(weights).filter((name) => weights[name] > 0);
  return losses[names[0]].map((_, k) => names.reduce((sum, name) => sum + weights[name] * losses[name][k], 0));
}

/** The sd of the weighted sum: the surfaces are independent.
 * @param {Record<string, number>} weights @param {Record<string, Matrix>} sd */
function weightedSd(weights, sd) {
  const names = Object.keys(weights).filter((name) => weights[name] > 0);
  return sd[names[0]].map((_, k) => Math.sqrt(names.reduce((sum, name) => sum + (weights[name] * sd[name][k]) ** 2, 0)));
}

/** How far the upper limits of the losses are over their bounds, the largest of all guards.
 * @param {Lattice} lattice @param {Record<string, number>} bounds @param {number} quantile @returns {Matrix} */
function excess(lattice, bounds, quantile) {
  const names = Object.keys(bounds);
  return lattice.mean[names[0]].map((_, k) =>
    Math.max(...names.map((name) => lattice.mean[name][k] + quantile * lattice.sd[name][k] - bounds[name])));
}

/** The minimum of the mean objective, as the fit chooses it: on the lattice, or under guards on the finer one.
 * @param {Lattice} lattice @param {Record<string, number>} weights @param {Record<string, number>} bounds
 * @param {number[]} quantiles @returns {Found} */
function winnerOf(lattice, weights, bounds, quantiles) {
  let mean = weighted(weights, lattice.mean);
  let kept = true;
  if (Object.keys(bounds).length) {
    const over = excess(lattice, bounds, quantiles[1]);
    const least = over.reduce((a, b) => Math.min(a, b), Infinity);
    kept = least <= 0;
    mean = mean.map((value, k) => (over[k] <= Math.max(0, least) ? value : Infinity));
  }
  const at = lowest(mean);
  const [rows, columns] = [lattice.almr.length, lattice.lr.length];
  const [i, j] = refined(mean, rows, columns);
  const [near, steps] = [around(mean, rows, columns, at), [-1, 0, 1]];
  const free = steps.every((di) => steps.every((dj) => Number.isFinite(near(di, dj)))); // a guard forbids none of them
  const [u, v] = [i - Math.floor(at / columns), j - (at % columns)];
  const there = (/** @type {Matrix} */ values) => (free ? onParaboloid(around(values, rows, columns, at), u, v) : values[at]);
  const objective = there(mean);
  const half = quantiles[0] * weightedSd(weights, lattice.sd)[at];
  return {
    almr: between(lattice.almr, i), lr: Math.exp(between(lattice.lr.map(Math.log), j)),
    objective, interval: [objective - half, objective + half], kept,
    losses: Object.fromEntries(Object.keys(lattice.mean).map((name) => [name, there(lattice.mean[name])])),
  };
}

/** The place of the first lowest value. @param {ArrayLike<number>} values */
function lowest(values) {
  let at = 0;
  for (let k = 1; k < values.length; k++) if (values[k] < values[at]) at = k;
  return at;
}

const clip = (/** @type {number} */ k, /** @type {number} */ last) => Math.min(Math.max(k, 0), last);

/** The values so many steps from a place, or at the edge. @param {Matrix} values @param {number} rows
 * @param {number} columns @param {number} at @returns {(di: number, dj: number) => number} */
function around(values, rows, columns, at) {
  const [i, j] = [Math.floor(at / columns), at % columns];
  return (di, dj) => values[clip(i + di, rows - 1) * columns + clip(j + dj, columns - 1)];
}

/** The slopes and second derivatives of the paraboloid through a point and its neighbours.
 * @param {(di: number, dj: number) => number} near */
function paraboloid(near) {
  return [
    (near(1, 0) - near(-1, 0)) / 2, (near(0, 1) - near(0, -1)) / 2,
    near(1, 0) - 2 * near(0, 0) + near(-1, 0), near(0, 1) - 2 * near(0, 0) + near(0, -1),
    (near(1, 1) - near(1, -1) - near(-1, 1) + near(-1, -1)) / 4,
  ];
}

/** Its value so many steps from the point. @param {(di: number, dj: number) => number} near @param {number} u
 * @param {number} v */
function onParaboloid(near, u, v) {
  const [byI, byJ, ii, jj, ij] = paraboloid(near);
  return near(0, 0) + byI * u + byJ * v + ii * u ** 2 / 2 + jj * v ** 2 / 2 + ij * u * v;
}

/** Fractional row and column of the minimum: the vertex of the paraboloid around the lowest point, if it is near by,
 * else of a parabola on each axis. @param {Matrix} values @param {number} rows @param {number} columns */
function refined(values, rows, columns) {
  const at = lowest(values);
  const [i, j] = [Math.floor(at / columns), at % columns];
  const near = around(values, rows, columns, at);
  let step = [vertex(near(-1, 0), near(0, 0), near(1, 0), i, rows), vertex(near(0, -1), near(0, 0), near(0, 1), j, columns)];
  const [byI, byJ, ii, jj, ij] = paraboloid(near);
  const determinant = ii * jj - ij ** 2;
  const joint = [(ij * byJ - jj * byI) / determinant, (ij * byI - ii * byJ) / determinant];
  const inside = i > 0 && i < rows - 1 && j > 0 && j < columns - 1;
  if (inside && ii > 0 && jj > 0 && determinant > 0 && joint.every((one) => Math.abs(one) <= FARTHEST)) step = joint;
  return [clip(i + step[0], rows - 1), clip(j + step[1], columns - 1)];
}

/** Offset of a parabola's vertex from the middle of three points; 0 at an end.
 * @param {number} left @param {number} middle @param {number} right @param {number} k @param {number} count */
function vertex(left, middle, right, k, count) {
  const curvature = left - 2 * middle + right;
  const inside = k > 0 && k < count - 1 && Number.isFinite(left + right);
  return inside && curvature > 0 ? (left - right) / (2 * curvature) : 0;
}

/** An axis at a fractional index. @param {number[]} axis @param {number} index */
function between(axis, index) {
  const i = Math.min(Math.floor(index), axis.length - 1);
  const next = Math.min(i + 1, axis.length - 1);
  return axis[i] + (axis[next] - axis[i]) * (index - i);
}

/** The fractional index of a value on an even axis. @param {number[]} axis @param {number} value */
function indexOf(axis, value) {
  const last = axis.length - 1;
  return last ? ((value - axis[0]) / (axis[last] - axis[0])) * last : 0;
}

/** A matrix at fractional indices, bilinear. @param {Matrix} values @param {number} columns @param {number} i @param {number} j */
function matrixAt(values, columns, i, j) {
  const rows = values.length / columns;
  const [i0, j0] = [Math.min(Math.floor(i), rows - 1), Math.min(Math.floor(j), columns - 1)];
  const [i1, j1] = [Math.min(i0 + 1, rows - 1), Math.min(j0 + 1, columns - 1)];
  const [u, v] = [i - i0, j - j0];
  const row = (/** @type {number} */ k) => values[k * columns + j0] * (1 - v) + values[k * columns + j1] * v;
  return row(i0) * (1 - u) + row(i1) * u;
}

/** What an LR that is off by a factor costs at an ALMR, in nats of the weighted loss; null outside the tried LRs.
 * @param {Lattice} lattice @param {Record<string, number>} weights @param {number} almr @param {number} lr
 * @param {number} factor */
function costOfLr(lattice, weights, almr, lr, factor) {
  const mean = weighted(weights, lattice.mean);
  const columns = lattice.lr.length;
  const row = lowest(lattice.almr.map((one) => Math.abs(one - almr)));
  const logs = lattice.lr.map(Math.log);
  const there = Math.log(lr * factor);
  if (there < logs[0] - 1e-12 || there > logs[columns - 1] + 1e-12) return null;
  const at = (/** @type {number} */ place) => matrixAt(mean, columns, row, Math.min(Math.max(indexOf(logs, place), 0), columns - 1));
  return at(there) - at(Math.log(lr));
}
