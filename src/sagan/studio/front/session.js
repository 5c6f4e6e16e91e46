import { latentOf } from "studio/latents.js";
import { readLink } from "studio/link.js";
import { byName, scalesOf, sharesOf, toLink } from "studio/state.js";

/** Milliseconds between two notes of the link in the address bar; browsers refuse many at once. */
const LINK_PAUSE = 400;

/** Runs the newest task only: what is asked while one runs waits, and of these the last one. */
export class Newest {
  #running = null;
  #waiting = null;

  get isRunning() {
    return this.#running !== null;
  }

  /**
   * @param {(signal: AbortSignal) => Promise<void>} task
   * @param {(error: Error) => void} failed Not called for a task that was stopped.
   */
  async run(task, failed) {
    this.#waiting = { task, failed };
    while (this.#waiting && !this.#running) {
      const next = this.#waiting;
      const { signal } = (this.#running = new AbortController());
      this.#waiting = null;
      try {
        await next.task(signal);
      } catch (error) {
        if (!signal.aborted) next.failed(error);
      }
      this.#running = null;
    }
  }

  /** Ends the task that runs and forgets the one that waits. */
  stop() {
    this.#waiting = null;
    this.#running?.abort();
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
  /** Whether the last try to draw it failed. */ hasFailed = false;

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
  /** @type {?Blob} A picture of the user's own, which the discriminator sees instead of a drawn one. */
  own = null;
  /** The same as each model takes it, by its id. */
  #fitted = {};
  /** Which picture of the user's own was asked for last: an earlier one that takes longer does not come after it. */
  #asked = null;
  /** @type {Column[]} */ columns = [];

  constructor(backend, models) {
    super();
    this.backend = backend;
    this.models = models;
    const { state, told } = readLink(location.hash, models);
    Object.assign(this, { state, told });
    addEventListener("hashchange", ({ newURL }) => {
      const { hash } = new URL(newURL); // in the address bar the link of before may stand again
      if (hash.slice(1) !== toLink(this.state)) this.#follow(hash);
    });
  }

  /** @param {string[]} lines What else the user is told. */
  start(lines) {
    this.#become(this.state);
    this.tell([...lines, this.told].filter(Boolean).join(" "));
  }

  #follow(link) {
    const { state, told } = readLink(link, this.models);
    this.#become(state);
    this.tell(told);
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

  /**
   * Shows a picture of the user's own to the discriminators, or the drawn one again (null).
   *
   * @param {?Blob} file
   * @throws It is no picture; what was shown stays.
   */
  async showOwn(file) {
    const shown = this.columns.map(({ model }) => model).filter((model) => model?.discriminator);
    const asked = (this.#asked = Symbol("picture"));
    const pictures = file ? await Promise.all(shown.map(({ id }) => this.backend.fit(id, file))) : [];
    if (asked !== this.#asked) return;
    this.own = file;
    this.#fitted = Object.fromEntries(shown.map(({ id }, i) => [id, pictures[i]]));
    this.redraw();
  }

  /** Asks anew for the newest checkpoint of the first model. */
  renew() {
    this.columns[0].step = undefined;
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
    const columns = ids.map((id, i) => (this.columns[i]?.id === id ? this.columns[i] : new Column(id)));
    this.columns.filter((column) => !columns.includes(column)).forEach(({ newest }) => newest.stop());
    this.columns = columns;
  }

  /** Draws and judges anew in every column. */
  redraw() {
    for (const [index, column] of this.columns.entries()) {
      const step = index === 0 && this.#isRun(column.id) ? this.state.step : null;
      column.newest.run((signal) => this.#drawColumn(column, step, signal), (error) => {
        column.hasFailed = true;
        this.tell(error.message);
      });
    }
  }

  /** Whether a model has several checkpoints to choose from. */
  #isRun(id) {
    return this.models.find((model) => model.id === id).kind === "run";
  }

  async #drawColumn(column, step, signal) {
    const { backend, state } = this;
    if (!column.model || column.step !== step) {
      column.model = await backend.model(column.id, step);
      column.step = step;
    }
    const { model } = column;
    const asked = this.drawing(model, step);
    const drawn = await backend.draw(model.id, asked, signal);
    const own = this.own && model.discriminator ? await this.#fittedTo(model) : null;
    const before = !own && state.shown === "difference"
      ? (await backend.draw(model.id, { ...asked, scales: {} }, signal)).picture : null;
    const picture = own ?? drawn.picture;
    const judged = model.discriminator && await backend.judge(model.id, {
      step, picture, scales: this.scales("discriminator", model),
    }, signal);
    Object.assign(column, {
      state, before, picture, drawn: drawn.picture, logits: judged?.logits ?? null,
      maps: { generator: own ? {} : drawn.maps, discriminator: judged?.maps ?? {} },
    });
    if (column.hasFailed) this.tell("");
    column.hasFailed = false;
    this.emit("drawn", column);
  }

  async #fittedTo({ id }) {
    return (this.#fitted[id] ??= await this.backend.fit(id, this.own));
  }

  /** What is asked of a back end to draw the state. @returns {import("./backend.js").DrawRequest} */
  drawing(model, step) {
    return { step, latent: this.latent(model), shares: this.shares(model), scales: this.scales("generator", model) };
  }

  /** The scales of a network's gammas, as they are shown. */
  scales(network, model) {
    return this.state.shown === "before" ? {} : scalesOf(this.state, network, model);
  }

  /** The latent of the state for a model, or that of another seed or other weights. */
  latent(model, change = {}) {
    const { seed, truncation, weights } = { ...this.state, ...change };
    const { directions } = model;
    const known = weights.slice(0, directions.length);
    return latentOf(seed, model.latentDim, { truncation, weights: known, directions });
  }

  /** Height and width in pixels that points are counted in: of the first model. */
  get frame() {
    return this.#first.size;
  }

  get #first() {
    return this.models.find(({ id }) => id === this.columns[0].id);
  }

  /** The classes that a model draws, with their shares. @returns {[string, number][]} */
  mixture(model) {
    const shares = this.shares(model);
    return model.classes.map((name, i) => [name, shares[i]]).filter(([, share]) => share > 0);
  }

  /** The same in words: "cat", or "60 % cat" and "40 % person". @returns {string[]} */
  classWords(model) {
    return this.mixture(model).map(([name, share]) => (share < 1 ? `${Math.round(100 * share)} % ${name}` : name));
  }

  /** The shares of all classes of a model; classes are known by the names that the first one has. */
  shares(model) {
    const classes = byName(this.state.classes, this.#first.classes, model.classes);
    return sharesOf(classes, model.classes.length);
  }
}
