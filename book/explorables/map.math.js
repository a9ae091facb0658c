/* What momentum is worth at a setting: flatter_lib.advice, where each line is explained. */

export const POWERS = { slope: 1, noise: 2 };
export const DELAY = { slope: 2.5, noise: 3.2 };
export const BORDER = { slope: Infinity, noise: 11 };
export const FACTOR = { slope: 2.3, noise: 3.3 };
const DIFFERENT = 1.25;

function regionOf(time, plain, tuned, matched) {
  if (time === Infinity) return "shaken";
  if (tuned > DIFFERENT * time) return "faster tuned";
  if (time <= DIFFERENT * matched && matched < Infinity) return "same";
  if (plain <= DIFFERENT * time) return "no gain";
  return matched === Infinity ? "larger step" : "faster as typed";
}

/** The region of a setting, and the gains over plain SGD with the same step and with its own best one. */
export function advise({ scaled, momentum, steps, carriedBy = "noise", atRest = 0, largestStep = 1 }) {
  const [p, c] = [POWERS[carriedBy], DELAY[carriedBy]];
  const memory = 1 / (1 - momentum);
  const alone = (times) => {
    const room = 1 - atRest * times;
    return room > 0 ? (steps * (1 - atRest)) / (times ** p * room) : Infinity;
  };
  const limit = largestStep / scaled;
  const most = Math.min(limit, atRest ? p / ((p + 1) * atRest) : Infinity);
  const tuned = most < Infinity ? alone(most) : 0;
  const matched = alone(memory);
  const lost = scaled >= 2 * (2 - 1 / memory) || memory ** (p + 1) / steps > BORDER[carriedBy];
  const time = lost ? Infinity : matched + c * (momentum ? memory : 0);
  return {
    region: regionOf(time, steps, tuned, memory <= limit ? matched : Infinity),
    asTyped: steps / time,
    tuned: tuned / time,
    momentum: Math.max(0, 1 - (c / (p * steps)) ** (1 / (p + 1))),
  };
}

/** The same with another step size and momentum, where the way and the noise at rest follow the step size. */
export function elsewhere(setting, scaled, momentum) {
  const times = scaled / setting.scaled;
  const steps = setting.steps / times ** POWERS[setting.carriedBy];
  return advise({ ...setting, scaled, momentum, steps, atRest: Math.min(0.999, setting.atRest * times) });
}
