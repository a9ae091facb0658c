/* Sliders, buttons, the state in the page's address, and drawing no more often than the screen does. */

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
/** Milliseconds in which a run is shown. */
const LAP = 5000;
/** Below so many pixels panels stand above each other. */
const NARROW = 520;

function toSlider({ min, max, log }, value) {
  return log ? Math.log(value / min) / Math.log(max / min) : (value - min) / (max - min);
}

function fromSlider({ min, max, log, whole }, share) {
  const value = log ? min * (max / min) ** share : min + share * (max - min);
  return whole ? Math.round(value) : Number(value.toPrecision(3));
}

/** What the address says of this drawing, else the values it begins with. */
function initial(name, sliders) {
  const said = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(
    sliders.map(({ id, value, min, max }) => {
      const given = Number(said.get(`${name}.${id}`) ?? NaN);
      return [id, given >= min && given <= max ? given : value];
    }),
  );
}

/** Make a still picture move. */
export function mount(root, name, drawing) {
  const picture = root.querySelector("svg");
  const controls = root.querySelector(".explorable-controls");
  const words = root.querySelector(".explorable-said");
  const state = { ...drawing.hidden, ...initial(name, drawing.sliders) };
  const [inputs, buttons] = [new Map(), new Map()];
  let [asked, since] = [0, 0];

  function draw(now) {
    asked = 0;
    const progress = drawing.animated && !still() ? Math.min(1, (now - since) / LAP) : 1;
    const narrow = root.clientWidth < NARROW;
    picture.setAttribute("viewBox", `0 0 ${drawing.size(narrow).join(" ")}`);
    picture.innerHTML = drawing.picture(state, progress, narrow);
    if (progress < 1) ask();
  }
  function ask() {
    asked ||= requestAnimationFrame(draw);
  }
  function changed() {
    for (const [slider, { input, output }] of inputs) {
      input.value = toSlider(slider, state[slider.id]);
      output.textContent = state[slider.id].toLocaleString("en", { maximumSignificantDigits: 3 });
      input.setAttribute("aria-valuetext", output.textContent);
    }
    // On is what would change nothing.
    for (const [button, set] of buttons) {
      button.setAttribute("aria-pressed", Object.entries(set(state)).every(([id, value]) => state[id] === value));
    }
    words.textContent = drawing.said(state);
    since = performance.now();
    ask();
  }
  function remember() {
    const said = new URLSearchParams(location.hash.slice(1));
    for (const { id } of drawing.sliders) said.set(`${name}.${id}`, state[id]);
    history.replaceState(null, "", `#${said}`);
  }

  for (const slider of drawing.sliders) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: "any" });
    const output = document.createElement("output");
    label.append(Object.assign(document.createElement("span"), { textContent: slider.label }), output, input);
    controls.append(label);
    inputs.set(slider, { input, output });
    input.addEventListener("input", () => {
      state[slider.id] = fromSlider(slider, Number(input.value));
      changed();
    });
    input.addEventListener("change", remember);
  }
  for (const { label, set } of drawing.buttons) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
    buttons.set(button, set);
    button.addEventListener("click", () => {
      Object.assign(state, set(state));
      changed();
      remember();
    });
    controls.append(button);
  }
  new ResizeObserver(ask).observe(root);
  changed();
}
