import { choice, element, svgElement } from "studio/elements.js";
import { blockName, STEPS } from "studio/explain-steps.js";
import { layersShown } from "studio/layers.js";
import { cellAt } from "studio/maps.js";
import { figures, greatest } from "studio/numbers.js";
import { ARROWS, cellUnder, movedBy } from "studio/pointing.js";
import { pointsOf } from "studio/points.js";
import { Newest } from "studio/session.js";
import { frameBlock } from "studio/tiles.js";

const WRITTEN = 8;

/** How attention computes one place, step by step, in the model's own numbers. */
export function mountExplain(root, session) {
  if (session.backend.features.has("explain")) new Explanation(root, session);
}

class Explanation {
  #newest = new Newest();
  #asked = "";
  /** Kept while the pointer is off the picture. */
  #point = null;
  #layers = "";
  #hasFailed = false;
  /** @type {?import("./explain-steps.js").Shown} */ #shown = null;

  constructor(root, session) {
    Object.assign(this, { root, session });
    this.layers = element("div", {});
    this.where = element("p", { class: "muted" });
    this.panels = STEPS.map((step, i) => new Panel(step, i + 1, (block) => this.#look(block)));
    this.steps = element("ol", { class: "steps" }, ...this.panels.map((panel) => panel.element));
    root.replaceChildren(
      element("h2", {}, "How attention computes one place"), this.layers, this.where, this.steps,
      element("p", { id: "blocks", class: "sr-only" }, "Arrow keys choose a block."),
    );
    session.on("drawn", (column) => {
      if (column !== session.columns[0]) return;
      this.#asked = "";
      this.#ask();
    });
    session.on("state", (changed) => {
      if (changed.includes("points")) this.#point = null;
      this.#ask();
    });
    session.on("point", (pixel) => {
      this.#point = pixel ?? this.#point;
      this.#ask();
    });
  }

  #ask() {
    const { session } = this;
    const [column] = session.columns;
    if (session.state.view !== "explain" || !column.picture) return;
    const known = layersShown(column);
    const chosen = known.find(({ name }) => name === session.state.layer) ?? known[0];
    this.steps.hidden = !chosen;
    this.#offer(known, chosen);
    if (!chosen) {
      this.where.textContent = "This model has no attention layer; there is nothing to compute.";
      return;
    }
    const [pinned] = pointsOf(session, column.model);
    const pixel = this.#point ?? pinned;
    const { layer, network, name } = chosen;
    const position = cellAt(pixel, column.model.size, layer.height, layer.width);
    const asked = `${name} ${position}`;
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#newest.run((signal) => this.#explain(column, network, layer, position, signal), (error) => {
      this.#asked = "";
      this.#hasFailed = true;
      session.tell(error.message);
    });
  }

  async #explain(column, network, layer, position, signal) {
    const { session } = this;
    const { model, step, picture } = column;
    const of = network === "generator" ? session.drawing(model, step)
      : { step, picture, scales: session.scales(network, model) };
    const found = await session.backend.explain(model.id, { ...of, network, layer: layer.name, position }, signal);
    if (this.#hasFailed) session.tell("");
    this.#hasFailed = false;
    const block = found.weights.indexOf(greatest(found.weights));
    this.#shown = { found, layer, position, block, picture };
    this.where.textContent =
      `Move over the picture or use its arrow keys to choose a place; click or Enter keeps it. Heaviest: the ${blockName(this.#shown)}.`;
    this.panels.forEach((panel) => panel.draw(this.#shown));
  }

  #look(block) {
    if (!this.#shown || block === this.#shown.block) return;
    this.#shown = { ...this.#shown, block };
    this.panels.forEach((panel) => panel.draw(this.#shown));
  }

  #offer(known, chosen) {
    const key = `${known.map(({ name }) => name)} ${chosen?.name}`;
    if (key === this.#layers) return;
    this.#layers = key;
    const options = Object.fromEntries(known.map(({ name, words }) => [name, words]));
    const had = this.layers.contains(document.activeElement);
    const { group } = choice("Layer", options, () => chosen?.name, (layer) => this.session.set({ layer }));
    this.layers.replaceChildren(group);
    if (had) group.querySelector("[aria-pressed=true]")?.focus();
  }
}

/** One step. */
class Panel {
  constructor(step, number, look) {
    this.step = step;
    this.look = look;
    this.sentence = element("p", {});
    this.numbers = element("p", { class: "numbers" });
    this.formula = element("p", { class: "formula" });
    this.formula.innerHTML = step.formula;
    this.graphic = step.kind === "blocks"
      ? element("canvas", { tabindex: 0, role: "application", "aria-describedby": "blocks" })
      : svgElement("svg");
    this.graphic.classList.add(step.kind);
    if (step.kind === "blocks") this.#listen();
    else this.graphic.setAttribute("role", "img");
    this.element = element("li", { class: "card" },
      element("h3", {}, `${number}. ${step.title}`), this.formula, this.sentence, this.graphic, this.numbers);
  }

  #listen() {
    const { graphic } = this;
    const look = ({ x, y }) => this.look(y * this.shown.layer.keys[1] + x);
    for (const name of ["pointermove", "pointerdown"]) {
      graphic.addEventListener(name, (event) => {
        if (this.shown) look(cellUnder(event, graphic, this.shown.layer.keys));
      });
    }
    graphic.addEventListener("keydown", (event) => {
      const move = ARROWS[event.key];
      if (!move || !this.shown) return;
      event.preventDefault();
      const { block, layer: { keys } } = this.shown;
      look(movedBy({ x: block % keys[1], y: Math.floor(block / keys[1]) }, move, keys));
    });
  }

  /** @param {import("./explain-steps.js").Shown} shown */
  draw(shown) {
    const { step, graphic } = this;
    this.shown = shown;
    step.draw(graphic, shown);
    if (step.kind === "blocks") frameBlock(graphic, shown.layer.keys, shown.block);
    this.sentence.textContent = step.sentence(shown);
    const numbers = step.numbers(shown);
    const written = typeof numbers === "string" ? numbers : listed(numbers);
    const name = blockName(shown);
    this.numbers.textContent = step.kind === "blocks" ? `${name}: ${written}` : written;
    graphic.setAttribute("aria-label", `${step.title}: ${this.numbers.textContent}`);
  }
}

function listed(numbers) {
  const first = Array.from(numbers.slice(0, WRITTEN), figures).join("  ");
  return numbers.length > WRITTEN ? `${first}  … (${numbers.length} numbers)` : first;
}
