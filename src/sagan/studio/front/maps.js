import { greatest, sumOf } from "studio/numbers.js";

/** @typedef {{values: Float32Array, rows: number, columns: number, top: number}} Grid */

/** The cell of a grid over the picture in which a pixel lies, row-major. */
export function cellAt({ x, y }, [height, width], rows, columns) {
  return Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width);
}

/**
 * What a map says of a pixel: where it looks ("from"), or who looks at it ("to").
 *
 * @param {Float32Array} map (positions x keys).
 * @param {import("./backend.js").Layer} layer
 * @param {[number, number]} size Of the picture.
 * @param {{x: number, y: number}} pixel
 * @param {"from"|"to"} query
 * @returns {Grid} Of keys for "from", of positions for "to".
 */
export function gridOf(map, layer, size, pixel, query) {
  const [rows, columns] = layer.keys;
  const keys = rows * columns;
  if (query === "from") {
    const position = cellAt(pixel, size, layer.height, layer.width);
    return grid(map.subarray(position * keys, (position + 1) * keys), rows, columns);
  }
  const key = cellAt(pixel, size, rows, columns);
  const positions = layer.height * layer.width;
  const values = Float32Array.from({ length: positions }, (_, i) => map[i * keys + key]);
  return grid(values, layer.height, layer.width);
}

function grid(values, rows, columns) {
  return { values, rows, columns, top: greatest(values) };
}

/** How many blocks take half of the attention, and the share of the largest. */
export function summary({ values, top }) {
  const sum = sumOf(values);
  const sorted = Float32Array.from(values).sort().reverse();
  let taken = 0;
  let count = 0;
  while (taken < sum / 2) taken += sorted[count++];
  return { sum, top, half: count };
}
