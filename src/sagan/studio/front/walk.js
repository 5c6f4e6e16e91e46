import { element } from "studio/elements.js";
import { suffixOf } from "studio/film.js";
import { MOST_FRAMES, walkOf } from "studio/paths.js";
import { download, nameOf } from "studio/saving.js";

const RATE = 25;
const LARGEST = 512;
const MOST_PIXELS = 2 ** 26;

/** How many times each pixel is enlarged: as far as the film stays within bounds. */
function enlargement([height, width], frames) {
  let scale = Math.max(1, Math.min(16, Math.floor(LARGEST / Math.max(height, width))));
  while (scale > 1 && frames * height * width * scale ** 2 > MOST_PIXELS) scale -= 1;
  return scale;
}

const field = (name, text, attributes) => element("label", {}, text, element("input", { name, type: "number", ...attributes }));
const options = (names) => names.map((name, i) => element("option", { value: i }, name));

/** The form for a film of a walk. @returns {HTMLFormElement} */
export function walkForm(session) {
  const kinds = { seeds: "through the next seeds", direction: "along a direction", classes: "between classes" };
  const kind = element("select", { name: "kind" }, ...Object.entries(kinds).map(([value, text]) => element("option", { value }, text)));
  const classes = ["from", "to"].map((name) => element("select", { name }));
  const parts = {
    seeds: element("div", { class: "row" }, field("stops", "Seeds", { min: 2, max: 30, value: 4, required: true })),
    direction: element("div", { class: "row" },
      field("direction", "Direction", { min: 1, max: 10, value: 1, required: true }),
      field("reach", "Both ways by", { min: 0.1, max: 20, step: 0.1, value: 3, required: true })),
    classes: element("div", { class: "row" }, element("label", {}, "From", classes[0]), element("label", {}, "To", classes[1])),
  };
  const start = element("button", { type: "submit" }, "Make the film");
  const stop = element("button", { type: "button", hidden: true }, "Stop");
  const progress = element("progress", { hidden: true, "aria-label": "The film is made" });
  const told = element("p", { role: "status" });
  const form = element("form", { class: "walk" },
    element("h3", {}, "A walk as a film"),
    element("label", {}, "Walk", kind), ...Object.values(parts),
    element("div", { class: "row" },
      field("seconds", "Seconds", { min: 0.2, max: (MOST_FRAMES - 30) / RATE, step: 0.1, value: 4, required: true }),
      element("label", {}, "Format", element("select", { name: "format" }, ...session.backend.filmFormats.map((name) => element("option", {}, name)))),
      element("label", { class: "check" }, element("input", { name: "loop", type: "checkbox" }), "and back")),
    element("div", { class: "row" }, start, stop, progress), told);
  const showParts = () => Object.entries(parts).forEach(([name, part]) => {
    part.hidden = name !== kind.value;
    part.querySelectorAll("input, select").forEach((input) => { input.disabled = part.hidden; });
  });
  const follow = () => {
    const { model } = session.columns[0];
    if (!model || form.dataset.of === model.id) return;
    form.dataset.of = model.id;
    classes.forEach((select, i) => {
      select.replaceChildren(...options(model.classes));
      select.value = i ? 1 : Math.min(session.state.classes[0][0], model.classes.length - 1);
    });
    kind.querySelector("[value=classes]").disabled = model.classes.length < 2;
    kind.querySelector("[value=direction]").disabled = !model.directions.length;
    form.querySelector("[name=direction]").max = model.directions.length;
    if (kind.selectedOptions[0].disabled) kind.value = "seeds";
    showParts();
  };
  kind.addEventListener("change", showParts);
  session.on("drawn", follow);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    film(session, new FormData(form), { start, stop, progress, told });
  });
  showParts();
  return form;
}

/** Asks for the film and hands it over. */
async function film(session, given, { start, stop, progress, told }) {
  const controller = new AbortController();
  const busy = (isBusy) => {
    start.disabled = isBusy;
    stop.hidden = progress.hidden = !isBusy;
  };
  const [column] = session.columns;
  const { model, step } = column;
  const number = (name) => Number(given.get(name));
  const kind = given.get("kind");
  const walk = walkOf(session, model, {
    kind, stops: number("stops"), direction: number("direction") - 1, reach: number("reach"),
    classes: [number("from"), number("to")], frames: number("seconds") * RATE, isLoop: given.has("loop"),
  });
  const format = given.get("format");
  const scale = enlargement(model.size, walk.latents.length);
  const words = `${walk.latents.length} pictures of ${model.size[1] * scale} x ${model.size[0] * scale} pixels`;
  stop.onclick = () => controller.abort();
  busy(true);
  const begun = performance.now();
  const clock = () => { told.textContent = `${words}: ${Math.round((performance.now() - begun) / 1000)} s …`; };
  clock();
  const ticking = setInterval(clock, 1000);
  try {
    const { scales } = session.drawing(model, step);
    const content = await session.backend.film(
      model.id, { step, ...walk, scales, format, framesPerSecond: RATE, scale }, controller.signal);
    download(content, `${nameOf(session, [column], kind)}.${suffixOf(content.type)}`);
    told.textContent = `${words}: saved.`;
  } catch (error) {
    told.textContent = controller.signal.aborted ? "Stopped." : error.message;
  } finally {
    clearInterval(ticking);
    busy(false);
  }
}
