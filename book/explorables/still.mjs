/* Makes the still pictures that a page shows where scripts are off: node book/explorables/still.mjs [FOLDER] */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { drawing as map } from "./map.js";
import { drawing as quadratic } from "./quadratic.js";
import { drawing as roots } from "./roots.js";
import { drawing as valley } from "./valley.js";

const folder = process.argv[2] ?? import.meta.dirname;
for (const [name, drawing] of Object.entries({ map, quadratic, roots, valley })) {
  const state = { ...drawing.hidden, ...Object.fromEntries(drawing.sliders.map(({ id, value }) => [id, value])) };
  const box = `0 0 ${drawing.size(false).join(" ")}`;
  writeFileSync(join(folder, `${name}.svg`), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box}">${drawing.picture(state)}</svg>\n`);
}
