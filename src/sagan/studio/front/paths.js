import { clamp } from "studio/numbers.js";

export const MOST_FRAMES = 600;

/**
 * Along the arc between two vectors, as `sagan.sampling.interpolation.slerp` (Shoemake 1985).
 *
 * @param {Float32Array} first
 * @param {Float32Array} second
 * @param {number} fraction 0 at the first, 1 at the second.
 */
function slerp(first, second, fraction) {
  const dot = (a, b) => a.reduce((sum, number, i) => sum + number * b[i], 0);
  const lengths = Math.sqrt(dot(first, first) * dot(second, second));
  const angle = Math.acos(clamp(dot(first, second) / Math.max(lengths, 1e-8), -1, 1));
  const sine = Math.sin(angle);
  const [a, b] = sine < 1e-6 ? [1 - fraction, fraction]
    : [Math.sin((1 - fraction) * angle) / sine, Math.sin(fraction * angle) / sine];
  return first.map((number, i) => a * number + b * second[i]);
}

const lerp = (first, second, fraction) => first.map((number, i) => number + fraction * (second[i] - number));

/** What stands at each frame: [stop before, stop after, fraction]; the end of an open way is included. */
function way(stops, frames, isLoop) {
  const legs = isLoop ? stops : stops - 1;
  const each = Math.max(1, Math.round(frames / legs));
  const found = Array.from({ length: legs * each }, (_, i) => [Math.floor(i / each), (Math.floor(i / each) + 1) % stops, (i % each) / each]);
  return isLoop ? found : [...found, [stops - 2, stops - 1, 1]];
}

/**
 * A walk that begins at the state.
 *
 * @typedef {Object} Walk
 * @property {"seeds"|"direction"|"classes"} kind
 * @property {number} stops How many seeds, the state's and the next ones.
 * @property {number} direction Which leading direction, from 0.
 * @property {number} reach How far it goes along it to both sides.
 * @property {[number, number]} classes From one to another.
 * @property {number} frames About so many.
 * @property {boolean} isLoop Back to the beginning.
 *
 * @param {import("./session.js").Session} session
 * @param {import("./backend.js").Model} model
 * @param {Walk} walk
 * @returns {{latents: Float32Array[], shares: Float32Array[]}} Frame by frame.
 */
export function walkOf(session, model, walk) {
  const { state } = session;
  const steps = way(walk.kind === "seeds" ? walk.stops : 2, walk.frames, walk.isLoop);
  const here = session.latent(model);
  const mixed = session.shares(model);
  if (walk.kind === "classes") {
    const ends = walk.classes.map((number) => mixed.map((_, i) => Number(i === number)));
    return { latents: steps.map(() => here), shares: steps.map(([a, b, fraction]) => lerp(ends[a], ends[b], fraction)) };
  }
  const stops = walk.kind === "seeds"
    ? Array.from({ length: walk.stops }, (_, i) => session.latent(model, { seed: state.seed + i }))
    : [-walk.reach, walk.reach].map((weight) => session.latent(model, {
      weights: model.directions.map((_, i) => (i === walk.direction ? weight : state.weights[i] ?? 0)),
    }));
  const between = walk.kind === "seeds" ? slerp : lerp;
  return { latents: steps.map(([a, b, fraction]) => between(stops[a], stops[b], fraction)), shares: steps.map(() => mixed) };
}
