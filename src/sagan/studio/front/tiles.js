/** Numbers as pictures: bars, and blocks whose numbers are small squares of colour. */

const SVG = "http://www.w3.org/2000/svg";
// Red and blue around near-white: RdBu of ColorBrewer (Brewer, Apache 2.0), at five places.
const STOPS = [[5, 48, 97], [103, 169, 207], [247, 247, 247], [239, 138, 98], [103, 0, 31]];

/** The colour of a number from -1 (blue) over 0 (white) to 1 (red). */
export function signed(number) {
  const place = (Math.min(Math.max(number, -1), 1) + 1) * 2;
  const below = Math.min(Math.floor(place), 3);
  return STOPS[below].map((from, i) => from + (STOPS[below + 1][i] - from) * (place - below));
}

/** The largest absolute value, at least a little. */
export function largest(numbers) {
  return numbers.reduce((most, number) => Math.max(most, Math.abs(number)), 1e-12);
}

/**
 * Draws blocks in rows and columns; the numbers of each stand in a small rectangle.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} numbers (blocks x n), coloured from -1 to 1 times their largest.
 * @param {[number, number]} grid Rows and columns.
 */
export function drawTiles(canvas, numbers, [rows, columns]) {
  const count = numbers.length / (rows * columns);
  const wide = Math.ceil(Math.sqrt(count));
  const high = Math.ceil(count / wide);
  const gap = count > 1 ? 1 : 0;
  const image = new ImageData(columns * (wide + gap), rows * (high + gap));
  const top = largest(numbers);
  numbers.forEach((number, i) => {
    const block = Math.floor(i / count);
    const y = Math.floor(block / columns) * (high + gap) + Math.floor((i % count) / wide);
    const x = (block % columns) * (wide + gap) + ((i % count) % wide);
    image.data.set([...signed(number / top), 255], 4 * (y * image.width + x));
  });
  const small = new OffscreenCanvas(image.width, image.height);
  small.getContext("2d").putImageData(image, 0, 0);
  const scale = Math.max(1, Math.ceil(512 / Math.max(image.width, image.height)));
  canvas.width = image.width * scale;
  canvas.height = image.height * scale;
  canvas.style.aspectRatio = `${columns} / ${rows}`;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** Frames a block of a grid that fills a canvas. */
export function frameBlock(canvas, [rows, columns], block) {
  const context = canvas.getContext("2d");
  const [height, width] = [canvas.height / rows, canvas.width / columns];
  const box = [(block % columns) * width, Math.floor(block / columns) * height, width, height];
  for (const [colour, line] of [["#000000", 9], ["#ffffff", 5]]) {
    context.strokeStyle = colour;
    context.lineWidth = (line * Math.max(canvas.width, canvas.height)) / 640;
    context.strokeRect(...box);
  }
}

function path(numbers, top, name) {
  const bars = Array.from(numbers, (number, i) => `M${i + 0.1} 50v${(-48 * number) / top}h0.8V50z`);
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("d", bars.join(""));
  made.setAttribute("class", name);
  return made;
}

/**
 * Draws rows of numbers as bars over each other, the later in front.
 *
 * @param {SVGElement} svg
 * @param {Object<string, Float32Array>} rows Class of the bars -> numbers.
 */
export function drawBars(svg, rows) {
  const all = Object.values(rows);
  const top = Math.max(...all.map(largest));
  svg.setAttribute("viewBox", `0 0 ${all[0].length} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  const zero = document.createElementNS(SVG, "path");
  zero.setAttribute("d", `M0 50H${all[0].length}`);
  zero.setAttribute("class", "zero");
  svg.replaceChildren(...Object.entries(rows).map(([name, numbers]) => path(numbers, top, name)), zero);
}
