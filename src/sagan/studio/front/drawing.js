import { cover, heat, MARKS } from "studio/colour.js";

/** @returns {ImageData} A picture as a canvas takes it. */
function imageData({ height, width, channels, data }) {
  const image = new ImageData(width, height);
  const plane = height * width;
  for (let i = 0; i < plane; i++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * i + channel] = data[(channels < 3 ? 0 : channel) * plane + i];
    }
    image.data[4 * i + 3] = channels === 4 ? data[3 * plane + i] : 255;
  }
  return image;
}

/** The difference of two pictures around middle grey, four times enlarged. */
function difference(before, after) {
  const changed = (value, i) => 128 + 4 * (value - before.data[i]);
  return { ...after, data: Uint8ClampedArray.from(after.data, changed) };
}

/** What is shown of a column: its picture, or the difference that the scales of gamma make. */
export function pictureShown({ picture, before, drawn }) {
  return before ? difference(before, drawn) : picture;
}

function bitmap(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** A picture in dark grey, as the ground of a map. */
function dimmed(picture) {
  const image = imageData(picture);
  for (let i = 0; i < image.data.length; i += 4) {
    const [red, green, blue] = image.data.subarray(i, i + 3);
    image.data.fill(0.55 * (0.2126 * red + 0.7152 * green + 0.0722 * blue), i, i + 3);
  }
  return image;
}

/** Fills a canvas with pixels, each enlarged a whole number of times, to `least` across or more. */
export function drawPixels(canvas, image, least = 512) {
  const scale = Math.max(1, Math.ceil(least / Math.max(image.height, image.width)));
  canvas.width = image.width * scale;
  canvas.height = image.height * scale;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap(image), 0, 0, canvas.width, canvas.height);
  return context;
}

/** Draws a picture. */
export function drawPicture(canvas, picture, least = 512) {
  drawPixels(canvas, imageData(picture), least);
}

/** Draws the map of a point, with its mark; lines part the blocks where they are wanted. */
export function drawSight(canvas, picture, grid, point, { top, hasLines = false, least = 512 }) {
  drawMap(canvas, picture, grid, top, least);
  if (hasLines) drawLines(canvas, grid);
  drawMark(canvas, picture, point, point.mark);
}

/**
 * Draws a grid of weights as blocks of heat over a dimmed grey picture.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {import("./backend.js").Picture} picture
 * @param {import("./maps.js").Grid} grid
 * @param {number} top The weight that gets the brightest colour.
 */
export function drawMap(canvas, picture, grid, top, least = 512) {
  const context = drawPixels(canvas, dimmed(picture), least);
  const blocks = new ImageData(grid.columns, grid.rows);
  grid.values.forEach((value, i) => {
    const share = top > 0 ? value / top : 0;
    blocks.data.set([...heat(share), 255 * cover(share)], 4 * i);
  });
  context.drawImage(bitmap(blocks), 0, 0, canvas.width, canvas.height);
}

/** Parts the blocks of a grid by thin lines. */
function drawLines(canvas, { rows, columns }) {
  const context = canvas.getContext("2d");
  context.strokeStyle = "rgb(255 255 255 / 35%)";
  context.lineWidth = canvas.width / 512;
  context.beginPath();
  for (let column = 1; column < columns; column++) {
    context.moveTo((column * canvas.width) / columns, 0);
    context.lineTo((column * canvas.width) / columns, canvas.height);
  }
  for (let row = 1; row < rows; row++) {
    context.moveTo(0, (row * canvas.height) / rows);
    context.lineTo(canvas.width, (row * canvas.height) / rows);
  }
  context.stroke();
}

/** Rings the cell of a pixel; `mark` is the number of a pinned point, or null for the pointer. */
export function drawMark(canvas, picture, { x, y }, mark) {
  const context = canvas.getContext("2d");
  const scale = canvas.width / picture.width;
  const colour = mark === null ? "#ffffff" : MARKS[mark % MARKS.length];
  for (const [style, width] of [["#000000", 5], [colour, 2.5]]) {
    context.strokeStyle = style;
    context.lineWidth = (width * canvas.width) / 512;
    context.beginPath();
    context.arc((x + 0.5) * scale, (y + 0.5) * scale, (11 * canvas.width) / 512, 0, 2 * Math.PI);
    context.stroke();
  }
  if (mark === null) return;
  context.font = `600 ${(20 * canvas.width) / 512}px system-ui, sans-serif`;
  context.strokeStyle = "#000000";
  context.fillStyle = colour;
  const place = [(x + 0.5) * scale + (14 * canvas.width) / 512, (y + 0.5) * scale - (8 * canvas.width) / 512];
  context.strokeText(mark + 1, ...place);
  context.fillText(mark + 1, ...place);
}
