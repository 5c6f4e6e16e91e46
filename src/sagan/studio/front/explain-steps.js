import { drawMap } from "studio/drawing.js";
import { figures, greatest } from "studio/numbers.js";
import { drawBars, drawTiles } from "studio/tiles.js";

/**
 * The steps by which attention computes one place.
 *
 * @typedef {Object} Step
 * @property {string} title
 * @property {string} formula HTML.
 * @property {(shown: Shown) => string} sentence
 * @property {"bars"|"blocks"} kind
 * @property {(target: Element, shown: Shown) => void} draw
 * @property {(shown: Shown) => Iterable<number>|string} numbers What is written below it.
 *
 * @typedef {Object} Shown
 * @property {import("./backend.js").Explained} found Numbers of the back end.
 * @property {import("./backend.js").Layer} layer
 * @property {number} position Of the place, row-major.
 * @property {number} block That is looked at, row-major.
 * @property {import("./backend.js").Picture} picture
 */

/** The part of a table that belongs to a block. */
function rowOf(table, block, blocks) {
  const width = table.length / blocks;
  return table.subarray(block * width, (block + 1) * width);
}

const blocksOf = ({ layer: { keys: [rows, columns] } }) => rows * columns;
const keyOf = (shown) => rowOf(shown.found.keys, shown.block, blocksOf(shown));
const valueOf = (shown) => rowOf(shown.found.values, shown.block, blocksOf(shown));
const percent = (share) => `${figures(100 * share)} %`;
const sizeOf = (numbers) => Math.hypot(...numbers);
const place = (index, columns) => `row ${Math.floor(index / columns) + 1}, column ${(index % columns) + 1}`;

/** Which block is looked at, in words. */
export function blockName({ block, layer }) {
  return `block in ${place(block, layer.keys[1])}`;
}

function productWords(shown) {
  const key = keyOf(shown);
  const product = figures(shown.found.products[shown.block]);
  if (key.length > 8) return `q · k = ${product}`;
  const parts = Array.from(key, (number, i) => `${figures(shown.found.query[i])} × ${figures(number)}`);
  return `${parts.join(" + ")} = ${product}`;
}

function softmaxWords({ found, block }) {
  const most = greatest(found.products);
  const sum = found.products.reduce((a, b) => a + Math.exp(b - most), 0);
  const shift = most > 15 ? most : 0;  // else exp gives numbers that nobody can read
  const [one, all] = [found.products[block] - shift, sum * Math.exp(most - shift)];
  return `exp(${figures(one)}) = ${figures(Math.exp(one))} of ${figures(all)} in all = ${percent(found.weights[block])}`
    + (shift ? " (the largest product is taken off first)" : "");
}

/** @type {Step[]} */
export const STEPS = [
  {
    title: "The place", formula: "<i>x</i>", kind: "bars",
    sentence: ({ found, layer, position }) => `In this layer a place is ${found.given.length} numbers. `
      + `These are the ones in ${place(position, layer.width)} of ${layer.height} x ${layer.width}.`,
    draw: (svg, { found }) => drawBars(svg, { total: found.given }),
    numbers: ({ found }) => found.given,
  },
  {
    title: "Its query", formula: "<i>q</i> = W<sub>q</sub> <i>x</i>", kind: "bars",
    sentence: ({ found }) => `A matrix makes ${found.query.length} numbers of them, which say what this place looks for.`,
    draw: (svg, { found }) => drawBars(svg, { total: found.query }),
    numbers: ({ found }) => found.query,
  },
  {
    title: "The keys", formula: "<i>k</i><sub>j</sub> = W<sub>k</sub> <i>x</i><sub>j</sub>", kind: "blocks",
    sentence: (shown) => `Every block has a key of as many numbers, which say what is found there (red above 0, blue below)${
      blocksOf(shown) < shown.layer.height * shown.layer.width
        ? "; each number is the largest of its 2 x 2 places" : ""}.`,
    draw: (canvas, { found, layer }) => drawTiles(canvas, found.keys, layer.keys),
    numbers: keyOf,
  },
  {
    title: "The products", formula: "<i>s</i><sub>j</sub> = <i>q</i> · <i>k</i><sub>j</sub>", kind: "blocks",
    sentence: () => "Query times key, number by number, summed: red where they fit, blue where they do not.",
    draw: (canvas, { found, layer }) => drawTiles(canvas, found.products, layer.keys),
    numbers: productWords,
  },
  {
    title: "The weights", kind: "blocks",
    formula: "<i>a</i><sub>j</sub> = exp <i>s</i><sub>j</sub> / Σ<sub>i</sub> exp <i>s</i><sub>i</sub>",
    sentence: () => "The softmax makes shares of the products: all above 0, together 1. This is the attention.",
    draw: (canvas, { found, layer, picture }) => {
      const [rows, columns] = layer.keys;
      const top = greatest(found.weights);
      drawMap(canvas, picture, { values: found.weights, rows, columns, top }, top);
    },
    numbers: softmaxWords,
  },
  {
    title: "The values", formula: "<i>v</i><sub>j</sub> = W<sub>v</sub> <i>x</i><sub>j</sub>", kind: "blocks",
    sentence: (shown) => `Every block also has a value of ${valueOf(shown).length} numbers: what it gives to those who look at it.`,
    draw: (canvas, { found, layer }) => drawTiles(canvas, found.values, layer.keys),
    numbers: valueOf,
  },
  {
    title: "What is gathered", formula: "<i>o</i> = Σ<sub>j</sub> <i>a</i><sub>j</sub> <i>v</i><sub>j</sub>", kind: "bars",
    sentence: (shown) => `The values are summed by their weights. Orange: the part of the ${blockName(shown)}.`,
    draw: (svg, shown) => drawBars(svg, {
      total: shown.found.gathered,
      part: valueOf(shown).map((number) => number * shown.found.weights[shown.block]),
    }),
    numbers: ({ found }) => found.gathered,
  },
  {
    title: "Times gamma", formula: "γ W<sub>o</sub> <i>o</i>", kind: "bars",
    sentence: ({ found }) => `A last matrix makes ${found.added.length} numbers again, and gamma, ${
      figures(found.gamma)} here, says how much they count.`,
    draw: (svg, { found }) => drawBars(svg, { total: found.added }),
    numbers: ({ found }) => found.added,
  },
  {
    title: "The new place", formula: "<i>y</i> = <i>x</i> + γ W<sub>o</sub> <i>o</i>", kind: "bars",
    sentence: ({ found }) => `It is added to what was there (pale): a change of ${
      percent(sizeOf(found.added) / Math.max(sizeOf(found.given), 1e-12))} of its length.`,
    draw: (svg, { found }) => drawBars(svg, {
      before: found.given, total: found.given.map((number, i) => number + found.added[i]),
    }),
    numbers: ({ found }) => found.given.map((number, i) => number + found.added[i]),
  },
];
