// Attention that answers the pointer. Rows are stored as shares of their largest weight, deflated.
const inflated = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
};
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const unpacked = async (layer) => {
  const numbers = new Float32Array(await inflated(layer.numbers));
  const levels = new Uint8Array(await inflated(layer.levels));
  const largest = numbers.filter((_, place) => place % 2 === 0);
  const entropy = numbers.filter((_, place) => place % 2 === 1);
  return { ...layer, levels, largest, entropy, top: Math.max(...largest) };
};

// Lays an element over one cell of a grid of rows and columns.
const over = (element, cell, [rows, columns]) => {
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  Object.assign(element.style, {
    left: `${(100 * column) / columns}%`, top: `${(100 * row) / rows}%`,
    width: `${100 / columns}%`, height: `${100 / rows}%`,
  });
};

const draw = (figure, layer, point, ramp, common) => {
  const [rows, columns] = layer.keys;
  const [down, across] = layer.queries;
  const query = Math.floor(point.y * down) * across + Math.floor(point.x * across);
  const weights = layer.levels.subarray(query * rows * columns, (query + 1) * rows * columns);
  const scale = common ? layer.largest[query] / layer.top : 1;
  const canvas = figure.querySelector("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const pixels = new ImageData(columns, rows);
  weights.forEach((level, key) => {
    const from = 4 * Math.round(level * scale);
    pixels.data.set(ramp.subarray(from, from + 4), 4 * key);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const most = weights.indexOf(255);
  over(figure.querySelector(".cell"), query, layer.queries);
  over(figure.querySelector(".most"), most, layer.keys);
  figure.querySelector(".map").style.setProperty("--keys", `${100 / columns}% ${100 / rows}%`);
  figure.querySelector(".top").textContent = percent(common ? layer.top : layer.largest[query]);
  const uniform = percent(1 / (rows * columns));
  return `Layer ${layer.name}: largest weight ${percent(layer.largest[query])} (uniform ${uniform}), entropy ${layer.entropy[query].toFixed(2)} of 1`;
};

// The picture in grey under its map, as it is seen, in whole pixels.
const composed = (figure) => {
  const [image, map] = [figure.querySelector("img"), figure.querySelector("canvas")];
  const factor = Math.ceil(512 / image.naturalWidth);
  const sheet = document.createElement("canvas");
  sheet.width = factor * image.naturalWidth;
  sheet.height = factor * image.naturalHeight;
  const pen = sheet.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.fillStyle = "#1b1b1b";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.globalAlpha = 0.4;
  pen.drawImage(image, 0, 0, sheet.width, sheet.height);
  pen.globalAlpha = 1;
  pen.globalCompositeOperation = "saturation";
  pen.fillStyle = "#888";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.globalCompositeOperation = "source-over";
  pen.drawImage(map, 0, 0, sheet.width, sheet.height);
  return sheet.toDataURL();
};

const begin = async (viewer) => {
  const data = JSON.parse(viewer.querySelector("script").textContent);
  const ramp = new Uint8Array(await inflated(data.ramp));
  const pictures = [...viewer.querySelectorAll("fieldset img")];
  const names = pictures.map((image) => image.alt);
  const asked = viewer.querySelector(".asked");
  const maps = [...viewer.querySelectorAll("figure:has(canvas)")];
  const common = viewer.querySelector(".common input");
  const start = { x: 0.5, y: 0.5 };
  let [layers, number, held, here] = [[], 0, null, start];

  const update = (point, told) => {
    here = point;
    const { naturalWidth: width, naturalHeight: height } = pictures[number];
    const [x, y] = [Math.floor(point.x * width), Math.floor(point.y * height)];
    const dot = asked.querySelector(".dot");
    dot.style.left = `${(100 * (x + 0.5)) / width}%`;
    dot.style.top = `${(100 * (y + 0.5)) / height}%`;
    asked.classList.toggle("held", held !== null);
    const words = layers.map((layer, place) => draw(maps[place], layer, point, ramp, common.checked));
    viewer.dataset.point = `${x},${y}`;
    const output = viewer.querySelector("output");
    output.setAttribute("aria-live", told ? "polite" : "off");
    output.textContent = `Point ${x}, ${y}${held ? ", held" : ""}. ${words.join(". ")}.`;
  };
  const choose = async (chosen) => {
    const found = await Promise.all(data.pictures[chosen].map(unpacked));
    [layers, number] = [found, chosen];
    for (const image of viewer.querySelectorAll(".stage img")) {
      image.src = pictures[chosen].src;
      image.width = pictures[chosen].naturalWidth;
      image.height = pictures[chosen].naturalHeight;
    }
    asked.setAttribute("aria-label", names[chosen]);
    viewer.querySelector(".name").textContent = names[chosen];
    update(here, false);
  };
  const pointed = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const within = (share) => Math.min(Math.max(share, 0), 0.999999);
    return { x: within((event.clientX - box.left) / box.width), y: within((event.clientY - box.top) / box.height) };
  };
  for (const place of viewer.querySelectorAll(".asked, .map")) {
    place.addEventListener("pointermove", (event) => { if (!held || event.pointerType === "mouse") update(pointed(event), false); });
    place.addEventListener("pointerleave", () => update(held ?? here, false));
    place.addEventListener("click", (event) => {
      const point = pointed(event);
      held = held && Math.hypot(held.x - point.x, held.y - point.y) < 0.02 ? null : point;
      update(point, true);
    });
  }
  const key = (event) => {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === "Enter" || event.key === " ") held = held ? null : here;
    else if (event.key === "Escape") held = null;
    else if (!x && !y) return;
    event.preventDefault();
    const { naturalWidth: width, naturalHeight: height } = pictures[number];
    const moved = (at, by, side) => (Math.min(Math.max(Math.floor(at * side) + by, 0), side - 1) + 0.5) / side;
    const far = event.shiftKey ? 8 : 1;
    if (x || y) here = { x: moved(here.x, far * x, width), y: moved(here.y, far * y, height) };
    if (held) held = here;
    update(here, true);
  };
  asked.addEventListener("keydown", key);
  common.addEventListener("change", () => update(here, false));
  viewer.querySelector("fieldset").addEventListener("change", (event) => choose(Number(event.target.value)));
  await Promise.all(pictures.map((image) => image.decode()));
  maps.forEach((figure, place) => {
    const link = document.createElement("a");
    link.className = "save";
    link.textContent = "↓";
    link.href = "#";
    link.setAttribute("aria-label", "Save this map");
    link.addEventListener("click", () => {
      link.href = composed(figure);
      link.download = `map-${names[number].replace(/\W+/g, "-")}-layer-${layers[place].name}-point-${viewer.dataset.point.replace(",", "-")}.png`;
    });
    figure.append(link);
  });
  await choose(0);
  viewer.hidden = false;
};

if ("DecompressionStream" in window) for (const viewer of document.querySelectorAll(".viewer")) begin(viewer);
