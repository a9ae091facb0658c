/* Heavy ball in one mode of a quadratic: v' = beta v + h w, w' = w - eta v'. Only eta h and beta matter. */

/** Roots of r^2 - (1 + beta - eta h) r + beta, as [re, im] pairs: a complex pair, or two real roots, the larger first. */
export function roots(step, beta) {
  const root = Math.sqrt(beta);
  const a = step - ((1 - beta) / (1 + root)) ** 2;
  const b = (1 + root) ** 2 - step;
  if (a > 0 && b > 0) {
    const angle = 2 * Math.atan2(Math.sqrt(a), Math.sqrt(b));
    const [re, im] = [root * Math.cos(angle), root * Math.sin(angle)];
    return [[re, im], [re, -im]];
  }
  const modulus = Math.max((0.5 * (Math.sqrt(Math.abs(a)) + Math.sqrt(Math.abs(b)))) ** 2, root);
  const larger = a > 0 ? -modulus : modulus;
  return [[larger, 0], [larger === 0 ? 0 : beta / larger, 0]];
}

/** The larger of the two moduli: the share of the mode that is left after a step, in the long run. */
export function rate(step, beta) {
  return Math.max(...roots(step, beta).map(([re, im]) => Math.hypot(re, im)));
}

/** The mode's weight from w = 1 and v = 0 on, after 0, 1, ..., count steps. */
export function weights(step, beta, count) {
  const found = [1];
  for (let k = 0, w = 1, v = 0; k < count; k++) {
    v = beta * v + step * w;
    w -= v;
    found.push(w);
  }
  return found;
}

/** The momentum whose roots meet: more of it swings, less of it crawls. */
export function critical(step) {
  return (1 - Math.sqrt(step)) ** 2;
}
