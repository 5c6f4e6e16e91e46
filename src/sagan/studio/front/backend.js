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
 * @typedef {Object} Backend
 * @property {Set<"fit"|"explain"|"timeline"|"film">} features What it offers beyond the rest.
 * @property {string[]} filmFormats Those it offers: "mp4", "gif", "webp" or "webm". The type of the
 *   film says which it became.
 * @property {() => Promise<{models: Model[], gone: string[]}>} models And a line for each that was
 *   named and cannot be shown.
 * @property {(id: string, step: ?number) => Promise<Model>} model As it is at a checkpoint.
 * @property {(id: string, request: DrawRequest, signal?: AbortSignal)
 *   => Promise<{picture: Picture, maps: Maps}>} draw
 * @property {(id: string, request: {step: ?number, picture: Picture, scales: Scales},
 *   signal?: AbortSignal) => Promise<{logits: Float32Array, maps: Maps}>} judge
 * @property {(id: string, file: Blob) => Promise<Picture>} [fit] A dropped file, cut as training
 *   would cut it.
 * @property {(id: string, request: Object, signal?: AbortSignal)
 *   => Promise<Object<string, Float32Array> & {gamma: number}>} [explain] How one position is
 *   computed; the request is a draw or a judge with network, layer and position.
 * @property {(id: string) => Promise<{steps: number[], running: boolean,
 *   curves: Object<string, {steps: number[], values: number[]}>}>} [timeline]
 * @property {(id: string, request: Object, signal?: AbortSignal) => Promise<Blob>} [film]
 */

/** What the user is told: one line. */
export class StudioError extends Error {}
