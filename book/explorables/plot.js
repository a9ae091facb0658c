/* Drawings as text: a panel with axes, curves in it, and words. The same in a page and when the still picture is made. */

const shown = (x) => (Math.round(x * 10) / 10).toString();

/** A word for a number on an axis. */
export function tick(x) {
  const power = Math.log10(Math.abs(x));
  if (x !== 0 && Number.isInteger(power) && Math.abs(power) > 3) return `10<tspan dy="-5" font-size="9">${power}</tspan>`;
  return x.toLocaleString("en", { maximumSignificantDigits: 3 });
}

/** A panel: where it lies in pixels, the ranges of its axes, and whether they are logarithmic. */
export function panel({ left, top, width, height, x, y, logX = false, logY = false }) {
  const to = (value, [low, high], log) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  const px = (value) => left + width * to(value, x, logX);
  const py = (value) => top + height * (1 - to(value, y, logY));
  const inside = (value, [low, high]) => Math.min(Math.max(value, low), high);
  return {
    px,
    py,
    /** A curve through points; what is off the panel is drawn at its edge. */
    curve(xs, ys, kind) {
      const points = xs.map((value, i) => (Number.isFinite(ys[i]) ? `${shown(px(inside(value, x)))},${shown(py(inside(ys[i], y)))}` : ""));
      return `<polyline class="${kind}" points="${points.filter(Boolean).join(" ")}"/>`;
    },
    /** A dot. */
    dot(value, other, kind, radius = 5) {
      return `<circle class="${kind}" cx="${shown(px(inside(value, x)))}" cy="${shown(py(inside(other, y)))}" r="${radius}"/>`;
    },
    /** Words at a place, to the right of it unless `anchor` says otherwise. */
    words(value, other, said, { kind = "said", anchor = "start", dx = 6, dy = 4 } = {}) {
      return `<text class="${kind}" x="${shown(px(inside(value, x)) + dx)}" y="${shown(py(inside(other, y)) + dy)}" text-anchor="${anchor}">${said}</text>`;
    },
    /** A line up or across the whole panel. */
    upright: (value, kind) => `<line class="${kind}" x1="${shown(px(value))}" x2="${shown(px(value))}" y1="${top}" y2="${top + height}"/>`,
    level: (value, kind) => `<line class="${kind}" x1="${left}" x2="${left + width}" y1="${shown(py(value))}" y2="${shown(py(value))}"/>`,
    /** The frame, ticks and names of the axes. */
    frame(nameX, nameY, ticksX, ticksY) {
      const parts = [`<rect class="frame" x="${left}" y="${top}" width="${width}" height="${height}"/>`];
      for (const t of ticksX) parts.push(`<text class="tick" x="${shown(px(t))}" y="${top + height + 15}" text-anchor="middle">${tick(t)}</text>`);
      for (const t of ticksY) parts.push(`<text class="tick" x="${left - 5}" y="${shown(py(t) + 4)}" text-anchor="end">${tick(t)}</text>`);
      parts.push(`<text class="axis" x="${left + width / 2}" y="${top + height + 33}" text-anchor="middle">${nameX}</text>`);
      parts.push(`<text class="axis" x="${left}" y="${top - 8}">${nameY}</text>`);
      return parts.join("");
    },
  };
}

/** Powers of ten in a range. */
export function decades([low, high], every = 1) {
  const found = [];
  for (let k = Math.ceil(Math.log10(low) - 1e-9); 10 ** k <= high * (1 + 1e-9); k += every) found.push(10 ** k);
  return found;
}

/** Round numbers from 0 up to a number, about four of them. */
export function evenly(most) {
  const rough = 10 ** Math.floor(Math.log10(most / 3));
  const every = [1, 2, 5, 10].map((k) => k * rough).find((k) => most / k <= 5);
  return Array.from({ length: Math.floor(most / every) + 1 }, (_, k) => k * every);
}

/** A number in so many digits that a reader can use. */
export function round(x, digits = 2) {
  if (!Number.isFinite(x)) return "never";
  return Number(x.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 10 });
}
