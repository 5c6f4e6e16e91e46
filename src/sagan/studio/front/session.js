import { latentOf } from "studio/latents.js";
import { fromLink, scalesOf, sharesOf, toLink } from "studio/state.js";

/** Runs the newest task only: what is asked while one runs waits, and of these the last one. */
class Newest {
  #running = false;
  #waiting = null;

  get isRunning() {
    return this.#running;
  }

  async run(task) {
    this.#waiting = task;
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#waiting) {
        const next = this.#waiting;
        this.#waiting = null;
        await next();
      }
    } finally {
      this.#running = false;
    }
  }
}

/** One model that is shown: what was drawn and judged last. */
class Column {
  newest = new Newest();
  /** @type {?import("./backend.js").Model} */ model = null;
  picture = null;
  maps = { generator: {}, discriminator: {} };
  logits = null;
  before = null;

  constructor(id) {
    this.id = id;
  }
}

/**
 * The state, and what follows from it. Events: "state" (detail: names that changed), "drawn"
 * (detail: a column), "point" (the pointer moved), "told" (detail: a line for the user, or "").
 */
export class Session extends EventTarget {
  /** The pixel under the pointer or the keyboard's mark: {x, y} or null. */
  pointed = null;
  /** A picture of the user's own, which the discriminator sees instead of a drawn one. */
  own = null;
  /** @type {Column[]} */ columns = [];

  constructor(backend, models) {
    super();
    this.backend = backend;
    this.models = models;
    this.state = fromLink(location.hash);
    addEventListener("hashchange", () => {
      if (location.hash.slice(1) !== toLink(this.state)) this.#become(fromLink(location.hash));
    });
  }

  start() {
    this.#become(this.state);
  }

  /** Whether what was asked for is not yet all drawn. */
  get isDrawing() {
    return this.columns.some((column) => column.newest.isRunning);
  }

  on(name, listener) {
    this.addEventListener(name, (event) => listener(event.detail));
  }

  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Changes the state; what depends on it follows. */
  set(change) {
    this.#become({ ...this.state, ...change });
  }

  /** Moves the pointer to a pixel, or away (null). */
  point(pixel) {
    this.pointed = pixel;
    this.emit("point", pixel);
  }

  /** Shows a picture of the user's own to the discriminator, or a drawn one again (null). */
  showOwn(picture) {
    this.own = picture;
    this.redraw();
  }

  tell(line) {
    this.emit("told", line);
  }

  #become(state) {
    const changed = Object.keys(state).filter((name) => state[name] !== this.state[name]);
    this.state = state;
    history.replaceState(null, "", `#${toLink(state)}`);
    this.#columnsFollow();
    this.emit("state", changed);
    const drawing = ["models", "step", "seed", "truncation", "weights", "classes", "scales", "shown"];
    if (!changed.length || changed.some((name) => drawing.includes(name))) this.redraw();
  }

  #columnsFollow() {
    const known = this.state.models.filter((id) => this.models.some((model) => model.id === id));
    const ids = known.length ? known : [this.models[0].id];
    this.columns = ids.map((id, i) => (this.columns[i]?.id === id ? this.columns[i] : new Column(id)));
  }

  /** Draws and judges anew in every column. */
  redraw() {
    for (const [index, column] of this.columns.entries()) {
      column.newest.run(() => this.#drawColumn(column, index === 0 ? this.state.step : null))
        .catch((error) => this.tell(error.message));
    }
  }

  async #drawColumn(column, step) {
    const { backend, state } = this;
    if (!column.model || column.step !== step) {
      column.model = await backend.model(column.id, step);
      column.step = step;
    }
    const { model } = column;
    const latent = this.latent(model);
    const shares = sharesOf(state, model.classes.length);
    const scales = scalesOf(state, "generator", model);
    const drawn = await backend.draw(model.id, { step, latent, shares, scales });
    const isScaled = Object.values(scales).some((scale) => scale !== 1);
    column.before = isScaled
      ? (await backend.draw(model.id, { step, latent, shares, scales: {} })).picture : null;
    column.drawn = drawn.picture;
    column.picture = this.own ?? drawn.picture;
    column.maps = { generator: this.own ? {} : drawn.maps, discriminator: {} };
    column.logits = null;
    if (model.discriminator) {
      const judged = await backend.judge(model.id, {
        step, picture: column.picture, scales: scalesOf(state, "discriminator", model),
      });
      column.maps.discriminator = judged.maps;
      column.logits = judged.logits;
    }
    this.tell("");
    this.emit("drawn", column);
  }

  /** The latent of the state for a model. */
  latent(model) {
    const { seed, truncation, weights } = this.state;
    return latentOf(seed, model.latentDim, { truncation, weights, directions: model.directions });
  }
}
