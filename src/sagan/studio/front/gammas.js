import { choice, element, heading, slider } from "studio/elements.js";
import { layersOf, NETWORKS } from "studio/layers.js";
import { readable } from "studio/numbers.js";
import { shortcut } from "studio/shortcuts.js";

const SHOWN = { after: "After", before: "Before", difference: "Difference" };

/** A slider for the gamma of every layer, and what of the change is shown. */
export function mountGammas(root, session) {
  let update = () => {};
  let built = [];
  session.on("drawn", () => {
    const models = session.columns.map(({ model }) => model).filter(Boolean);
    if (models.length === built.length && models.every((model, i) => model === built[i])) return;
    built = models;
    update = build(root, session, layersTogether(models));
    update();
  });
  session.on("state", () => update());
  shortcut("g", "Gamma: after, before, difference", () => {
    const ways = Object.keys(SHOWN);
    session.set({ shown: ways[(ways.indexOf(session.state.shown) + 1) % ways.length] });
  });
  shortcut("a", "Attention off, and on again", () => root.querySelector(".off")?.click());
}

/** Layers of all models that are shown, each with the gammas of those that have it. */
function layersTogether(models) {
  const found = new Map();
  const all = models.flatMap(layersOf);
  for (const { name, title, layer } of NETWORKS.flatMap((one) => all.filter(({ network }) => network === one))) {
    const known = found.get(name) ?? { key: name, title, gammas: [] };
    found.set(name, { ...known, gammas: [...known.gammas, layer.gamma] });
  }
  return [...found.values()];
}

function build(root, session, layers) {
  if (!layers.length) {
    root.replaceChildren();
    return () => {};
  }
  const scale = (key) => session.state.scales[key] ?? 1;
  const set = (changes) => {
    const all = Object.entries({ ...session.state.scales, ...changes });
    session.set({ scales: Object.fromEntries(all.filter(([, value]) => value !== 1)) });
  };
  const all = (value) => set(Object.fromEntries(layers.map(({ key }) => [key, value])));
  const isOff = () => layers.every(({ key }) => scale(key) === 0);
  const sliders = layers.map(({ key, title }) => slider({
    name: title, spoken: `Gamma of ${title}`, min: 0, max: 2, step: 0.01,
    change: (value) => set({ [key]: value }), reset: () => set({ [key]: 1 }),
  }));
  const off = element("button", { type: "button", class: "off", onclick: () => all(isOff() ? 1 : 0) }, "Attention off");
  const shown = choice("Shown", SHOWN, () => session.state.shown, (value) => session.set({ shown: value }));
  const forget = () => session.set({ scales: {}, shown: "after" });
  const reset = element("button", { type: "button", onclick: forget }, "Reset");
  root.replaceChildren(heading("Gamma", off, reset), ...sliders.map(({ row }) => row), shown.group);
  return () => {
    sliders.forEach((one, i) => {
      const value = scale(layers[i].key);
      one.update(value, product(value, layers[i].gammas), value === 1);
    });
    off.setAttribute("aria-pressed", String(isOff()));
    shown.update();
  };
}

/** "−0.202", or "× 0.50 = −0.101". */
function product(scale, gammas) {
  const numbers = (factor) => gammas.map((gamma) => readable(gamma * factor, 3)).join(" and ");
  return scale === 1 ? numbers(1) : `\u00d7 ${readable(scale)} = ${numbers(scale)}`;
}
