import { heatScale } from "studio/colour.js";
import { drawSight } from "studio/drawing.js";
import { element } from "studio/elements.js";
import { summary } from "studio/maps.js";
import { readable } from "studio/numbers.js";

const percent = (share) => `${readable(100 * share, share < 0.1 ? 1 : 0)}\u00a0%`;

/** The maps of one layer: a large one of the first point, small ones of the others. */
export class Panel {
  /** @param {import("./layers.js").Place} place */
  constructor(place) {
    this.place = place;
    this.large = element("canvas", { role: "img" });
    this.line = element("p");
    this.top = element("span");
    this.pinned = element("div", { class: "pinned" });
    const bar = element("span", { class: "heat" });
    bar.style.backgroundImage = `linear-gradient(to right, ${heatScale().join(", ")})`;
    this.element = element("figure", { class: "map", "data-layer": place.name, "data-network": place.network },
      this.large,
      element("div", { class: "scale" }, "0", bar, this.top),
      element("figcaption", {}, element("h3", {}, place.title), this.line),
      this.pinned);
  }

  /** @param {{top: ?number, query: "from"|"to", hasLines: boolean}} way `top` of a common scale. */
  draw(column, points, grids, { top, query, hasLines }) {
    const { large } = this;
    drawSight(large, column.picture, grids[0], points[0], { top: top ?? grids[0].top, hasLines });
    this.top.textContent = percent(top ?? grids[0].top);
    const { half, sum } = summary(grids[0]);
    const share = percent(grids[0].top);
    const text = query === "from"
      ? `half of its attention goes to ${half} of ${grids[0].values.length} blocks, ${share} to one`
      : `together ${sum.toFixed(1)} places' attention, at most ${share} of one`;
    this.line.textContent = text;
    large.setAttribute("aria-label", `Attention of place ${points[0].x}, ${points[0].y}: ${text}`);
    this.#drawPinned(column, points, grids, top);
  }

  #drawPinned(column, points, grids, top) {
    const { pinned } = this;
    while (pinned.children.length > points.length - 1) pinned.lastChild.remove();
    while (pinned.children.length < points.length - 1) pinned.append(document.createElement("canvas"));
    points.slice(1).forEach((point, i) => {
      const canvas = pinned.children[i];
      drawSight(canvas, column.picture, grids[i + 1], point, { top: top ?? grids[i + 1].top, least: 192 });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Attention of pinned point ${point.mark + 1}`);
    });
  }
}
