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

// Where an event is within its element: shares from 0 to below 1.
const placeOf = ({ currentTarget, clientX, clientY }) => {
  const box = currentTarget.getBoundingClientRect();
  const within = (share) => Math.min(Math.max(share, 0), 0.999999);
  return { x: within((clientX - box.left) / box.width), y: within((clientY - box.top) / box.height) };
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Viewer {
  #layers = [];
  #number = 0;
  #held = null;
  #here = { x: 0.5, y: 0.5 };

  constructor(root, data, ramp) {
    Object.assign(this, { root, data, ramp });
    this.pictures = [...root.querySelectorAll("fieldset img")];
    this.names = this.pictures.map((image) => image.alt);
    this.asked = root.querySelector(".asked");
    this.maps = [...root.querySelectorAll("figure:has(canvas)")];
    this.common = root.querySelector(".common input");
    for (const place of root.querySelectorAll(".asked, .map")) this.#listen(place);
    this.asked.addEventListener("keydown", (event) => this.#onKey(event));
    this.common.addEventListener("change", () => this.#update(this.#here, false));
    root.querySelector("fieldset").addEventListener("change", (event) => this.choose(Number(event.target.value)));
    this.maps.forEach((figure, place) => this.#addSaving(figure, place));
  }

  #listen(place) {
    place.addEventListener("pointermove", (event) => {
      if (!this.#held || event.pointerType === "mouse") this.#update(placeOf(event), false);
    });
    place.addEventListener("pointerleave", () => this.#update(this.#held ?? this.#here, false));
    place.addEventListener("click", (event) => {
      const point = placeOf(event);
      const isSame = this.#held && Math.hypot(this.#held.x - point.x, this.#held.y - point.y) < 0.02;
      this.#held = isSame ? null : point;
      this.#update(point, true);
    });
  }

  #onKey(event) {
    const along = ARROWS[event.key];
    if (event.key === "Enter" || event.key === " ") this.#held = this.#held ? null : this.#here;
    else if (event.key === "Escape") this.#held = null;
    else if (!along) return;
    event.preventDefault();
    if (along) this.#here = this.#moved(along.map((pixels) => pixels * (event.shiftKey ? 8 : 1)));
    if (this.#held) this.#held = this.#here;
    this.#update(this.#here, true);
  }

  // The middle of the pixel that is so many to the right and down.
  #moved([right, down]) {
    const { naturalWidth: width, naturalHeight: height } = this.pictures[this.#number];
    const moved = (at, by, side) => (Math.min(Math.max(Math.floor(at * side) + by, 0), side - 1) + 0.5) / side;
    return { x: moved(this.#here.x, right, width), y: moved(this.#here.y, down, height) };
  }

  #update(point, told) {
    this.#here = point;
    const { root, asked, maps, ramp, common } = this;
    const { naturalWidth: width, naturalHeight: height } = this.pictures[this.#number];
    const [x, y] = [Math.floor(point.x * width), Math.floor(point.y * height)];
    const dot = asked.querySelector(".dot");
    dot.style.left = `${(100 * (x + 0.5)) / width}%`;
    dot.style.top = `${(100 * (y + 0.5)) / height}%`;
    asked.classList.toggle("held", this.#held !== null);
    const words = this.#layers.map((layer, place) => draw(maps[place], layer, point, ramp, common.checked));
    root.dataset.point = `${x},${y}`;
    const output = root.querySelector("output");
    output.setAttribute("aria-live", told ? "polite" : "off");
    output.textContent = `Point ${x}, ${y}${this.#held ? ", held" : ""}. ${words.join(". ")}.`;
  }

  async choose(number) {
    const layers = await Promise.all(this.data.pictures[number].map(unpacked));
    [this.#layers, this.#number] = [layers, number];
    const { src, naturalWidth: width, naturalHeight: height } = this.pictures[number];
    for (const image of this.root.querySelectorAll(".stage img")) Object.assign(image, { src, width, height });
    this.asked.setAttribute("aria-label", this.names[number]);
    this.root.querySelector(".name").textContent = this.names[number];
    this.#update(this.#here, false);
  }

  #addSaving(figure, place) {
    const link = document.createElement("a");
    link.className = "save";
    link.textContent = "↓";
    link.href = "#";
    link.setAttribute("aria-label", "Save this map");
    link.addEventListener("click", () => {
      const name = this.names[this.#number].replace(/\W+/g, "-");
      link.href = composed(figure);
      link.download = `map-${name}-layer-${this.#layers[place].name}-point-${this.root.dataset.point.replace(",", "-")}.png`;
    });
    figure.append(link);
  }
}

const begin = async (root) => {
  const data = JSON.parse(root.querySelector("script").textContent);
  const viewer = new Viewer(root, data, new Uint8Array(await inflated(data.ramp)));
  await Promise.all(viewer.pictures.map((image) => image.decode()));
  await viewer.choose(0);
  root.hidden = false;
};

if ("DecompressionStream" in window) for (const viewer of document.querySelectorAll(".viewer")) begin(viewer);
