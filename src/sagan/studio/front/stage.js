import { drawMap, drawMark, drawPicture, pictureShown } from "studio/drawing.js";
import { gridOf, summary } from "studio/maps.js";

const NAMES = { generator: "Generator", discriminator: "Discriminator" };

/** The pictures with their maps, a column for each model. @param {HTMLElement} root */
export function mountStage(root, session) {
  let boards = [];
  const rebuild = () => {
    root.replaceChildren();
    boards = session.columns.map((column) => new Board(root, session, column));
  };
  const board = (column) => boards.find((one) => one.column === column);
  session.on("state", (changed) => {
    if (!boards.length || changed.includes("models")) rebuild();
    boards.forEach((one) => one.draw());
  });
  session.on("drawn", (column) => board(column)?.draw());
  session.on("point", () => boards.forEach((one) => one.drawMaps()));
}

class Board {
  /** Panels by the layers they show, so that they are built once for a model. */
  #panels = [];

  constructor(root, session, column) {
    this.session = session;
    this.column = column;
    this.element = document.createElement("section");
    this.element.className = "board";
    this.element.innerHTML = `
      <h2></h2>
      <figure class="picture">
        <canvas tabindex="0" role="application" aria-describedby="keys"></canvas>
        <figcaption></figcaption>
      </figure>
      <div class="maps"></div>`;
    this.canvas = this.element.querySelector("canvas");
    root.append(this.element);
    this.#listen();
  }

  #listen() {
    const { canvas, session } = this;
    const pixel = (event) => {
      const box = canvas.getBoundingClientRect();
      const [height, width] = this.column.model.size;
      const along = (place, length) => Math.min(Math.max(Math.floor(place * length), 0), length - 1);
      return {
        x: along((event.clientX - box.left) / box.width, width),
        y: along((event.clientY - box.top) / box.height, height),
      };
    };
    canvas.addEventListener("pointermove", (event) => {
      if (this.column.model) session.point(pixel(event));
    });
    canvas.addEventListener("pointerleave", () => session.point(null));
    canvas.addEventListener("click", (event) => {
      if (this.column.model) this.pin(pixel(event));
    });
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { model } = this.column;
    if (!model) return;
    const [height, width] = model.size;
    const { x, y } = this.session.pointed ?? { x: width >> 1, y: height >> 1 };
    if (move) {
      const steps = event.shiftKey ? 8 : 1;
      const [dx, dy] = move.map((one) => one * steps);
      this.session.point({
        x: Math.min(Math.max(x + dx, 0), width - 1), y: Math.min(Math.max(y + dy, 0), height - 1),
      });
    } else if (event.key === "Enter" || event.key === " ") {
      this.pin({ x, y });
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Pins a pixel, or lets go of the pinned one in the same place. */
  pin({ x, y }) {
    const { points } = this.session.state;
    const [height, width] = this.column.model.size;
    const near = ([px, py]) => Math.hypot(px - x, py - y) * 32 < Math.max(height, width);
    const kept = points.filter((point) => !near(point));
    this.session.set({ points: kept.length < points.length ? kept : [...points, [x, y]].slice(-6) });
  }

  draw() {
    const { column, session } = this;
    if (!column.picture) return;
    this.element.querySelector("h2").textContent = column.model.name;
    this.shown = pictureShown(column, session.state.shown);
    this.#build();
    this.drawMaps();
  }

  #build() {
    const layers = ["generator", "discriminator"].flatMap((network) =>
      (this.column.model[network]?.layers ?? []).map((layer) => ({ network, layer })));
    const present = layers.filter(({ network, layer }) => this.column.maps[network][layer.name]);
    const key = present.map(({ network, layer }) => `${network}.${layer.name}`).join();
    if (key === this.built) return;
    this.built = key;
    const maps = this.element.querySelector(".maps");
    this.#panels = present.map(({ network, layer }) => new Panel(network, layer));
    maps.replaceChildren(...this.#panels.map((panel) => panel.element));
    if (!layers.length) maps.textContent = "This model has no attention layer.";
  }

  drawMaps() {
    const { column, session } = this;
    if (!column.picture || !this.shown) return;
    const points = session.pointsOf(column.model);
    drawPicture(this.canvas, this.shown);
    points.toReversed().forEach((point) => drawMark(this.canvas, column.picture, point, point.mark));
    const [first] = points;
    this.canvas.setAttribute("aria-label", `Picture of ${column.model.name}; place ${first.x}, ${first.y}`);
    const grids = this.#panels.map(({ network, layer }) => points.map((point) =>
      gridOf(column.maps[network][layer.name], layer, column.model.size, point, session.state.query)));
    const top = Math.max(...grids.flat().map((grid) => grid.top));
    this.#panels.forEach((panel, i) => panel.draw(
      column, points, grids[i], session.state.colour === "common" ? top : null, session.state.query,
    ));
  }
}

/** The maps of one layer: a large one of the first point, small ones of the others. */
class Panel {
  constructor(network, layer) {
    this.network = network;
    this.layer = layer;
    this.element = document.createElement("figure");
    this.element.className = "map";
    this.element.innerHTML = "<figcaption><h3></h3><p></p></figcaption><canvas></canvas><div class=\"pinned\"></div>";
    this.element.dataset.layer = `${network}.${layer.name}`;
    this.element.querySelector("h3").textContent =
      `${NAMES[network]}, ${layer.height} x ${layer.width}`;
    this.large = this.element.querySelector("canvas");
  }

  draw(column, points, grids, top, query) {
    const { large } = this;
    drawMap(large, column.picture, grids[0], top ?? grids[0].top);
    drawMark(large, column.picture, points[0], points[0].mark);
    const { half, sum } = summary(grids[0]);
    const share = Math.round(100 * grids[0].top);
    const text = query === "from"
      ? `half of its attention goes to ${half} of ${grids[0].values.length} blocks, ${share} % to one`
      : `together ${sum.toFixed(1)} places' attention, at most ${share} % of one`;
    this.element.querySelector("p").textContent = text;
    large.setAttribute("role", "img");
    large.setAttribute("aria-label", `Attention of place ${points[0].x}, ${points[0].y}: ${text}`);
    this.#drawPinned(column, points, grids, top);
  }

  #drawPinned(column, points, grids, top) {
    const pinned = this.element.querySelector(".pinned");
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
