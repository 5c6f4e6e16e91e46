import { gridOf } from "studio/maps.js";

/** The networks of a model, as titles name them. */
const TITLES = { generator: "Generator", discriminator: "Discriminator" };

export const NETWORKS = Object.keys(TITLES);

/**
 * An attention layer of one of a model's networks.
 *
 * @typedef {Object} Place
 * @property {"generator"|"discriminator"} network
 * @property {import("./backend.js").Layer} layer
 * @property {string} name As the state and the log have it, such as "generator.32".
 * @property {string} words Such as "generator, 32 x 32".
 * @property {string} title The same as a title.
 */

/** @returns {Place[]} All layers of a model: the generator's, then the discriminator's. */
export function layersOf(model) {
  return Object.entries(TITLES).flatMap(([network, title]) => (model[network]?.layers ?? []).map((layer) => {
    const size = `${layer.height} x ${layer.width}`;
    return { network, layer, name: `${network}.${layer.name}`, words: `${network}, ${size}`, title: `${title}, ${size}` };
  }));
}

/** @returns {Place[]} The layers of a column whose maps are there. */
export function layersShown({ model, maps }) {
  return layersOf(model).filter(({ network, layer }) => maps[network][layer.name]);
}

/** What the map of a layer says of a point: see `gridOf`. */
export function gridAt({ model, maps }, { network, layer }, point, query) {
  return gridOf(maps[network][layer.name], layer, model.size, point, query);
}
