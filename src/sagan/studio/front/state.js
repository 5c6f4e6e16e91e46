import { sumOf } from "studio/numbers.js";

/**
 * What is shown, as one value; its text form is the permalink.
 *
 * @typedef {Object} State
 * @property {string[]} models Ids, one or two side by side.
 * @property {?number} step Checkpoint of the first model, null for the newest.
 * @property {number} seed
 * @property {?number} truncation
 * @property {number[]} weights How far to go along the leading directions.
 * @property {[number, number][]} classes Numbers and weights of the classes that are mixed.
 * @property {Object<string, number>} scales "generator.32" -> what that gamma is multiplied by.
 * @property {[number, number][]} points Pinned pixels (x, y).
 * @property {"from"|"to"} query Where the point looks, or who looks at it.
 * @property {"own"|"common"} colour Each map by its own largest weight, or all by the same.
 * @property {"after"|"before"|"difference"} shown With the scales of gamma, without, or both.
 * @property {"off"|"on"} grid Whether lines part the blocks of the maps.
 * @property {"look"|"explain"} view
 * @property {?string} layer Of the explanation: "generator.32".
 */

/** @type {State} */
export const INITIAL = Object.freeze({
  models: ["0"], step: null, seed: 0, truncation: null, weights: [], classes: [[0, 1]], scales: {},
  points: [], query: "from", colour: "own", shown: "after", grid: "off", view: "look", layer: null,
});

/** The most points, classes and directions of a state. */
export const MOST_POINTS = 6;
export const MOST_MIXED = 4;
const MOST_DIRECTIONS = 10;
/** What a weight of a direction, a scale of gamma or a truncation may be at most. */
const FARTHEST = 100;
/** Characters of a link that are repeated when they are no such thing. */
const REPEATED = 40;

const short = (number) => String(Math.round(number * 1e4) / 1e4);
const wholeNumber = (text) => (/^\d{1,15}$/.test(text) ? Number(text) : undefined);
const within = (low, high) => (text) => {
  const number = Number(text);
  return text !== "" && number >= low && number <= high ? number : undefined;
};
/** As the log has it, such as "generator.32". */
const layerName = (text) => (/^(generator|discriminator)\.[\d-]+$/.test(text) ? text : undefined);
const list = (text, read, most) => {
  const found = text.split(",", most).map(read);
  return found.includes(undefined) ? undefined : found;
};
const pair = (mark, first, second) => (text) => {
  const parts = text.split(mark);
  const values = [first(parts[0] ?? ""), second(parts[1] ?? "")];
  return parts.length !== 2 || values.includes(undefined) ? undefined : values;
};
const oneOf = (...known) => ({
  write: (value) => value, read: (text) => (known.includes(text) ? text : undefined),
});

/** How each field is written into a link and read again; undefined where a text is none. */
const FIELDS = {
  models: {
    write: (ids) => ids.join(","),
    read: (text) => (/^\d(,\d)?$/.test(text) ? [...new Set(text.split(","))] : undefined),
  },
  step: { write: String, read: wholeNumber },
  seed: { write: String, read: wholeNumber },
  truncation: { write: short, read: within(1e-4, FARTHEST) },
  weights: { write: (w) => w.map(short).join(","), read: (text) => list(text, within(-FARTHEST, FARTHEST), MOST_DIRECTIONS) },
  classes: {
    write: (classes) => classes.map(([number, weight]) => `${number}:${short(weight)}`).join(","),
    read: (text) => list(text, pair(":", wholeNumber, within(0, FARTHEST)), MOST_MIXED),
  },
  scales: {
    write: (scales) => Object.entries(scales).map(([name, s]) => `${name}:${short(s)}`).join(","),
    read: (text) => {
      const found = list(text, pair(":", layerName, within(0, FARTHEST)));
      return found && Object.fromEntries(found);
    },
  },
  points: {
    write: (points) => points.map((point) => point.join("x")).join(","),
    read: (text) => list(text, pair("x", wholeNumber, wholeNumber), MOST_POINTS),
  },
  query: oneOf("from", "to"),
  colour: oneOf("own", "common"),
  shown: oneOf("after", "before", "difference"),
  grid: oneOf("off", "on"),
  view: oneOf("look", "explain"),
  layer: { write: String, read: layerName },
};

/** The part of a link after its "#": only what differs from the first state. */
export function toLink(state) {
  const link = new URLSearchParams();
  for (const [name, { write }] of Object.entries(FIELDS)) {
    const text = state[name] === null ? "" : write(state[name]);
    const initial = INITIAL[name] === null ? "" : write(INITIAL[name]);
    if (text !== initial) link.set(name, text);
  }
  return link.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/**
 * What a link says; what it says wrongly is left as at first.
 *
 * @returns {{state: State, unread: string[]}} And what of it cannot be read, such as "seed=abc".
 */
export function fromLink(text) {
  const state = { ...INITIAL };
  const unread = [];
  for (const [name, value] of new URLSearchParams(text.replace(/^#/, ""))) {
    const read = Object.hasOwn(FIELDS, name) ? FIELDS[name].read(value) : undefined;
    if (read === undefined) unread.push(`${name}=${value}`.slice(0, REPEATED));
    else state[name] = read;
  }
  return { state, unread };
}

/** Shares of so many classes, summing to 1, of some with weights; empty without classes. */
export function sharesOf(classes, count) {
  const shares = new Float32Array(count);
  if (!count) return shares;
  for (const [number, weight] of classes) {
    if (number < count && weight > 0) shares[number] += weight;
  }
  const sum = sumOf(shares);
  if (sum > 0) return shares.map((share) => share / sum);
  shares[0] = 1;
  return shares;
}

/** Classes that one model names, as another one numbers them; by number where it has none of them. */
export function byName(classes, names, others) {
  const found = classes.map(([number, weight]) => [others.indexOf(names[number]), weight]);
  const known = found.filter(([number]) => number >= 0);
  return known.length ? known : classes;
}

/** The scales of one network's gammas, by the name of the layer. */
export function scalesOf(state, network, model) {
  const known = model[network]?.layers ?? [];
  const set = known.filter(({ name }) => `${network}.${name}` in state.scales);
  return Object.fromEntries(set.map(({ name }) => [name, state.scales[`${network}.${name}`]]));
}
