import { latentOf } from "studio/latents.js";
import { byName, fromLink, scalesOf, sharesOf, toLink } from "studio/state.js";

/** Milliseconds between two notes of the link in the address bar; browsers refuse many at once. */
const LINK_PAUSE = 400;

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
  /** The picture without the scales of gamma, where the difference is shown. */ before = null;
  /** @type {?import("./state.js").State} What the picture was drawn for. */ state = null;

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
    this.#noteLink();
    this.#columnsFollow();
    this.emit("state", changed);
    const drawing = ["models", "step", "seed", "truncation", "weights", "classes", "scales", "shown"];
    if (!changed.length || changed.some((name) => drawing.includes(name))) this.redraw();
  }

  #noteLink() {
    if (this.linkTimer) return;
    const note = () => {
      this.linkTimer = null;
      if (location.hash.slice(1) === toLink(this.state)) return;
      history.replaceState(null, "", `#${toLink(this.state)}`);
      this.linkTimer = setTimeout(note, LINK_PAUSE);
    };
    note();
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
    const asked = { step, latent: this.latent(model), shares: this.shares(model) };
    const scales = scalesOf(state, "generator", model);
    const asTrained = () => backend.draw(model.id, { ...asked, scales: {} });
    const drawn = state.shown === "before"
      ? await asTrained() : await backend.draw(model.id, { ...asked, scales });
    const before = state.shown === "difference" ? (await asTrained()).picture : null;
    const picture = this.own ?? drawn.picture;
    const judged = model.discriminator && await backend.judge(model.id, {
      step, picture, scales: state.shown === "before" ? {} : scalesOf(state, "discriminator", model),
    });
    Object.assign(column, {
      state, before, picture, drawn: drawn.picture, logits: judged?.logits ?? null,
      maps: { generator: this.own ? {} : drawn.maps, discriminator: judged?.maps ?? {} },
    });
    this.tell("");
    this.emit("drawn", column);
  }

  /** The latent of the state for a model. */
  latent(model) {
    const { seed, truncation, weights } = this.state;
    const { directions } = model;
    const known = weights.slice(0, directions.length);
    return latentOf(seed, model.latentDim, { truncation, weights: known, directions });
  }

  /** Height and width in pixels that points are counted in: of the first model. */
  get frame() {
    return this.models.find(({ id }) => id === this.columns[0].id).size;
  }

  /** The classes of the state for a model: by name, as the first model calls them. */
  classes(model) {
    const first = this.models.find(({ id }) => id === this.columns[0].id);
    return byName(this.state.classes, first.classes, model.classes);
  }

  /** The shares of all classes of a model. */
  shares(model) {
    return sharesOf({ classes: this.classes(model) }, model.classes.length);
  }
}
