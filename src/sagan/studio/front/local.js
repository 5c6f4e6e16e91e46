import { mapsOf, StudioError } from "studio/backend.js";
import { filmFormats, filmOf } from "studio/film.js";

/** What the page's file brings along, in elements of these ids. */
const CARRIED = ["script", "machine", "generator", "discriminator"];

/** The content of an element, which is then let go of. */
function taken(id) {
  const element = document.getElementById(`carried-${id}`);
  const text = element?.textContent.trim() ?? null;
  element?.remove();
  return text;
}

/** Asks a worker one thing at a time. */
class Engine {
  #worker;
  #waiting = [];
  #running = null;
  #asked = 0;

  /** @param {Worker} worker Before its first message. */
  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }) => this.#answered(data);
    worker.onerror = (event) => this.#answered({ error: event.message || "the worker ended" });
  }

  /** Sends the first message. */
  start(carried) {
    return this.#asking(carried);
  }

  /** Runs a network; what nobody waits for any more is dropped before it begins. */
  async run(network, inputs, signal) {
    return (await this.#asking({ number: this.#asked++, network, inputs }, signal)).outputs;
  }

  #asking(message, signal) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ message, signal, resolve, reject });
      if (!this.#running) this.#next();
    });
  }

  #next() {
    this.#running = this.#waiting.shift() ?? null;
    if (!this.#running) return;
    const { message, signal, reject } = this.#running;
    if (signal?.aborted) {
      reject(new DOMException("No longer wanted.", "AbortError"));
      this.#next();
      return;
    }
    this.#worker.postMessage(message);
  }

  #answered(data) {
    const asked = this.#running;
    if (data.error === undefined) asked?.resolve(data);
    else asked?.reject(new StudioError(`The model cannot run here: ${data.error}`));
    this.#next();
  }
}

async function started() {
  for (const name of ["WebAssembly", "DecompressionStream", "Worker"]) {
    if (!(name in globalThis)) {
      throw new StudioError(`This browser has no ${name}, which the page needs; take a newer one.`);
    }
  }
  if (!import.meta.resolve) throw new StudioError("This browser is too old for this page.");
  const [script, machine, generator, discriminator] = CARRIED.map(taken);
  const engine = new Engine(new Worker(import.meta.resolve("studio/worker.js"), { type: "module" }));
  await engine.start({ runtime: { script, machine }, graphs: { generator, discriminator } });
  return engine;
}

/** Inputs beside the first: the scales of the gammas, where there are any. */
function scalesOf(network, scales) {
  const factors = Float32Array.from(network.layers, ({ name }) => scales[name] ?? 1);
  return { scales: { data: factors, dims: [factors.length] } };
}

/** From [-1, 1] to the nearest of 256 levels; the array rounds and cuts off. */
function levels(image) {
  return new Uint8Array(Uint8ClampedArray.from(image, (value) => (value + 1) * 127.5).buffer);
}

/**
 * The model of the page's own file, run by a worker in the browser.
 *
 * @returns {Promise<import("./backend.js").Backend>}
 */
export async function connect() {
  const model = JSON.parse(taken("model"));
  const [height, width] = model.size;
  const { channels, latentDim, classes, generator, discriminator } = model;
  const engine = await started();
  return {
    features: new Set(filmFormats().length ? ["film"] : []),
    filmFormats: filmFormats(),
    async models() {
      return { models: [model], gone: [] };
    },
    async model() {
      return model;
    },
    async draw(id, { latent, shares, scales }, signal) {
      const outputs = await engine.run("generator", {
        latents: { data: latent, dims: [1, latentDim] },
        shares: { data: shares, dims: [1, classes.length] },
        ...scalesOf(generator, scales),
      }, signal);
      const data = levels(outputs.images.data);
      return { picture: { channels, height, width, data }, maps: mapsOf(outputs) };
    },
    async judge(id, { picture, scales }, signal) {
      const data = Float32Array.from(picture.data, (level) => level / 127.5 - 1);
      const outputs = await engine.run("discriminator", {
        images: { data, dims: [1, channels, height, width] },
        ...scalesOf(discriminator, scales),
      }, signal);
      return { logits: outputs.logits.data, maps: mapsOf(outputs) };
    },
    async film(id, { latents, shares, scales, framesPerSecond }, signal) {
      const pictures = [];
      for (const [number, latent] of latents.entries()) {
        const asked = { latent, shares: shares[number], scales };
        pictures.push((await this.draw(id, asked, signal)).picture);
      }
      return filmOf(pictures, framesPerSecond, signal);
    },
  };
}
