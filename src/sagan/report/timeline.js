for (const timeline of document.querySelectorAll(".timeline")) {
  const frames = [...timeline.querySelectorAll("[data-step]")];
  const slider = timeline.querySelector("input");
  const label = timeline.querySelector("output");
  const button = timeline.querySelector("button");
  let playing = 0;

  const show = () => {
    frames.forEach((frame, number) => { frame.hidden = number !== slider.valueAsNumber; });
    label.textContent = frames[slider.valueAsNumber].dataset.step;
    slider.setAttribute("aria-valuetext", label.textContent);
  };
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    button.textContent = "Play";
  };
  const advance = () => {
    slider.value = (slider.valueAsNumber + 1) % frames.length;
    show();
    if (slider.valueAsNumber === frames.length - 1) stop();
  };

  slider.addEventListener("input", () => { stop(); show(); });
  button.addEventListener("click", () => {
    if (playing) return stop();
    button.textContent = "Pause";
    advance();
    playing = setInterval(advance, 700);
  });
  timeline.querySelector(".controls").hidden = frames.length < 2;
  show();
}
