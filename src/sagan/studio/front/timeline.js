import { Chart } from "studio/chart.js";
import { element } from "studio/elements.js";
import { shortcut } from "studio/shortcuts.js";

const EVERY = 3000;
const PLAYED = 700;
const number = (step) => step.toLocaleString("en");

/** The checkpoints of a run, with its curves; drives everything by `state.step`. */
export function mountTimeline(root, session) {
  if (session.backend.features.has("timeline")) new Timeline(root, session);
}

class Timeline {
  #charts = new Map();
  #steps = [];
  #last = 1;
  #of = null;
  #isPolling = false;
  /** Whether it plays, and what will show the next step then. */
  #isPlaying = false;
  #next = null;

  constructor(root, session) {
    this.session = session;
    this.root = root;
    this.play = element("button", { type: "button", onclick: () => this.#playOrStop() }, "Play");
    this.slider = element("input", {
      type: "range", min: 0, step: 1, "aria-label": "Checkpoint",
      oninput: () => { this.#stop(); this.#choose(Number(this.slider.value)); },
    });
    this.shown = element("output", {});
    this.told = element("p", { role: "status", class: "muted" });
    this.charts = element("div", { class: "charts" });
    root.replaceChildren(element("h2", {}, "Training"),
      element("div", { class: "scrubber" }, this.play, this.slider, this.shown), this.told, this.charts);
    session.on("state", () => this.#follow());
    session.on("drawn", (column) => {
      if (column !== session.columns[0]) return;
      this.#update();
      this.#continue();
    });
    session.on("told", (line) => {
      if (!line) return;
      this.#stop();
      this.#poll();
    });
    shortcut("l", "Play the training, or stop", () => this.play.click());
    setInterval(() => { if (!document.hidden && (this.isRunning || this.hasFailed)) this.#poll(); }, EVERY);
  }

  get #id() {
    return this.session.columns[0].id;
  }

  /** Shows another run when the model changes. */
  #follow() {
    const id = this.#id;
    if (this.#of !== id) {
      this.#of = id;
      this.#stop();
      this.#steps = [];
      this.told.textContent = "";
      const isRun = this.session.models.find((model) => model.id === id).kind === "run";
      this.root.hidden = !isRun;
      if (isRun) this.#poll();
    }
    this.#update();
  }

  async #poll() {
    const id = this.#id;
    if (this.root.hidden || this.#isPolling) return;
    this.#isPolling = true;
    try {
      const found = await this.session.backend.timeline(id);
      if (id === this.#id) this.#take(found);
      this.hasFailed = false;
    } catch (error) {
      this.hasFailed = true;
      this.told.textContent = error.message;
    } finally {
      this.#isPolling = false;
    }
  }

  #take({ steps, running, charts }) {
    const known = this.#steps;
    this.#steps = steps;
    if (this.hasFailed) this.told.textContent = "";
    this.isRunning = running;
    const logged = charts.flatMap(({ curves }) => curves.map((curve) => curve.steps.at(-1)));
    this.#last = Math.max(...logged, ...steps, 1);
    this.#draw(charts);
    this.#replaceVanished();
    if (known.length && known.at(-1) !== steps.at(-1) && this.session.state.step === null) this.session.renew();
    this.#update();
  }

  #replaceVanished() {
    const { step } = this.session.state;
    if (step === null || this.#steps.includes(step) || !this.#steps.length) return;
    const next = this.#steps.findIndex((one) => one > step);
    this.#choose(next === -1 ? this.#steps.length - 1 : next);
    this.told.textContent =
      `The checkpoint of step ${number(step)} is gone; step ${number(this.#step)} is shown instead.`;
  }

  /** The step that is shown. */
  get #step() {
    const { state, columns } = this.session;
    return state.step ?? this.#steps.at(-1) ?? columns[0].model?.step ?? 0;
  }

  /** Shows a checkpoint; the last one is the newest, which is followed. */
  #choose(index) {
    this.told.textContent = "";
    this.session.set({ step: index >= this.#steps.length - 1 ? null : this.#steps[index] });
  }

  #draw(charts) {
    const known = this.#charts;
    this.#charts = new Map(charts.map(({ title, reading }) => [
      title, known.get(title) ?? new Chart(title, reading, (step) => this.#near(step)),
    ]));
    charts.forEach(({ title, curves }) => this.#charts.get(title).show(curves, this.#last));
    const elements = [...this.#charts.values()].map((chart) => chart.element);
    const shown = [...this.charts.children];
    if (elements.length !== shown.length || elements.some((one, i) => one !== shown[i])) this.charts.replaceChildren(...elements);
  }

  #near(step) {
    const distance = this.#steps.map((one) => Math.abs(one - step));
    this.#stop();
    this.#choose(distance.indexOf(Math.min(...distance)));
  }

  #update() {
    const steps = this.#steps;
    const step = this.#step;
    const isNewest = this.session.state.step === null;
    const index = isNewest ? steps.length - 1 : steps.indexOf(step);
    this.slider.max = Math.max(steps.length - 1, 0);
    this.slider.value = index;
    this.slider.disabled = this.play.disabled = steps.length < 2;
    const which = isNewest ? `the newest${this.isRunning ? ", goes on" : ""}` : `${index + 1} of ${steps.length}`;
    this.shown.textContent = `step ${number(step)} (${which})`;
    this.slider.setAttribute("aria-valuetext", this.shown.textContent);
    this.#charts.forEach((chart) => chart.point(step));
  }

  #playOrStop() {
    if (this.#isPlaying) {
      this.#stop();
      return;
    }
    const { step } = this.session.state;
    this.#choose(step === null ? 0 : this.#steps.indexOf(step) + 1);
    this.#isPlaying = this.session.state.step !== null;
    this.play.textContent = this.#isPlaying ? "Stop" : "Play";
  }

  /** While it plays, every step is drawn before the next one is asked for. */
  #continue() {
    if (!this.#isPlaying) return;
    clearTimeout(this.#next);
    this.#next = setTimeout(() => {
      this.#choose(this.#steps.indexOf(this.session.state.step) + 1);
      if (this.session.state.step === null) this.#stop();
    }, PLAYED);
  }

  #stop() {
    clearTimeout(this.#next);
    this.#isPlaying = false;
    this.play.textContent = "Play";
  }
}
