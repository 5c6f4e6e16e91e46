import { element } from "studio/elements.js";
import { sumOf } from "studio/numbers.js";
import { pad } from "studio/pad.js";

/** Corners of the field, from the left and from below, for three and for four classes. */
const CORNERS = { 3: [[0.5, 1], [0, 0], [1, 0]], 4: [[0, 1], [1, 1], [0, 0], [1, 0]] };

/** Shares of the corners at a place: of a triangle its areas, of a square those across. */
export function sharesAt(x, y, count) {
  if (count === 2) return [1 - x, x];
  if (count === 4) return [(1 - x) * y, x * y, (1 - x) * (1 - y), x * (1 - y)];
  const inside = [y, 1 - x - y / 2, x - y / 2].map((share) => Math.max(share, 0));
  const sum = sumOf(inside);
  return inside.map((share) => share / sum);
}

/** The place of shares: the mean of the corners. */
export function placeOf(shares) {
  const corners = CORNERS[shares.length];
  return [0, 1].map((axis) => shares.reduce((sum, share, i) => sum + share * corners[i][axis], 0));
}

/**
 * A field whose corners are classes; the knob's place is the mixture. Two classes are a slider.
 *
 * @param {string[]} names Of two to four classes.
 * @param {(shares: number[]) => void} change
 */
export function simplex(names, change) {
  const count = names.length;
  const even = () => change(names.map(() => 1 / count));
  const say = (shares) => shares.map((share, i) => `${names[i]} ${Math.round(100 * share)} %`).join(", ");
  if (count === 2) {
    const input = element("input", {
      type: "range", min: 0, max: 1, step: 0.01, "aria-label": "Mixture",
      oninput: () => change(sharesAt(Number(input.value), 0, 2)), ondblclick: even,
    });
    const update = (shares) => {
      input.value = shares[1];
      input.setAttribute("aria-valuetext", say(shares));
    };
    return { element: input, update };
  }
  const field = pad({ label: "Mixture", move: (x, y) => change(sharesAt(x, y, count)), reset: even });
  field.element.classList.add("simplex", `of-${count}`);
  const corners = names.map((name, i) => element("span", { class: `corner corner-${i + 1}`, "aria-hidden": "true" }, name));
  return {
    element: element("div", { class: `mixture of-${count}` }, field.element, ...corners),
    update: (shares) => field.update(...placeOf(shares), say(shares)),
  };
}
