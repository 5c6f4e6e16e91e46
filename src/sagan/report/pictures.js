// Every picture can be enlarged and saved, every chart saved.
const dialog = document.querySelector("dialog");
const enlarged = dialog.querySelector("img");
const run = document.querySelector("h1").textContent.trim().replace(/[^\w.-]+/g, "-");
let shown;

const saving = (name) => {
  const link = document.createElement("a");
  link.className = "save";
  link.download = `${run}-${name}`;
  link.title = `Save ${name}`;
  link.setAttribute("aria-label", link.title);
  link.textContent = "↓";
  return link;
};
const neighbours = () =>
  [...shown.closest("section").querySelectorAll(".shot img")];

const namesOf = (image) => [...(image.closest(".sheet")?.querySelectorAll(".rows li") ?? [])].map((row) => row.textContent);

// A sheet with the names of its rows drawn beside them, in whole pixels; other pictures as they are.
const fileOf = (image) => {
  const names = namesOf(image);
  if (!names.length) return image.src;
  const factor = Math.ceil((24 * names.length) / image.naturalHeight);
  const [width, height] = [factor * image.naturalWidth, factor * image.naturalHeight];
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  pen.font = "15px sans-serif";
  const margin = 16 + Math.ceil(Math.max(...names.map((name) => pen.measureText(name).width)));
  [canvas.width, canvas.height] = [margin + width, height];
  Object.assign(pen, { font: "15px sans-serif", textBaseline: "middle", imageSmoothingEnabled: false, fillStyle: "#fff" });
  pen.fillRect(0, 0, canvas.width, height);
  pen.drawImage(image, margin, 0, width, height);
  pen.fillStyle = "#1c2128";
  names.forEach((name, row) => pen.fillText(name, 6, ((row + 0.5) * height) / names.length));
  return canvas.toDataURL();
};
const save = (link, image) => {
  link.href = fileOf(image);
  const kind = link.href.match(/^data:image\/(\w+)/)[1];
  link.download = `${run}-${image.dataset.file.replace(/\w+$/, kind)}`;
};

const show = (image) => {
  shown = image;
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const names = namesOf(image);
  const across = Math.floor((innerWidth - (names.length ? 180 : 48)) / width);
  const whole = Math.min(across, Math.floor((innerHeight - 140) / height));
  const usual = parseInt(image.style.getPropertyValue("--shown")) / width;
  const factor = Math.max(1, whole, Math.min(across, usual + 1));
  enlarged.src = image.src;
  enlarged.alt = image.alt;
  enlarged.className = image.className;
  enlarged.style.width = `${width * factor}px`;
  enlarged.style.height = `${height * factor}px`;
  dialog.querySelector("ol").replaceChildren(...names.map((name) => {
    const row = document.createElement("li");
    row.textContent = name;
    return row;
  }));
  dialog.querySelector("p").textContent = image.alt;
  save(dialog.querySelector("a"), image);
  const alone = neighbours().length < 2;
  for (const button of dialog.querySelectorAll(".back, .on")) button.hidden = alone;
};
const go = (places) => {
  const all = neighbours();
  show(all.at((all.indexOf(shown) + places) % all.length));
};

for (const shot of document.querySelectorAll(".shot")) {
  const image = shot.querySelector("img");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.title = "Enlarge";
  shot.append(button);
  button.append(image.closest("picture") ?? image);
  button.addEventListener("click", () => { show(image); dialog.showModal(); });
  const link = saving(image.dataset.file);
  link.href = "#";
  link.addEventListener("click", () => save(link, image));
  shot.append(link);
}
for (const chart of document.querySelectorAll(".chart")) {
  const link = saving(chart.dataset.file);
  chart.parentElement.append(link);
  link.href = "#";
  link.addEventListener("click", () => {
    if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
    const copy = chart.querySelector("svg").cloneNode(true);
    copy.setAttribute("style", "color: #1c2128; background: #fff; font-family: sans-serif");
    const page = getComputedStyle(document.documentElement);
    const light = (_, name) => page.getPropertyValue(name).match(/#\w+/)[0];
    const text = new XMLSerializer().serializeToString(copy).replace(/var\((--[\w-]+)\)/g, light);
    link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  });
}
for (const moving of document.querySelectorAll(".moving")) {
  const image = moving.querySelector("img");
  const button = moving.querySelector("figcaption button");
  const [playing, still] = [image.src, moving.querySelector("source").srcset];
  button.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;
  button.addEventListener("click", () => {
    image.src = image.src === playing ? still : playing;
    button.textContent = image.src === playing ? "Pause" : "Play";
  });
}
dialog.addEventListener("keydown", (event) => {
  const places = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!places) return;
  event.preventDefault();
  go(places);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest(".close")) dialog.close();
});
dialog.querySelector(".back").addEventListener("click", () => go(-1));
dialog.querySelector(".on").addEventListener("click", () => go(1));
