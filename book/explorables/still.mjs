/* Makes the still pictures that a page shows where scripts are off, and README's, which brings its own colours:
   node book/explorables/still.mjs [FOLDER] */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { drawing as map } from "./map.js";
import { drawing as quadratic } from "./quadratic.js";
import { drawing as roots } from "./roots.js";
import { drawing as valley } from "./valley.js";

const STYLE = `<style>
  text { fill: #1f2328; font: 12px sans-serif; } .tick { fill: #59636e; font-size: 11px; }
  .frame, polyline, line { fill: none; } .frame { stroke: #d1d9e0; } .aid { stroke: #59636e; } .dashed { stroke-dasharray: 4 4; }
  .one { stroke: #0072b2; } .two { stroke: #a35a00; stroke-width: 1.2; } .thick { stroke-width: 2.2; } .faint { opacity: 0.45; }
  .bar, circle.one { fill: #0072b2; } circle.goal { fill: none; stroke: #1f2328; stroke-width: 1.5; }
</style><rect width="100%" height="100%" fill="#fff"/>`;
const folder = process.argv[2] ?? import.meta.dirname;
for (const [name, drawing] of Object.entries({ map, quadratic, roots, valley })) {
  const state = { ...drawing.hidden, ...Object.fromEntries(drawing.sliders.map(({ id, value }) => [id, value])) };
  const box = `0 0 ${drawing.size(false).join(" ")}`;
  const picture = (before) => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box}">${before}${drawing.picture(state)}</svg>\n`;
  writeFileSync(join(folder, `${name}.svg`), picture(""));
  if (name === "valley") writeFileSync(join(folder, "readme.svg"), picture(STYLE));
}
