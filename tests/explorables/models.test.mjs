/* The mathematics of the drawings against cases that the library computed: tests/explorables/test_explorables.py. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import * as map from "../../book/explorables/map.math.js";
import * as quadratic from "../../book/explorables/quadratic.math.js";
import * as roots from "../../book/explorables/roots.math.js";
import * as valley from "../../book/explorables/valley.math.js";

const cases = JSON.parse(readFileSync(process.env.CASES, "utf8"));

function close(found, wanted, tolerance, what) {
  assert.equal(found.length, wanted.length, what);
  found.forEach((x, i) => {
    const off = Math.abs(x - wanted[i]) / Math.max(1e-300, tolerance.relative ? Math.abs(wanted[i]) : 1);
    assert.ok(off <= tolerance.to, `${what}: ${x} is not ${wanted[i]}, at ${i}`);
  });
}

test("roots, rates and weights", () => {
  for (const { step, beta, pair, weights } of cases.roots) {
    const what = JSON.stringify({ step, beta });
    close(roots.roots(step, beta).flat(), pair.flat(), { to: 1e-9 }, what);
    const rate = Math.max(...pair.map(([re, im]) => Math.hypot(re, im)));
    close([roots.rate(step, beta)], [rate], { to: 1e-9 }, what);
    close(roots.weights(step, beta, weights.length - 1), weights, { to: 1e-9 }, what);
  }
});

test("the momentum at which the roots meet", () => {
  for (const step of [1e-3, 0.05, 0.5, 0.9]) {
    const [[, above]] = roots.roots(step, roots.critical(step) + 1e-6);
    const [[, below]] = roots.roots(step, roots.critical(step) - 1e-6);
    assert.ok(above > 0 && below === 0);
  }
});

test("runs in the valley", () => {
  for (const { eta, beta, eps, draws, us, vs, shares, settled } of cases.valley) {
    const what = JSON.stringify({ eta, beta, eps });
    const found = valley.run(eta, beta, eps, draws);
    assert.equal(found.left, us.length <= draws.length, what);
    close(found.us, us, { to: 1e-9 }, what);
    close(found.vs, vs, { to: 1e-9 }, what);
    close(found.shares, shares, { to: 1e-9 }, what);
    const here = valley.settling(found, 0.1);
    assert.ok(Object.is(here, settled ?? NaN), `${what}: ${here} is not ${settled}`);
  }
});

test("clocks, and the rule", () => {
  for (const [eta, beta, eps] of [[0.1, 0.9, 0.3], [0.01, 0.5, 1]]) {
    const { own, drift, kappa } = valley.times(eta, beta, eps);
    close([own / drift], [kappa], { to: 1e-12, relative: true }, "kappa");
    const best = valley.times(eta, valley.rule(eta, eps), eps);
    close([best.kappa], [valley.BEST_KAPPA], { to: 1e-9, relative: true }, "rule");
  }
  close([valley.BEST_KAPPA], [cases.bestKappa], { to: 0.25, relative: true }, "best kappa");
});

test("draws are normal", () => {
  const draws = valley.normals(3, 40001);
  const moment = (power) => draws.reduce((sum, x) => sum + x ** power, 0) / draws.length;
  assert.equal(draws.length, 40001);
  close([1, 2, 3, 4].map(moment), [0, 1, 0, 3], { to: 0.15 }, "moments");
  assert.notDeepEqual(valley.normals(4, 3), draws.slice(0, 3));
});

test("risks of the noisy quadratic model", () => {
  const modes = quadratic.spectrum();
  close(quadratic.grid(19), cases.grid, { to: 0 }, "grid");
  for (const { power, setting, risks } of cases.quadratic) {
    const found = quadratic.risks(quadratic.preconditioned(modes, power), setting, 19);
    close(found, risks, { to: 1e-9, relative: true }, JSON.stringify({ power, setting }));
  }
  for (const { setting, risks } of cases.whole) {
    close(quadratic.risks(modes, setting, 19), risks, { to: 0.02, relative: true }, "few nodes");
  }
  close([quadratic.begun(modes)], [cases.begun], { to: 1e-9, relative: true }, "begun");
});

test("arrival is between the numbers of the grid, where the logarithms are straight", () => {
  assert.equal(quadratic.arrival([1, 2, 4], [9, 3, 2], 1), Infinity);
  assert.equal(quadratic.arrival([1, 2, 4], [1, 0.5, 0.2], 1), 1);
  close([quadratic.arrival([1, 2, 4], [16, 4, 1], 2)], [2 * Math.SQRT2], { to: 1e-12 }, "arrival");
});

test("what momentum is worth", () => {
  for (const { setting, region, asTyped, tuned, momentum } of cases.map) {
    const largestStep = setting.largestStep ?? Infinity;
    const found = map.advise({ ...setting, largestStep });
    const what = JSON.stringify(setting);
    assert.equal(found.region, region, what);
    close([found.asTyped, found.tuned, found.momentum], [asTyped, tuned, momentum], { to: 1e-9, relative: true }, what);
    assert.deepEqual(map.elsewhere({ ...setting, largestStep }, setting.scaled, setting.momentum), found, what);
  }
  for (const kind of ["slope", "noise"]) {
    const { delay, border, factor } = cases.law[kind];
    assert.deepEqual([map.DELAY[kind], map.BORDER[kind], map.FACTOR[kind]], [delay, border ?? Infinity, factor]);
  }
});
