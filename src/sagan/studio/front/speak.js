/** Milliseconds of quiet before something is said, so that a way is one sentence. */
const QUIET = 700;

/** Tells a screen reader what is seen, once it stands still. */
export function mountSpeech(root, session, stage) {
  let timer = 0;
  const say = (words) => {
    clearTimeout(timer);
    timer = setTimeout(() => { root.textContent = words(); }, QUIET);
  };
  const texts = (selector) => [...stage.querySelectorAll(selector)].map((one) => one.textContent);
  session.on("drawn", () => say(() => texts(".picture figcaption").join("; ")));
  session.on("point", () => {
    const canvas = document.activeElement;
    if (!canvas.matches("#stage canvas")) return;
    const maps = () => texts(".map h3").map((title, i) => `${title}: ${texts(".map p")[i]}`);
    say(() => [canvas.getAttribute("aria-label"), ...maps()].join("; "));
  });
}
