import { clamp } from "studio/numbers.js";

/** Keys that move over a picture or a grid: columns to the right, rows down. */
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Where an event is within an element: shares from 0 to 1, from the left and from above. */
export function placeIn({ clientX, clientY }, element) {
  const box = element.getBoundingClientRect();
  return [clamp((clientX - box.left) / box.width, 0, 1), clamp((clientY - box.top) / box.height, 0, 1)];
}

/** The cell of a grid of rows and columns, laid over an element, that an event is in. */
export function cellUnder(event, element, [rows, columns]) {
  const [across, down] = placeIn(event, element);
  return { x: Math.min(Math.floor(across * columns), columns - 1), y: Math.min(Math.floor(down * rows), rows - 1) };
}

/** The cell that is so many columns and rows on, within the grid. */
export function movedBy({ x, y }, [dx, dy], [rows, columns]) {
  return { x: clamp(x + dx, 0, columns - 1), y: clamp(y + dy, 0, rows - 1) };
}
