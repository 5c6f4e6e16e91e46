const ARRAYS = { F32: Float32Array, U8: Uint8Array, I64: BigInt64Array };

/**
 * Reads a safetensors file; arrays are copied where their place in the file is not aligned.
 *
 * @param {ArrayBuffer} buffer
 * @returns {{tensors: Object<string, {shape: number[], data: ArrayBufferView}>,
 *   metadata: Object<string, string>}}
 */
export function readSafetensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(entries)) {
    const bytes = buffer.slice(8 + length + begin, 8 + length + end);
    tensors[name] = { shape, data: new ARRAYS[dtype](bytes) };
  }
  return { tensors, metadata };
}
