import { clamp } from "studio/numbers.js";

// Inferno of matplotlib (van der Walt and Smith, CC0), at nine even places.
const HEAT = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85],
  [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164],
];

// Red and blue around near-white: RdBu of ColorBrewer (Brewer, Apache 2.0), at five places.
const SIGNED = [[5, 48, 97], [103, 169, 207], [247, 247, 247], [239, 138, 98], [103, 0, 31]];

/** The colour at a share from 0 to 1 of the way over evenly spaced ones: [red, green, blue]. */
function between(stops, share) {
  const place = clamp(share, 0, 1) * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  return stops[below].map((from, i) => from + (stops[below + 1][i] - from) * (place - below));
}

/** The colour of a share from 0 to 1. */
export const heat = (share) => between(HEAT, share);

/** The colour of a number from -1 (blue) over 0 (white) to 1 (red). */
export const signed = (number) => between(SIGNED, (number + 1) / 2);

/** How much a block of heat covers the picture under it. */
export const cover = (share) => Math.min(1, 0.25 + 0.75 * share);

/** Colours of the scale as they are seen over a dark picture, from 0 to 1. */
export function heatScale() {
  return HEAT.map((_, i) => {
    const share = i / (HEAT.length - 1);
    const over = heat(share).map((value) => Math.round(cover(share) * value + (1 - cover(share)) * 70));
    return `rgb(${over.join(" ")})`;
  });
}

/** Marks of points, told apart by colour and by number. */
export const MARKS = ["#56b4e9", "#ff914d", "#34d3a0", "#f29bc8", "#e8cf5a", "#b5a6ff"];
