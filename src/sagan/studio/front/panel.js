import { heatScale } from "studio/colour.js";
import { drawLines, drawMap, drawMark } from "studio/drawing.js";
import { element, readable } from "studio/elements.js";
import { summary } from "studio/maps.js";

const NAMES = { generator: "Generator", discriminator: "Discriminator" };
const percent = (share) => `${readable(100 * share, share < 0.1 ? 1 : 0)}\u00a0%`;

/** The maps of one layer: a large one of the first point, small ones of the others. */
export class Panel {
  constructor(network, layer) {
    this.network = network;
    this.layer = layer;
    this.large = element("canvas", { role: "img" });
    this.line = element("p");
    this.top = element("span");
    this.pinned = element("div", { class: "pinned" });
    const bar = element("span", { class: "heat" });
    bar.style.backgroundImage = `linear-gradient(to right, ${heatScale().join(", ")})`;
    this.element = element("figure", { class: "map", "data-layer": `${network}.${layer.name}`, "data-network": network },
      this.large,
      element("div", { class: "scale" }, "0", bar, this.top),
      element("figcaption", {}, element("h3", {}, `${NAMES[network]}, ${layer.height} x ${layer.width}`), this.line),
      this.pinned);
  }

  /** @param {{top: ?number, query: "from"|"to", hasLines: boolean}} way `top` of a common scale. */
  draw(column, points, grids, { top, query, hasLines }) {
    const { large } = this;
    drawMap(large, column.picture, grids[0], top ?? grids[0].top);
    if (hasLines) drawLines(large, grids[0]);
    drawMark(large, column.picture, points[0], points[0].mark);
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
      drawMap(canvas, column.picture, grids[i + 1], top ?? grids[i + 1].top, 192);
      drawMark(canvas, column.picture, point, point.mark);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Attention of pinned point ${point.mark + 1}`);
    });
  }
}
