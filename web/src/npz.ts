/** Reads npz files: numpy arrays in a zip. Plain arrays of numbers and texts only, never pickles. */

import { UserError } from "./errors";

export interface NpyArray {
  readonly shape: readonly number[];
  /** Row by row. Empty for texts. */
  readonly values: Float64Array;
  readonly texts?: readonly string[];
}

const BROKEN = new UserError("This is not a readable npz file of plain arrays.");
/** A motion of an hour is some 20 MB; what unpacks to more is not one. */
const LARGEST = 512 * 2 ** 20;

/** @throws UserError when it is none, or damaged. */
export async function readNpz(file: ArrayBuffer): Promise<Map<string, NpyArray>> {
  const arrays = new Map<string, NpyArray>();
  try {
    for (const [name, bytes] of await unzip(file)) {
      if (name.endsWith(".npy")) arrays.set(name.slice(0, -4), readNpy(bytes));
    }
  } catch (error) {
    throw error instanceof UserError ? error : BROKEN;
  }
  return arrays;
}

async function unzip(file: ArrayBuffer): Promise<[string, Uint8Array][]> {
  const view = new DataView(file);
  let end = file.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw BROKEN;
  const files: [string, Uint8Array][] = [];
  let at = view.getUint32(end + 16, true);
  let total = 0;
  for (let count = view.getUint16(end + 10, true); count > 0; count--) {
    if (view.getUint32(at, true) !== 0x02014b50) throw BROKEN;
    const method = view.getUint16(at + 10, true);
    const packed = view.getUint32(at + 20, true);
    total += view.getUint32(at + 24, true);
    if (total > LARGEST) throw new UserError("This npz file is too large for a motion.");
    const nameLength = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(new Uint8Array(file, at + 46, nameLength));
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const bytes = new Uint8Array(file, start, packed);
    if (method !== 0 && method !== 8) throw BROKEN;
    files.push([name, method === 0 ? bytes : await inflate(bytes)]);
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return files;
}

async function inflate(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes as BlobPart]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    length += part.value.length;
    if (length > LARGEST) throw new UserError("This npz file is too large for a motion.");
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function readNpy(bytes: Uint8Array): NpyArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x934e554d) throw BROKEN;
  const wide = view.getUint8(6) >= 2;
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1]?.split(",").filter((side) => side.trim()).map(Number);
  if (descr === undefined || shape === undefined || /'fortran_order':\s*True/.test(header)) throw BROKEN;
  const count = shape.reduce((product, side) => product * side, 1);
  const data = new DataView(bytes.buffer, bytes.byteOffset + start + length, bytes.byteLength - start - length);
  const text = /^<U(\d+)$/.exec(descr);
  if (text) return { shape, values: new Float64Array(), texts: textsOf(data, count, Number(text[1])) };
  const read = READERS[descr];
  if (read === undefined || data.byteLength < count * read[0]) throw BROKEN;
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) values[i] = read[1](data, i * read[0]);
  return { shape, values };
}

const READERS: Record<string, [number, (data: DataView, at: number) => number]> = {
  "<f4": [4, (data, at) => data.getFloat32(at, true)],
  "<f8": [8, (data, at) => data.getFloat64(at, true)],
  "<i4": [4, (data, at) => data.getInt32(at, true)],
  "<i8": [8, (data, at) => Number(data.getBigInt64(at, true))],
  "|u1": [1, (data, at) => data.getUint8(at)],
  "|i1": [1, (data, at) => data.getInt8(at)],
};

function textsOf(data: DataView, count: number, width: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    let text = "";
    for (let k = 0; k < width; k++) {
      const code = data.getUint32(4 * (i * width + k), true);
      if (code) text += String.fromCodePoint(code);
    }
    return text;
  });
}
