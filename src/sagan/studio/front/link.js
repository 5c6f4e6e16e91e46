import { layersOf } from "studio/layers.js";
import { fromLink, INITIAL } from "studio/state.js";

const layerNames = (model) => layersOf(model).map(({ name }) => name);

/**
 * What a link says, as far as the models have it.
 *
 * @param {string} text The part of the address after its "#".
 * @param {import("./backend.js").Model[]} models
 * @returns {{state: import("./state.js").State, told: string}} A line about the rest, or "".
 */
export function readLink(text, models) {
  const { state, unread: missing } = fromLink(text);
  const having = (items, isThere, words) => {
    missing.push(...items.filter((item) => !isThere(item)).map(words));
    return items.filter(isThere);
  };
  const isModel = (id) => models.some((model) => model.id === id);
  const ids = state.models === INITIAL.models ? state.models.filter(isModel)
    : having([...new Set(state.models)], isModel, (id) => `model ${id}`);
  const shown = models.filter(({ id }) => ids.includes(id));
  const first = models.find(({ id }) => id === ids[0]) ?? models[0];
  const [height, width] = first.size;
  const classes = having(state.classes, ([number]) => number < Math.max(first.classes.length, 1), ([number]) => `class ${number}`);
  const layers = (shown.length ? shown : [first]).flatMap(layerNames);
  const isLayer = (name) => layers.includes(name);
  const scaled = having(Object.keys(state.scales), isLayer, (name) => `layer ${name}`);
  const [step] = having([state.step], (one) => one === null || first.steps.length > 0 || one === first.step, (one) => `step ${one}`);
  const [layer] = having([state.layer], (name) => name === null || layerNames(first).includes(name), (name) => `layer ${name}`);
  const points = having(state.points, ([x, y]) => x < width && y < height, (point) => `point ${point.join("x")}`);
  const told = missing.length ? `The link names what is not here: ${missing.join(", ")}; the rest is shown.` : "";
  return {
    told,
    state: {
      ...state, step: step ?? null, layer: layer ?? null, points, classes: classes.length ? classes : INITIAL.classes,
      models: ids.length ? ids : [first.id], scales: Object.fromEntries(scaled.map((name) => [name, state.scales[name]])),
    },
  };
}
