import { FACTOR, advise, elsewhere } from "./map.math.js";
import { decades, panel, round } from "./plot.js";

const REGIONS = ["same", "faster as typed", "faster tuned", "larger step", "no gain", "shaken"];
const KINDS = ["slope", "noise"];
const [COLUMNS, ROWS] = [56, 40];
const MEMORY = [1, 1000];
const STEP = [0.001, 4];

const setting = ({ step, momentum, steps, rest, largest, kind }) => ({
  scaled: step, momentum, steps, atRest: rest, largestStep: [1, 2, Infinity][largest], carriedBy: KINDS[kind],
});

/* The map of when momentum pays, for one's own setting. */
export const drawing = {
  size: (narrow) => (narrow ? [340, 400] : [680, 312]),
  sliders: [
    { id: "step", label: "step times largest curvature, ηh", min: 0.001, max: 4, value: 0.1, log: true },
    { id: "momentum", label: "momentum, β", min: 0, max: 0.999, value: 0.9, log: false },
    { id: "steps", label: "steps that plain SGD takes with this step, T", min: 10, max: 1e6, value: 10000, log: true, whole: true },
    { id: "rest", label: "noise at rest over what the goal allows, ρ", min: 0, max: 0.99, value: 0, log: false },
  ],
  buttons: [
    { label: "noise carries along a valley", set: () => ({ kind: 1 }) },
    { label: "a slope leads there", set: () => ({ kind: 0 }) },
    { label: "plain SGD: ηh ≤ 1", set: () => ({ largest: 0 }) },
    { label: "plain SGD: stable", set: () => ({ largest: 1 }) },
    { label: "plain SGD: no limit", set: () => ({ largest: 2 }) },
    { label: "the best momentum", set: (state) => ({ momentum: Math.min(0.999, advise(setting(state)).momentum) }) },
  ],
  hidden: { kind: 1, largest: 0 },
  picture(state, progress = 1, narrow = false) {
    const here = setting(state);
    const map = panel({ left: 52, top: 28, width: narrow ? 275 : 400, height: 240, x: MEMORY, y: STEP, logX: true, logY: true });
    const [width, height] = [(narrow ? 275 : 400) / COLUMNS, 240 / ROWS];
    const parts = [];
    for (let row = 0; row < ROWS; row++) {
      const scaled = STEP[0] * (STEP[1] / STEP[0]) ** ((row + 0.5) / ROWS);
      for (let column = 0, from = 0; column < COLUMNS; column++) {
        const region = (k) => elsewhere(here, scaled, 1 - 1 / MEMORY[1] ** ((k + 0.5) / COLUMNS)).region;
        const now = region(column);
        if (column + 1 < COLUMNS && region(column + 1) === now) continue;
        const x = (52 + from * width).toFixed(1);
        const y = (28 + 240 - (row + 1) * height).toFixed(1);
        parts.push(`<rect class="region-${REGIONS.indexOf(now)}" x="${x}" y="${y}" width="${((column + 1 - from) * width + 0.3).toFixed(1)}" height="${(height + 0.3).toFixed(1)}"/>`);
        from = column + 1;
      }
    }
    const legend = REGIONS.map((name, k) => {
      const [x, y] = narrow ? [52 + 140 * (k % 2), 330 + 24 * Math.floor(k / 2)] : [480, 40 + 26 * k];
      return `<rect class="region-${k}" x="${x}" y="${y}" width="16" height="16"/><text class="said" x="${x + 22}" y="${y + 12}">${name}</text>`;
    });
    return [
      ...parts,
      map.frame("memory, 1/(1 − β)", "ηh", [1, 10, 100, 1000], decades(STEP)),
      map.dot(1 / (1 - state.momentum), state.step, "goal", 7),
      map.dot(1 / (1 - state.momentum), state.step, "one", 3),
      ...legend,
    ].join("");
  },
  said(state) {
    const here = setting(state);
    const { region, asTyped, tuned, momentum } = advise(here);
    const factor = FACTOR[here.carriedBy];
    const between = (x) => (x > 0 ? `${round(x)} [${round(x / factor)}, ${round(x * factor)}]` : "none");
    const limit = ["ηh ≤ 1", "stable steps", "no limit on its step"][state.largest];
    const way = here.carriedBy === "noise" ? "Noise carries along a valley" : "A slope leads there";
    return `${way}; plain SGD has ${limit}. Here: ${region}. Gain over plain SGD with the same step ${between(asTyped)}, with its own best step ${between(tuned)}. The formula's best β is ${round(momentum, 3)}.`;
  },
};
