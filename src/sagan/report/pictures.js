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
  [...shown.closest("section").querySelectorAll(".shot img")].filter((image) => image.width || image.closest(".frames"));

const show = (image) => {
  shown = image;
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const factor = Math.min((innerWidth - 48) / width, (innerHeight - 140) / height);
  enlarged.src = image.src;
  enlarged.alt = image.alt;
  enlarged.className = image.className;
  enlarged.width = width * Math.max(1, Math.floor(factor));
  enlarged.height = height * Math.max(1, Math.floor(factor));
  dialog.querySelector("p").textContent = image.alt;
  const link = dialog.querySelector("a");
  link.href = image.src;
  link.download = `${run}-${image.dataset.file}`;
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
  button.append(image);
  button.addEventListener("click", () => { show(image); dialog.showModal(); });
  const link = saving(image.dataset.file);
  link.href = image.src;
  shot.append(link);
}
for (const chart of document.querySelectorAll(".chart")) {
  const link = saving(chart.dataset.file);
  chart.parentElement.append(link);
  link.href = "#";
  link.addEventListener("click", (event) => {
    if (link.href.startsWith("blob:")) return;
    event.preventDefault();
    const copy = chart.querySelector("svg").cloneNode(true);
    copy.setAttribute("style", `color: #1c2128; background: #fff; font-family: sans-serif`);
    const colours = getComputedStyle(document.documentElement);
    const text = new XMLSerializer().serializeToString(copy).replace(/var\((--[\w-]+)\)/g, (_, name) => colours.getPropertyValue(name).match(/#\w+/)[0]);
    link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    link.click();
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
