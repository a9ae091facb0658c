/* Heavy ball in the scalar valley (u v - 1)^2 / 2 under label noise, as flatter_lib.valleys.scalar has it. */

export const START = [1.6, 0.625];
/** (eta eps)^2 / (1 - beta)^3 with which |D| soonest stays below a tenth, by the reduced equation. */
export const BEST_KAPPA = 0.61;

/** u, v, and the imbalance D = u^2 - v^2 over its start, along a run; it ends early if the run leaves the valley. */
export function run(eta, beta, eps, draws) {
  let [u, v] = START;
  let [pu, pv] = [0, 0];
  const begun = u * u - v * v;
  const [us, vs, shares] = [[u], [v], [1]];
  for (const xi of draws) {
    const residual = u * v - 1 - eps * xi;
    pu = beta * pu + residual * v;
    pv = beta * pv + residual * u;
    u -= eta * pu;
    v -= eta * pv;
    if (!(u * u + v * v < 1e8)) break;
    us.push(u);
    vs.push(v);
    shares.push((u * u - v * v) / begun);
  }
  return { us, vs, shares, left: shares.length <= draws.length };
}

/** The step from which |D| stays at or below a level for good; NaN if it does not. */
export function settling({ shares, left }, level) {
  let last = shares.length - 1;
  if (left || Math.abs(shares[last]) > level) return NaN;
  while (last > 0 && Math.abs(shares[last - 1]) <= level) last--;
  return last;
}

/** The two times of Flatter, Faster in steps: the momentum's own, and that of the drift along the floor; their ratio. */
export function times(eta, beta, eps) {
  const own = 1 / (1 - beta);
  const drift = ((1 - beta) / (eta * eps)) ** 2;
  return { own, drift, kappa: own / drift };
}

/** The momentum of the rule: 1 - beta = C (eta eps)^(2/3). */
export function rule(eta, eps) {
  return 1 - Math.min(1, ((eta * eps) ** 2 / BEST_KAPPA) ** (1 / 3));
}

/** Normal draws that a seed determines, by mulberry32 and the transform of Box and Muller. */
export function normals(seed, count) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const found = [];
  while (found.length < count) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    found.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return found.slice(0, count);
}
