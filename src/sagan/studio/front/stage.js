import { drawMark, drawPicture, pictureShown } from "studio/drawing.js";
import { gridAt, layersOf, layersShown } from "studio/layers.js";
import { Panel } from "studio/panel.js";
import { ARROWS, cellUnder, movedBy } from "studio/pointing.js";
import { mountPoints, pointsOf } from "studio/points.js";
import { MOST_POINTS } from "studio/state.js";

const SHOWN = {
  after: "", before: "Before, with gamma as trained. ",
  difference: "Difference that gamma makes, 4 times enlarged. ",
};

/** The pictures with their maps, a column for each model. @param {HTMLElement} root */
export function mountStage(root, session) {
  let boards = [];
  const rebuild = () => {
    root.replaceChildren();
    root.classList.toggle("two", session.columns.length > 1);
    boards = session.columns.map((column) => new Board(root, session, column));
    mountPoints(boards[0].element.querySelector(".points"), session);
  };
  session.on("state", (changed) => {
    if (!boards.length || changed.includes("models")) rebuild();
    boards.forEach((one) => one.draw());
  });
  session.on("drawn", (column) => boards.find((one) => one.column === column)?.draw());
  session.on("point", () => boards.forEach((one) => one.drawMaps()));
}

/** What is seen in a column, in words. */
function captionOf({ model, state }, session) {
  if (session.own) return "Your own picture";
  return `${SHOWN[state.shown]}${[`Seed ${state.seed}`, ...session.classWords(model)].join(", ")}`;
}

class Board {
  /** Panels by the layers they show, so that they are built once for a model. */
  #panels = [];

  constructor(root, session, column) {
    this.session = session;
    this.column = column;
    this.element = document.createElement("section");
    this.element.className = "board waiting";
    this.element.innerHTML = `
      <h2></h2>
      <div class="picture">
        <figure><canvas tabindex="0" role="application" aria-describedby="keys"></canvas><figcaption>Drawing the first picture …</figcaption></figure>
        <p class="hint muted">Move over the picture, and the maps follow. Click to pin a place.</p>
        <div class="points"></div>
      </div>
      <div class="maps"></div>`;
    this.canvas = this.element.querySelector("canvas");
    root.append(this.element);
    this.#listen();
  }

  #listen() {
    const { canvas, session } = this;
    const pixel = (event) => cellUnder(event, canvas, session.frame);
    for (const name of ["pointermove", "pointerdown"]) {
      canvas.addEventListener(name, (event) => {
        if (this.column.model) session.point(pixel(event));
      });
    }
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") session.point(null);
    });
    canvas.addEventListener("click", (event) => {
      if (this.column.model) this.pin(pixel(event));
    });
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    const move = ARROWS[event.key];
    if (!this.column.model) return;
    const [height, width] = this.session.frame;
    const { x, y } = this.session.pointed ?? { x: width >> 1, y: height >> 1 };
    if (move) {
      const steps = event.shiftKey ? 8 : 1;
      this.session.point(movedBy({ x, y }, move.map((one) => one * steps), [height, width]));
    } else if (event.key === "Enter" || event.key === " ") {
      this.pin({ x, y });
    } else if (event.key === "Delete" || event.key === "Backspace") {
      const others = this.#unlike({ x, y });
      const { points } = this.session.state;
      this.session.set({ points: others.length < points.length ? others : points.slice(0, -1) });
    } else {
      return;
    }
    event.preventDefault();
  }

  /** The pinned points that are not near a pixel. */
  #unlike({ x, y }) {
    const [height, width] = this.session.frame;
    const isNear = ([px, py]) => Math.hypot(px - x, py - y) * 32 < Math.max(height, width);
    return this.session.state.points.filter((point) => !isNear(point));
  }

  /** Pins a pixel, or lets go of the pinned one in the same place. */
  pin({ x, y }) {
    const { points } = this.session.state;
    const others = this.#unlike({ x, y });
    this.session.set({ points: others.length < points.length ? others : [...points, [x, y]].slice(-MOST_POINTS) });
  }

  draw() {
    const { column } = this;
    if (!column.picture) return;
    const [height, width] = column.model.size;
    this.element.classList.remove("waiting");
    this.element.style.setProperty("--ratio", width / height);
    this.element.querySelector("h2").textContent = column.model.name;
    this.element.querySelector("figcaption").textContent = captionOf(column, this.session);
    this.shown = pictureShown(column);
    this.#build();
    this.drawMaps();
  }

  #build() {
    const present = layersShown(this.column);
    const key = present.map(({ name }) => name).join();
    if (key === this.built) return;
    this.built = key;
    const maps = this.element.querySelector(".maps");
    maps.dataset.count = Math.min(present.length, 3);
    this.#panels = present.map((place) => new Panel(place));
    maps.replaceChildren(...this.#panels.map((panel) => panel.element));
    if (!layersOf(this.column.model).length) maps.textContent = "This model has no attention layer.";
  }

  drawMaps() {
    const { column, session } = this;
    if (!column.picture || !this.shown) return;
    const points = pointsOf(session, column.model);
    const { query, colour, grid } = session.state;
    drawPicture(this.canvas, this.shown);
    points.toReversed().forEach((point) => drawMark(this.canvas, column.picture, point, point.mark));
    const [first] = points;
    this.canvas.setAttribute("aria-label", `Picture of ${column.model.name}; place ${first.x}, ${first.y}`);
    const grids = this.#panels.map(({ place }) => points.map((point) => gridAt(column, place, point, query)));
    const top = Math.max(...grids.flat().map((one) => one.top));
    const common = colour === "common" ? top : null;
    const way = { top: common, query, hasLines: grid === "on" };
    this.#panels.forEach((panel, i) => panel.draw(column, points, grids[i], way));
  }
}
