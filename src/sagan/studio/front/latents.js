/**
 * From a seed to the latent that a network starts from: the numbers of `sagan sample`.
 *
 * `torch.randn` on the CPU, written down once more: a Mersenne Twister (Matsumoto and Nishimura
 * 1998) whose uniform numbers become normal ones by Box and Muller's formula, from 16 numbers on in
 * blocks of 8 and 8.
 */

const STATE = 624;
const SHIFT = 397;

/** Words of 32 bits from a seed, of which the lowest 32 bits count, as in PyTorch. */
class Twister {
  /** @param {number|bigint} seed a whole number from 0 */
  constructor(seed) {
    this.state = new Uint32Array(STATE);
    this.state[0] = Number(BigInt.asUintN(32, BigInt(seed)));
    for (let i = 1; i < STATE; i++) {
      const last = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
    }
    this.next = STATE;
  }

  renew() {
    const state = this.state;
    for (let i = 0; i < STATE; i++) {
      const after = state[(i + 1) % STATE];
      const mixed = (state[i] & 0x80000000) | (after & 0x7fffffff);
      state[i] = state[(i + SHIFT) % STATE] ^ (mixed >>> 1) ^ (after & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  word() {
    if (this.next === STATE) this.renew();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** In [0, 1), of 24 bits. */
  single() {
    return (this.word() & 0xffffff) / 2 ** 24;
  }

  /** In [0, 1), of 53 bits: the lowest of two words. */
  double() {
    const high = this.word() & 0x1fffff;
    return (high * 2 ** 32 + this.word()) / 2 ** 53;
  }
}

/** Two normal numbers of two uniform ones; `angle` in turns. */
function pair(radius, angle) {
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

/** Makes 16 uniform numbers from `start` on normal, in single precision. */
function makeNormal(numbers, start) {
  for (let j = start; j < start + 8; j++) {
    const radius = Math.sqrt(-2 * Math.log(1 - numbers[j]));
    const angle = Math.fround(Math.fround(2 * Math.PI) * numbers[j + 8]);
    [numbers[j], numbers[j + 8]] = pair(Math.fround(radius), angle);
  }
}

/** `torch.randn(count, generator=torch.Generator().manual_seed(seed))`, to 1e-6. */
function normal(seed, count) {
  const twister = new Twister(seed);
  const numbers = new Float32Array(count);
  if (count < 16) {
    for (let i = 0; i < count; i += 2) {
      const angle = 2 * Math.PI * twister.double();
      const drawn = pair(Math.sqrt(-2 * Math.log1p(-twister.double())), angle);
      numbers.set(drawn.slice(0, count - i), i);
    }
    return numbers;
  }
  for (let i = 0; i < count; i++) numbers[i] = twister.single();
  for (let i = 0; i + 16 <= count; i += 16) makeNormal(numbers, i);
  if (count % 16) {
    for (let i = count - 16; i < count; i++) numbers[i] = twister.single();
    makeNormal(numbers, count - 16);
  }
  return numbers;
}

/** Density of the normal distribution. */
function density(x) {
  return Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
}

/** Probability of the normal distribution between 0 and x, negative for x < 0 (Marsaglia 2004). */
function probability(x) {
  if (Math.abs(x) > 8) return 0.5 * Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) {
    term *= (x * x) / n;
    sum += term;
  }
  return sum * density(x);
}

/** x with probability(x) = p, |p| < 0.5; Newton from 0, which never goes beyond it. */
function quantile(p) {
  const wanted = Math.abs(p);
  let x = 0;
  for (let step = 1; step > 1e-12; x += step) {
    step = (wanted - probability(x)) / density(x);
  }
  return Math.sign(p) * x;
}

/** What a number of N(0, 1) becomes when the distribution is cut off at -t and t. */
function truncated(number, t) {
  const kept = quantile(2 * probability(t) * probability(number));
  return Math.max(-t, Math.min(t, kept));
}

/**
 * The latent of a seed, as `sagan.sampling.latents.draw_latents` gives it.
 *
 * @param {number|bigint} seed a whole number from 0
 * @param {number} latentDim
 * @param {object} [changes]
 * @param {?number} [changes.truncation] above 0: cuts the distribution off at -t and t; null does
 *   nothing
 * @param {number[]} [changes.weights] of the directions
 * @param {number[][]} [changes.directions] each of latentDim numbers; their sum by weights is added
 * @returns {Float32Array} latentDim numbers
 */
export function latentOf(seed, latentDim, changes = {}) {
  const { truncation = null, weights = [], directions = [] } = changes;
  const latent = normal(seed, latentDim);
  for (let i = 0; i < latentDim; i++) {
    let number = truncation === null ? latent[i] : truncated(latent[i], truncation);
    weights.forEach((weight, k) => { number += weight * directions[k][i]; });
    latent[i] = number;
  }
  return latent;
}
