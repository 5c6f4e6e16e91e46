/**
 * What a page asks of a back end. `studio/back.js` of the import map is one of the two:
 * `server.js`, which asks the server, or `local.js`, which runs the model in the page.
 * Both export `connect(): Promise<Backend>`.
 *
 * @typedef {Object} Layer An attention layer.
 * @property {string} name Of its place, such as "32".
 * @property {number} height Of its map: positions that look, row by row.
 * @property {number} width
 * @property {[number, number]} keys Rows and columns of the blocks that are looked at.
 * @property {number} gamma y = x + gamma * out.
 *
 * @typedef {Object} Network
 * @property {number} parameters
 * @property {Layer[]} layers Coarse to fine.
 *
 * @typedef {Object} Model
 * @property {string} id
 * @property {string} name
 * @property {"run"|"file"|"shipped"} kind
 * @property {number} step After how many it was saved.
 * @property {number[]} steps Checkpoints of a run, oldest first; else empty.
 * @property {[number, number]} size Height and width of a picture in pixels.
 * @property {number} channels 1, 3 or 4.
 * @property {number} latentDim
 * @property {string[]} classes
 * @property {number[][]} directions Leading directions of the latent, each of length 1.
 * @property {Network} generator
 * @property {?Network} discriminator
 * @property {?{licence: string, credits: string}} card
 *
 * @typedef {Object} Picture
 * @property {number} height
 * @property {number} width
 * @property {number} channels
 * @property {Uint8Array} data Channel by channel, row by row.
 *
 * @typedef {Object<string, Float32Array>} Maps Name of a layer -> (positions x keys), rows sum to 1.
 * @typedef {Object<string, number>} Scales Name of a layer -> what its gamma is multiplied by.
 *
 * @typedef {Object} DrawRequest
 * @property {?number} step Null for the newest.
 * @property {Float32Array} latent
 * @property {Float32Array} shares Of the classes; empty without.
 * @property {Scales} scales
 *
 * @typedef {{step: ?number, picture: Picture, scales: Scales}} JudgeRequest
 * @typedef {{network: "generator"|"discriminator", layer: string, position: number}} Position Of a
 *   network, in a layer by its name, row by row of its map.
 *
 * @typedef {Object} FilmRequest
 * @property {?number} step
 * @property {Float32Array[]} latents Frame by frame.
 * @property {Float32Array[]} shares Frame by frame.
 * @property {Scales} scales
 * @property {string} format
 * @property {number} framesPerSecond
 * @property {number} scale How many times every pixel is enlarged.
 *
 * @typedef {Object} Explained How a position is computed; tables row by row.
 * @property {Float32Array} query
 * @property {Float32Array} keys
 * @property {Float32Array} products Query times key.
 * @property {Float32Array} weights Softmax of the products.
 * @property {Float32Array} values
 * @property {Float32Array} gathered Weights times values.
 * @property {Float32Array} given What the layer gets there.
 * @property {Float32Array} added What it adds to that: gamma times out.
 * @property {number} gamma As it is used, with its scale.
 *
 * @typedef {Object} Timeline
 * @property {number[]} steps Checkpoints, oldest first.
 * @property {boolean} running Whether the run goes on.
 * @property {{title: string, reading: string, curves: import("./chart.js").Curve[]}[]} charts Of its
 *   log, with what to look for.
 *
 * @typedef {Object} Backend
 * @property {Set<"fit"|"explain"|"timeline"|"film">} features What it offers beyond the rest.
 * @property {string[]} filmFormats Those it offers: "mp4", "gif", "webp" or "webm". The type of the
 *   film says which it became.
 * @property {() => Promise<{models: Model[], gone: string[]}>} models And a line for each that was
 *   named and cannot be shown.
 * @property {(id: string, step: ?number) => Promise<Model>} model As it is at a checkpoint.
 * @property {(id: string, request: DrawRequest, signal?: AbortSignal)
 *   => Promise<{picture: Picture, maps: Maps}>} draw
 * @property {(id: string, request: JudgeRequest, signal?: AbortSignal)
 *   => Promise<{logits: Float32Array, maps: Maps}>} judge
 * @property {(id: string, file: Blob) => Promise<Picture>} [fit] A dropped file, cut as training
 *   would cut it.
 * @property {(id: string, request: (DrawRequest|JudgeRequest) & Position, signal?: AbortSignal)
 *   => Promise<Explained>} [explain]
 * @property {(id: string) => Promise<Timeline>} [timeline]
 * @property {(id: string, request: FilmRequest, signal?: AbortSignal) => Promise<Blob>} [film]
 */

/** @returns {Maps} Those of a network's outputs by name, where `map.NAME` is the map of a layer. */
export function mapsOf(outputs) {
  const maps = Object.entries(outputs).filter(([name]) => name.startsWith("map."));
  return Object.fromEntries(maps.map(([name, { data }]) => [name.slice(4), data]));
}

/** What the user is told: one line. */
export class StudioError extends Error {}
