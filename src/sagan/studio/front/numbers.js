/** Numbers: within bounds, together, and as people read them. */

export const clamp = (number, low, high) => Math.min(Math.max(number, low), high);

/** @param {number[]|Float32Array} numbers At least one. */
export const greatest = (numbers) => numbers.reduce((a, b) => Math.max(a, b));

/** @param {number[]|Float32Array} numbers */
export const sumOf = (numbers) => numbers.reduce((a, b) => a + b, 0);

const withTrueMinus = (text) => text.replace("-", "\u2212");

/** A number with so many digits after the point. */
export const readable = (number, digits = 2) => withTrueMinus(number.toFixed(digits));

/** A number of any size: three figures, and from 1000 on all before the point. */
export function figures(number) {
  if (!Number.isFinite(number)) return "–";
  return Math.abs(number) >= 1000 ? readable(number, 0) : withTrueMinus(String(Number(number.toPrecision(3))));
}
