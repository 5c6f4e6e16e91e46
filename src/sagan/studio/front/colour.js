// Inferno of matplotlib (van der Walt and Smith, CC0), at nine even places.
const STOPS = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85],
  [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164],
];

/** The colour of a share from 0 to 1: [red, green, blue]. */
export function heat(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const below = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[below].map((from, i) => from + (STOPS[below + 1][i] - from) * (place - below));
}

/** How much a block of heat covers the picture under it. */
export const cover = (share) => Math.min(1, 0.25 + 0.75 * share);

/** Colours of the scale as they are seen over a dark picture, from 0 to 1. */
export function heatScale() {
  return STOPS.map((_, i) => {
    const share = i / (STOPS.length - 1);
    const over = heat(share).map((value) => Math.round(cover(share) * value + (1 - cover(share)) * 70));
    return `rgb(${over.join(" ")})`;
  });
}

/** Marks of points, told apart by colour and by number. */
export const MARKS = ["#56b4e9", "#ff914d", "#34d3a0", "#f29bc8", "#e8cf5a", "#b5a6ff"];
