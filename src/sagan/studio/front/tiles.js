/** Numbers as pictures: bars, and blocks whose numbers are small squares of colour. */

import { signed } from "studio/colour.js";
import { drawPixels } from "studio/drawing.js";
import { svgElement } from "studio/elements.js";

/** The largest absolute value, at least a little. */
function largest(numbers) {
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
  drawPixels(canvas, image);
  canvas.style.aspectRatio = `${columns} / ${rows}`;
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
  return svgElement("path", { d: bars.join(""), class: name });
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
  const zero = svgElement("path", { d: `M0 50H${all[0].length}`, class: "zero" });
  svg.replaceChildren(...Object.entries(rows).map(([name, numbers]) => path(numbers, top, name)), zero);
}
