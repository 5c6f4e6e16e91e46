/**
 * Draws and judges in a thread of its own, with ONNX Runtime; needs nothing but what it is sent.
 *
 * First message: {runtime: {script, machine}, graphs: {generator, discriminator}}, texts in base64
 * of gzipped files, with discriminator null without one. The answer is {ready: true}. Then
 * {number, network, inputs} is answered with {number, outputs}; inputs and outputs are objects of
 * {data: Float32Array, dims}. What fails is answered with {number, error}, a text.
 */

/** @type {Promise<Object<string, Function>>} Of each network: inputs -> outputs. */
let networks = null;

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function unpacked(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function start({ runtime, graphs }) {
  const names = Object.keys(graphs).filter((name) => graphs[name] !== null);
  const [script, machine, ...files] = await Promise.all(
    [runtime.script, runtime.machine, ...names.map((name) => graphs[name])].map(unpacked),
  );
  const ort = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  Object.assign(ort.env.wasm, { wasmBinary: machine, numThreads: 1, proxy: false });
  const made = {};
  for (const [place, name] of names.entries()) {
    const session = await ort.InferenceSession.create(files[place], { executionProviders: ["wasm"] });
    made[name] = (inputs) => run(ort, session, inputs);
  }
  return made;
}

async function run(ort, session, inputs) {
  const given = Object.fromEntries(session.inputNames.map((name) => {
    const { data, dims } = inputs[name];
    return [name, new ort.Tensor("float32", data, dims)];
  }));
  const found = await session.run(given);
  return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [
    // A copy: the memory of the runtime cannot be handed over.
    name, { data: Float32Array.from(tensor.data), dims: [...tensor.dims] },
  ]));
}

async function answer({ number, network, inputs }) {
  const outputs = await (await networks)[network](inputs);
  postMessage({ number, outputs }, Object.values(outputs).map(({ data }) => data.buffer));
}

onmessage = async ({ data }) => {
  try {
    if (networks) {
      await answer(data);
    } else {
      networks = start(data);
      await networks;
      postMessage({ ready: true });
    }
  } catch (error) {
    postMessage({ number: data.number, error: String(error?.message ?? error) });
  }
};
