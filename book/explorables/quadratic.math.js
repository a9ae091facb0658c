/* The noisy quadratic model, exact: risk(t) = 1/2 sum_i m_i h_i E w_i^2, as flatter_lib.nqm.risk has it. */

/** The paper's spectrum, h_i = 1/i for i up to 10,000 with c = h, on few nodes: the first ones, then pieces of log i. */
export function spectrum(leading = 24, pieces = 36, dimension = 10000) {
  const modes = [];
  for (let i = 1; i <= leading; i++) modes.push({ h: 1 / i, c: 1 / i, many: 1, start: 1 });
  const [low, high] = [Math.log(leading + 0.5), Math.log(dimension + 0.5)];
  const width = (high - low) / pieces;
  for (let k = 0; k < pieces; k++) {
    const many = Math.exp(low + (k + 1) * width) - Math.exp(low + k * width);
    const h = width / many; // so that the sum over the piece of 1/i is exact
    modes.push({ h, c: h, many, start: 1 });
  }
  return modes;
}

/** The modes in which plain steps do what steps preconditioned by H^p do. */
export function preconditioned(modes, power) {
  return modes.map(({ h, c, many, start }) => {
    const scale = h ** power;
    return { h: h / scale, c: c / scale, many, start: start * scale };
  });
}

/* The state of a mode is (w, v, a): weight, buffer, running average. After n steps it is multiplied by P, and the second
   moments of its noise are W; both are nine numbers, row by row. Here they stand for n = 1, 2, 4, ... one after another,
   in memory that is used again for every mode. */
const ROOM = 32;
const P = new Float64Array(9 * ROOM);
const W = new Float64Array(9 * ROOM);
const HALF = new Float64Array(9);

/** c[k..] = a[i..] b[j..], the latter transposed if wanted. */
function multiply(a, i, b, j, c, k, transposed = false) {
  for (let row = 0; row < 9; row += 3) {
    for (let column = 0; column < 3; column++) {
      const at = transposed ? j + 3 * column : j + column;
      const by = transposed ? 1 : 3;
      c[k + row + column] = a[i + row] * b[at] + a[i + row + 1] * b[at + by] + a[i + row + 2] * b[at + 2 * by];
    }
  }
}

/** P and W of 1, 2, 4, ..., 2^(octaves - 1) steps of a mode. */
function double({ h, c }, { rate, batch, beta, gamma }, octaves) {
  const kept = 1 - gamma;
  const step = [1 - rate * h, -rate * beta, 0, h, beta, 0, kept * (1 - rate * h), -kept * rate * beta, gamma];
  const kick = [-rate, 1, -kept * rate];
  for (let i = 0; i < 9; i++) {
    P[i] = step[i];
    W[i] = (kick[Math.floor(i / 3)] * kick[i % 3] * c) / batch;
  }
  for (let last = 0; last < 9 * (octaves - 1); last += 9) {
    multiply(P, last, W, last, HALF, 0);
    multiply(HALF, 0, P, last, W, last + 9, true);
    for (let i = 0; i < 9; i++) W[last + 9 + i] += W[last + i];
    multiply(P, last, P, last, P, last + 9);
  }
}

/** The numbers of steps at which a curve is computed: four an octave, from 1 to 7/8 of 2^octaves. */
export function grid(octaves) {
  const found = [1, 2, 3];
  for (let j = 0; j < octaves - 2; j++) for (const m of [4, 5, 6, 7]) found.push(m * 2 ** j);
  return found;
}

/** The risk of the running average at each number of steps of `grid(octaves)`; exact for these modes. */
export function risks(modes, setting, octaves) {
  const steps = grid(octaves);
  const total = new Float64Array(steps.length);
  const top = steps.map((n) => Math.floor(Math.log2(n)));
  for (const mode of modes) {
    double(mode, setting, octaves);
    const share = 0.5 * mode.many * mode.h;
    for (let k = 0; k < steps.length; k++) {
      // The row of the average, carried back through the binary digits of the number of steps, the largest last in time.
      let x = 0;
      let y = 0;
      let z = 1;
      let noise = 0;
      for (let j = top[k]; j >= 0 && j >= top[k] - 2; j--) {
        if (!((steps[k] >> j) & 1)) continue;
        const i = 9 * j;
        noise += x * x * W[i] + y * y * W[i + 4] + z * z * W[i + 8];
        noise += 2 * (x * y * W[i + 1] + x * z * W[i + 2] + y * z * W[i + 5]);
        const one = x * P[i] + y * P[i + 3] + z * P[i + 6];
        const two = x * P[i + 1] + y * P[i + 4] + z * P[i + 7];
        z = x * P[i + 2] + y * P[i + 5] + z * P[i + 8];
        x = one;
        y = two;
      }
      total[k] += share * ((x + z) ** 2 * mode.start + noise); // the average begins at the weight
    }
  }
  return [...total];
}

/** The risk before the first step. */
export function begun(modes) {
  return modes.reduce((sum, { h, many, start }) => sum + 0.5 * many * h * start, 0);
}

/** When a risk first is at a target, by a straight line in the logarithms between the numbers of the grid; Infinity if never. */
export function arrival(steps, values, target) {
  const at = values.findIndex((x) => x <= target);
  if (at < 0) return Infinity;
  if (at === 0) return steps[0];
  const share = Math.log(values[at - 1] / target) / Math.log(values[at - 1] / values[at]);
  return steps[at - 1] * (steps[at] / steps[at - 1]) ** share;
}
