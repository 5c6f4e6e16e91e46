import { element } from "studio/elements.js";
import { clamp } from "studio/numbers.js";
import { ARROWS, placeIn } from "studio/pointing.js";

const STEP = 0.02;

/**
 * A field with a knob that is dragged, or moved with the arrow keys.
 *
 * @param {{label: string, move: (x: number, y: number) => void, reset: () => void}} parts x and y
 *   from 0 to 1, from the left and from below.
 * @returns {{element: HTMLElement, update: (x: number, y: number, text: string) => void}}
 */
export function pad({ label, move, reset }) {
  const place = { x: 0.5, y: 0.5 };
  const knob = element("span", { class: "knob" });
  const field = element("div", {
    class: "pad", tabindex: 0, role: "slider", "aria-label": label, "aria-roledescription": "pad",
    "aria-valuemin": 0, "aria-valuemax": 100, ondblclick: reset,
  }, knob);
  const drag = (event) => {
    const [across, down] = placeIn(event, field);
    move(across, 1 - down);
  };
  field.addEventListener("pointerdown", (event) => {
    field.setPointerCapture(event.pointerId);
    drag(event);
  });
  field.addEventListener("pointermove", (event) => {
    if (field.hasPointerCapture(event.pointerId)) drag(event);
  });
  field.addEventListener("keydown", (event) => {
    const along = ARROWS[event.key];
    if (!along && event.key !== "Home") return;
    event.preventDefault();
    if (!along) return reset();
    const step = event.shiftKey ? 5 * STEP : STEP;
    move(clamp(place.x + along[0] * step, 0, 1), clamp(place.y - along[1] * step, 0, 1));
  });
  const update = (x, y, text) => {
    Object.assign(place, { x, y });
    knob.style.left = `${100 * x}%`;
    knob.style.bottom = `${100 * y}%`;
    field.setAttribute("aria-valuenow", Math.round(100 * x));
    field.setAttribute("aria-valuetext", text);
  };
  return { element: field, update };
}
