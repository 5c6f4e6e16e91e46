import { element, heading, slider } from "studio/elements.js";
import { clamp, readable } from "studio/numbers.js";
import { pad } from "studio/pad.js";

/** How far a direction is gone along, to both sides. */
const REACH = 3;

/** The leading directions of the latent: a pad for two of them, a slider for each. */
export function mountDirections(root, session) {
  let update = () => {};
  session.on("drawn", (column) => {
    if (session.columns[0] !== column) return;
    const { model } = column;
    const of = `${model.id} ${model.directions.length}`;
    if (root.dataset.of === of) return;
    root.dataset.of = of;
    update = build(root, session, model.directions.length);
    update();
  });
  session.on("state", () => update());
}

function build(root, session, count) {
  const weight = (k) => session.state.weights[k] ?? 0;
  const set = (changes) => {
    const weights = Array.from({ length: count }, (_, k) => changes[k] ?? weight(k));
    while (weights.at(-1) === 0) weights.pop();
    session.set({ weights });
  };
  const sliders = Array.from({ length: count }, (_, k) => slider({
    name: String(k + 1), spoken: `Direction ${k + 1}`, min: -REACH, max: REACH, step: 0.05,
    change: (value) => set({ [k]: value }), reset: () => set({ [k]: 0 }),
  }));
  const plane = count > 1 ? axesPad(count, weight, set) : null;
  const reset = element("button", { type: "button", onclick: () => session.set({ weights: [] }) }, "Reset all");
  root.replaceChildren(
    heading("Directions", reset), ...(plane ? [plane.element] : []),
    element("div", { class: "compact" }, ...sliders.map(({ row }) => row)),
  );
  return () => {
    sliders.forEach((one, k) => one.update(weight(k), readable(weight(k)), weight(k) === 0));
    plane?.update();
  };
}

/** A pad over two of the directions. */
function axesPad(count, weight, set) {
  const axes = [0, 1];
  const toWeight = (share) => Math.round((share * 2 - 1) * REACH * 100) / 100;
  const toShare = (value) => clamp((value / REACH + 1) / 2, 0, 1);
  const field = pad({
    label: "Pad of two directions",
    move: (x, y) => set({ [axes[0]]: toWeight(x), [axes[1]]: toWeight(y) }),
    reset: () => set({ [axes[0]]: 0, [axes[1]]: 0 }),
  });
  const update = () => {
    const text = axes.map((k) => `direction ${k + 1}: ${readable(weight(k))}`).join(", ");
    field.update(toShare(weight(axes[0])), toShare(weight(axes[1])), text);
    selects.forEach((select, i) => { select.value = axes[i]; });
  };
  const choose = (i, k) => {
    if (axes[1 - i] === k) axes[1 - i] = axes[i];
    axes[i] = k;
    update();
  };
  const selects = axes.map((_, i) => element("select", { onchange: ({ target }) => choose(i, Number(target.value)) },
    ...Array.from({ length: count }, (_, k) => element("option", { value: k }, `${k + 1}`))));
  const labels = ["Across", "Up"].map((text, i) => element("label", {}, text, selects[i]));
  return { element: element("div", { class: "plane" }, field.element, element("div", {}, ...labels)), update };
}
