import { normals, rule, run, settling, times } from "./valley.math.js";
import { decades, evenly, panel, round } from "./plot.js";

const LEVEL = 0.1;
const MOST = 60000;

/** How many steps are shown: some times the longer of the two clocks. */
function horizon({ step, momentum, noise }) {
  const { own, drift } = times(step, momentum, noise);
  return Math.min(MOST, Math.ceil(6 * Math.max(own, drift) + 20));
}

/** Every so many steps, so that a curve has some hundred points. */
function thinned(values, upTo, most = 400) {
  const every = Math.max(1, Math.floor(values.length / most));
  return values.slice(0, upTo).filter((_, k) => k % every === 0);
}

/** A bar as long as the logarithm of a time. */
function clock(top, narrow, name, value) {
  const width = (narrow ? 75 : 360) * Math.min(1, Math.log10(1 + value) / Math.log10(1 + MOST));
  return [
    `<text class="axis" x="40" y="${top + 11}">${name}</text>`,
    `<rect class="bar" x="175" y="${top}" width="${Math.max(1, width).toFixed(1)}" height="13"/>`,
    `<text class="said" x="${(181 + width).toFixed(1)}" y="${top + 11}">${round(value)} steps</text>`,
  ].join("");
}

/* A ball that label noise shakes along the floor of a valley; with momentum, and without. */
export const drawing = {
  size: (narrow) => (narrow ? [340, 610] : [680, 330]),
  sliders: [
    { id: "step", label: "step size, η", min: 0.01, max: 1, value: 0.1, log: true },
    { id: "momentum", label: "momentum, β", min: 0, max: 0.99, value: 0.9, log: false },
    { id: "noise", label: "label noise, ε", min: 0.05, max: 1, value: 0.3, log: true },
    { id: "seed", label: "draw of the noise", min: 1, max: 50, value: 1, log: false, whole: true },
  ],
  buttons: [
    { label: "no momentum", set: () => ({ momentum: 0 }) },
    { label: "the 2/3 rule", set: ({ step, noise }) => ({ momentum: rule(step, noise) }) },
    { label: "a large plain step", set: () => ({ step: 0.65, momentum: 0 }) },
  ],
  animated: true,
  made: null,
  of(state) {
    const key = JSON.stringify(state);
    if (this.made?.key !== key) {
      const draws = normals(state.seed, horizon(state));
      const own = run(state.step, state.momentum, state.noise, draws);
      const plain = run(state.step, 0, state.noise, draws);
      this.made = { key, own, plain, count: draws.length };
    }
    return this.made;
  },
  picture(state, progress = 1, narrow = false) {
    const { own, plain, count } = this.of(state);
    const now = Math.min(Math.round(progress * count), own.shares.length - 1);
    const floor = Array.from({ length: 61 }, (_, k) => 2.2 ** (k / 30 - 1));
    const plane = panel({ left: 40, top: 28, width: 220, height: 200, x: [0.3, 2.2], y: [0.3, 2.2] });
    const place = narrow ? { left: 45, top: 300, width: 280 } : { left: 330, top: 28, width: 330 };
    const time = panel({ ...place, height: 200, x: [0, count], y: [0.001, 2], logY: true });
    const clocks = narrow ? 560 : 285;
    const steps = Array.from({ length: count + 1 }, (_, k) => k);
    const size = (shares) => shares.map((x) => Math.max(Math.abs(x), 1e-9));
    const settled = settling(own, LEVEL);
    const { own: swing, drift } = times(state.step, state.momentum, state.noise);
    const tail = own.us.slice(Math.max(0, now - 150), now + 1);
    return [
      plane.frame("u", "v: the valley from above", [0.5, 1, 1.5, 2], [0.5, 1, 1.5, 2]),
      plane.curve(floor, floor.map((u) => 1 / u), "aid thick"),
      plane.dot(1, 1, "goal", 4),
      plane.words(1, 1, "flattest"),
      plane.curve(tail, own.vs.slice(Math.max(0, now - 150), now + 1), "one faint"),
      plane.dot(own.us[now], own.vs[now], "one", 6),
      time.frame("steps", "distance from the flattest place, |D| over its start", evenly(count), decades([0.001, 1])),
      time.level(LEVEL, "aid dashed"),
      time.curve(thinned(steps, count + 1), thinned(size(plain.shares), Math.round(progress * count) + 1), "two"),
      time.curve(thinned(steps, now + 1), thinned(size(own.shares), now + 1), "one thick"),
      settled <= now ? time.dot(settled, LEVEL, "one", 4) : "",
      clock(clocks, narrow, "momentum turns in", swing),
      clock(clocks + 22, narrow, "the floor is crossed in", drift),
    ].join("");
  },
  said(state) {
    const { own, plain, count } = this.of(state);
    const { kappa } = times(state.step, state.momentum, state.noise);
    const plainly = -Math.log(LEVEL) / (state.step * state.noise) ** 2;
    const arrived = (made) => {
      const step = settling(made, LEVEL);
      if (made === plain && Number.isNaN(step) && !made.left) return `would take about ${round(plainly)}`;
      return made.left ? "leaves the valley" : Number.isNaN(step) ? `has not settled after ${count.toLocaleString("en")} steps` : `settles after ${step.toLocaleString("en")} steps`;
    };
    return `With momentum the run ${arrived(own)}; plain SGD with the same step and noise ${arrived(plain)}. The clocks' ratio κ is ${round(kappa)}; the rule would take β = ${round(rule(state.step, state.noise), 3)}.`;
  },
};
