/** Numbers: within bounds, together, and as people read them. */

export const clamp = (number, low, high) => Math.min(Math.max(number, low), high);

/** @param {number[]|Float32Array} numbers At least one. */
export const greatest = (numbers) => numbers.reduce((a, b) => Math.max(a, b));

/** @param {number[]|Float32Array} numbers */
export const sumOf = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** With a true minus, which 0 has not. */
const withTrueMinus = (text) => text.replaceAll("-", Number(text) === 0 ? "" : "\u2212");

/** A number with so many digits after the point. */
export const readable = (number, digits = 2) => withTrueMinus(number.toFixed(digits));

/** A number of any size, so short that it fits beside a chart: three figures, or a whole one. */
export function figures(number) {
  if (!Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  if (size >= 1000) return readable(number, 0);
  const isTiny = size > 0 && size < 0.001;
  return withTrueMinus(isTiny ? number.toExponential(2) : String(Number(number.toPrecision(3))));
}
