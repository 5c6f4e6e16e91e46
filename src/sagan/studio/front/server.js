import { mapsOf, StudioError } from "studio/backend.js";
import { readSafetensors } from "studio/safetensors.js";

const PATH = "/api/models";

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new StudioError("The server does not answer; is sagan studio still running?");
  }
  if (response.ok || response.status === 304) return response;
  const told = await response.json().catch(() => null);
  throw new StudioError(told?.error ?? `The server answers ${response.status}.`);
}

const post = (path, body, signal) => request(path, {
  method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
});

async function tensors(response) {
  return readSafetensors(await response.arrayBuffer());
}

function pictureOf({ shape: [channels, height, width], data }) {
  return { channels, height, width, data };
}

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(text);
}

/** What is sent of a request: numbers as lists, a picture as base64, no empty step. */
function plain({ step, latent, shares, picture, ...rest }) {
  return {
    ...rest,
    ...(step === null || step === undefined ? {} : { step }),
    ...(latent ? { latent: [...latent] } : {}),
    ...(shares ? { shares: [...shares] } : {}),
    ...(picture ? { picture: base64(picture.data) } : {}),
  };
}

/** @returns {Promise<import("./backend.js").Backend>} */
export async function connect() {
  const known = {};
  return {
    features: new Set(["fit", "explain", "timeline", "film"]),
    filmFormats: ["mp4", "gif", "webp"],
    async models() {
      return (await request(PATH)).json();
    },
    async model(id, step) {
      return (await request(`${PATH}/${id}${step === null ? "" : `?step=${step}`}`)).json();
    },
    async draw(id, asked, signal) {
      const answer = await tensors(await post(`${PATH}/${id}/draw`, plain(asked), signal));
      return { picture: pictureOf(answer.tensors.picture), maps: mapsOf(answer.tensors) };
    },
    async judge(id, asked, signal) {
      const answer = await tensors(await post(`${PATH}/${id}/judge`, plain(asked), signal));
      return { logits: answer.tensors.logits.data, maps: mapsOf(answer.tensors) };
    },
    async fit(id, file) {
      const answer = await tensors(await request(`${PATH}/${id}/fit`, { method: "POST", body: file }));
      return pictureOf(answer.tensors.picture);
    },
    async explain(id, asked, signal) {
      const answer = await tensors(await post(`${PATH}/${id}/explain`, plain(asked), signal));
      const numbers = Object.entries(answer.tensors).map(([name, { data }]) => [name, data]);
      return { ...Object.fromEntries(numbers), gamma: Number(answer.metadata.gamma) };
    },
    async timeline(id) {
      const response = await request(`${PATH}/${id}/timeline`, { cache: "no-cache" });
      return (known[id] = response.status === 304 ? known[id] : await response.json());
    },
    async film(id, { latents, shares, ...asked }, signal) {
      const rows = (arrays) => arrays.map((row) => Array.from(row, (number) => Number(number.toPrecision(8))));
      const body = { ...plain(asked), latents: rows(latents), shares: rows(shares) };
      return (await post(`${PATH}/${id}/film`, body, signal)).blob();
    },
  };
}
