import { arrival, begun, grid, preconditioned, risks, spectrum } from "./quadratic.math.js";
import { decades, panel, round } from "./plot.js";

const OCTAVES = 19;
const MODES = spectrum();
const TARGET = 0.01;
const RATES = Array.from({ length: 25 }, (_, k) => 10 ** (-3.2 + (k * 3.6) / 24));

/* The noisy quadratic model: risk against steps, and the steps to a target against the step size. */
export const drawing = {
  size: (narrow) => (narrow ? [340, 580] : [680, 300]),
  sliders: [
    { id: "batch", label: "batch size, B", min: 1, max: 16384, value: 256, log: true, whole: true },
    { id: "step", label: "step size, α", min: 0.001, max: 2, value: 0.1, log: true },
    { id: "momentum", label: "momentum, β", min: 0, max: 0.99, value: 0.9, log: false },
    { id: "averaging", label: "averaging, γ", min: 0, max: 0.999, value: 0, log: false },
    { id: "power", label: "preconditioning, p", min: 0, max: 1, value: 0, log: false },
  ],
  buttons: [
    { label: "no momentum", set: () => ({ momentum: 0 }) },
    { label: "the best step", set(state) { return { step: drawing.of(state).best }; } },
  ],
  made: null,
  setting({ batch, momentum, averaging }, rate) {
    return { batch, beta: momentum, gamma: averaging, rate };
  },
  of(state) {
    const key = JSON.stringify([state.batch, state.momentum, state.averaging, state.power]);
    if (this.made?.key !== key) {
      const modes = preconditioned(MODES, state.power);
      const steps = grid(OCTAVES);
      const times = RATES.map((rate) => arrival(steps, risks(modes, this.setting(state, rate), OCTAVES), TARGET));
      const least = Math.min(...times);
      this.made = { key, modes, steps, times, least, best: RATES[times.indexOf(least)] };
    }
    return this.made;
  },
  picture(state, progress = 1, narrow = false) {
    const { modes, steps, times, best, least } = this.of(state);
    const now = risks(modes, this.setting(state, state.step), OCTAVES);
    const plain = risks(modes, this.setting({ ...state, momentum: 0 }, state.step), OCTAVES);
    const y = [1e-4, 10];
    const x = [1, 2 ** (OCTAVES - 1)];
    const curve = panel({ left: 52, top: 30, width: narrow ? 275 : 290, height: 220, x, y, logX: true, logY: true });
    const place = narrow ? { left: 52, top: 320, width: 275 } : { left: 420, top: 30, width: 240 };
    const tuned = panel({ ...place, height: 220, x: [RATES[0], RATES.at(-1)], y: [10, 1e6], logX: true, logY: true });
    const there = arrival(steps, now, TARGET);
    return [
      curve.frame("steps", "expected risk", decades(x, 2), decades(y)),
      curve.level(TARGET, "aid dashed"),
      curve.curve(steps, plain, "two"),
      curve.curve(steps, now, "one thick"),
      tuned.frame("step size, α", "steps to the target", decades([RATES[0], RATES.at(-1)]), decades([10, 1e6])),
      tuned.curve(RATES, times.map((t) => (Number.isFinite(t) ? t : NaN)), "one thick"),
      Number.isFinite(least) ? tuned.dot(best, least, "goal", 4) + tuned.words(best, least, "best", { dy: 16, dx: -4 }) : "",
      tuned.upright(state.step, "aid dashed"),
      Number.isFinite(there) ? tuned.dot(state.step, there, "one", 5) : "",
    ].join("");
  },
  said(state) {
    const { modes, steps, best, least } = this.of(state);
    const there = arrival(steps, risks(modes, this.setting(state, state.step), OCTAVES), TARGET);
    const still = begun(modes);
    return `The risk begins at ${round(still)}. It is at ${TARGET} after ${round(there, 3)} steps, which is ${round(there * state.batch, 3)} examples; with the best step, ${round(best)}, after ${round(least, 3)}.`;
  },
};
