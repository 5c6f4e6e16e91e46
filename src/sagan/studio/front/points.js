import { MARKS } from "studio/colour.js";
import { element, icon } from "studio/elements.js";

/** The pinned points with their numbers. */
function pinned(session) {
  return session.state.points.map(([x, y], mark) => ({ x, y, mark }));
}

/** The points that are asked about, in a model's pixels: the pointer, then the pinned, or the middle. */
export function pointsOf(session, model) {
  const { pointed, frame } = session;
  const [height, width] = model.size;
  const place = ({ x, y, mark }) => ({
    x: Math.floor(((x + 0.5) * width) / frame[1]), y: Math.floor(((y + 0.5) * height) / frame[0]), mark,
  });
  const kept = pinned(session).filter(({ x, y }) => x < frame[1] && y < frame[0]);
  const asked = pointed ? [{ ...pointed, mark: null }, ...kept] : kept;
  return asked.length ? asked.map(place) : [{ x: width >> 1, y: height >> 1, mark: null }];
}

/** A button for each pinned point, which lets it go. */
export function mountPoints(root, session) {
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Pinned points");
  const remove = (mark) => {
    session.set({ points: session.state.points.filter((_, i) => i !== mark) });
    const next = root.children[Math.min(mark, root.children.length - 1)];
    (next ?? root.closest(".board").querySelector("canvas")).focus();
  };
  let shown = "";
  const update = () => {
    const points = pinned(session);
    if (shown === JSON.stringify(points)) return;
    shown = JSON.stringify(points);
    const chips = points.map(({ x, y, mark }) => {
      const dot = element("span", { class: "dot" });
      dot.style.backgroundColor = MARKS[mark % MARKS.length];
      return element("button", {
        type: "button", class: "chip", title: "Let it go",
        "aria-label": `Let go of point ${mark + 1} at ${x}, ${y}`, onclick: () => remove(mark),
      }, dot, `${mark + 1}`, icon("remove"));
    });
    const all = element("button", { type: "button", class: "chip", onclick: () => session.set({ points: [] }) }, "Let go of all");
    root.replaceChildren(...chips, ...(chips.length > 1 ? [all] : []));
  };
  session.on("state", update);
  update();
}
