import { critical, rate, roots, weights } from "./roots.math.js";
import { panel, round } from "./plot.js";

/* Roots of heavy ball in the complex plane, and what they mean in time. */
export const drawing = {
  size: (narrow) => (narrow ? [340, 580] : [680, 300]),
  sliders: [
    { id: "step", label: "step times curvature, ηh", min: 0.001, max: 4, value: 0.05, log: true },
    { id: "momentum", label: "momentum, β", min: 0, max: 0.99, value: 0.8, log: false },
  ],
  buttons: [{ label: "roots that meet", set: ({ step }) => ({ momentum: Math.min(0.99, step < 1 ? critical(step) : 0) }) }],
  picture({ step, momentum }, progress = 1, narrow = false) {
    const found = roots(step, momentum);
    const plane = panel({ left: 40, top: 30, width: 220, height: 220, x: [-1.25, 1.25], y: [-1.25, 1.25] });
    const angles = Array.from({ length: 97 }, (_, k) => (2 * Math.PI * k) / 96);
    const circle = (radius, kind) => plane.curve(angles.map((t) => radius * Math.cos(t)), angles.map((t) => radius * Math.sin(t)), kind);
    const count = 60;
    const place = narrow ? { left: 40, top: 320, width: 285 } : { left: 320, top: 30, width: 340 };
    const time = panel({ ...place, height: 220, x: [0, count], y: [-1.2, 1.2] });
    const steps = Array.from({ length: count + 1 }, (_, k) => k);
    const left = rate(step, momentum);
    return [
      plane.frame("real part", "roots", [-1, 0, 1], [-1, 0, 1]),
      circle(1, "aid"),
      circle(Math.sqrt(momentum), "aid dashed"),
      ...found.map(([re, im]) => plane.dot(re, im, "one")),
      time.frame("steps", "weight, and what plain SGD leaves", [0, 20, 40, 60], [-1, 0, 1]),
      time.level(0, "aid"),
      time.curve(steps, steps.map((k) => left ** k), "aid dashed"),
      time.curve(steps, weights(step, 0, count), "two"),
      time.curve(steps, weights(step, momentum, count), "one thick"),
    ].join("");
  },
  said({ step, momentum }) {
    const left = rate(step, momentum);
    const kind = left >= 1 ? "Unstable: it grows" : roots(step, momentum)[0][1] > 0 ? "It swings" : "It does not swing";
    const lasts = left < 1 ? `; a step leaves ${round(left, 3)} of it, and ${round(Math.log(0.1) / Math.log(left))} steps a tenth` : "";
    return `${kind}${lasts}. Plain SGD leaves ${round(rate(step, 0), 3)} a step. The roots meet at β = ${step < 1 ? round(critical(step)) : "0"}.`;
  },
};
