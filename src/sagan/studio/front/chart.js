import { element, svgElement } from "studio/elements.js";
import { clamp, figures } from "studio/numbers.js";
import { placeIn } from "studio/pointing.js";

const SIZE = { width: 320, height: 130, left: 62, right: 8, top: 8, bottom: 20 };

/** @typedef {{name: string, steps: number[], values: number[]}} Curve */

/** The value of a curve at a step: the last that was logged up to it. */
function valueAt({ steps, values }, step) {
  const after = steps.findIndex((one) => one > step);
  return values[after === -1 ? values.length - 1 : after - 1];
}

/** A small chart of curves over the steps of a run, with a cursor at one of them. */
export class Chart {
  #curves = [];
  #last = 1;

  /**
   * @param {string} title
   * @param {string} reading What to look for; the title unfolds it.
   * @param {(step: number) => void} choose Called with the step that was clicked.
   */
  constructor(title, reading, choose) {
    this.svg = svgElement("svg", { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img" });
    this.legend = element("ul", { class: "legend" });
    const heading = element("details", {}, element("summary", {}, element("h3", {}, title)), element("p", {}, reading));
    this.element = element("figure", { class: "chart" }, heading, this.svg, this.legend);
    this.title = title;
    this.svg.addEventListener("click", (event) => {
      const x = placeIn(event, this.svg)[0] * SIZE.width;
      const share = (x - SIZE.left) / (SIZE.width - SIZE.left - SIZE.right);
      choose(clamp(share, 0, 1) * this.#last);
    });
  }

  /** @param {Curve[]} curves @param {number} last Step at the right end. */
  show(curves, last) {
    this.#curves = curves;
    this.#last = Math.max(last, 1);
    const values = curves.flatMap((curve) => curve.values);
    this.low = Math.min(...values);
    this.high = Math.max(...values);
    if (this.low === this.high) [this.low, this.high] = [this.low - 0.5, this.high + 0.5];
    this.cursor = svgElement("line", { class: "cursor", y1: SIZE.top, y2: SIZE.height - SIZE.bottom });
    this.svg.replaceChildren(
      ...this.#axes(), ...curves.map((curve, i) => this.#line(curve, i)), this.cursor,
    );
    this.legend.replaceChildren(...curves.map(({ name }, i) => element(
      "li", { class: `series-${(i % 6) + 1}` }, element("span", {}, name), element("b", {}),
    )));
  }

  #x(step) {
    return SIZE.left + (step / this.#last) * (SIZE.width - SIZE.left - SIZE.right);
  }

  #y(value) {
    const share = (value - this.low) / (this.high - this.low);
    return SIZE.height - SIZE.bottom - share * (SIZE.height - SIZE.top - SIZE.bottom);
  }

  #axes() {
    const right = SIZE.width - SIZE.right;
    const lines = [this.low, this.high].flatMap((value) => {
      const text = svgElement("text", { x: SIZE.left - 5, y: this.#y(value) + 4, "text-anchor": "end" }, figures(value));
      return [svgElement("line", { class: "grid", x1: SIZE.left, x2: right, y1: this.#y(value), y2: this.#y(value) }), text];
    });
    const ends = [[0, "start"], [this.#last, "end"]].map(([step, anchor]) => svgElement(
      "text", { x: this.#x(step), y: SIZE.height - 5, "text-anchor": anchor }, step.toLocaleString("en"),
    ));
    return [...lines, ...ends];
  }

  #line({ steps, values }, i) {
    const points = steps.map((step, k) => `${this.#x(step).toFixed(1)} ${this.#y(values[k]).toFixed(1)}`);
    const isDot = points.length === 1;
    const name = `line series-${(i % 6) + 1}${isDot ? " dot" : ""}`;
    return svgElement("path", { class: name, d: `M${points.join("L")}${isDot ? "h0.01" : ""}` });
  }

  /** Moves the cursor, and says in words what the curves are there. */
  point(step) {
    this.cursor.setAttribute("x1", this.#x(step));
    this.cursor.setAttribute("x2", this.#x(step));
    const told = this.#curves.map((curve, i) => {
      const value = figures(valueAt(curve, step));
      this.legend.children[i].lastChild.textContent = value;
      return `${curve.name} ${value}`;
    });
    this.svg.setAttribute("aria-label", `${this.title} at step ${step}: ${told.join(", ")}`);
  }
}
