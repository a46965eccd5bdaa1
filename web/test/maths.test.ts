import { describe, expect, it } from "vitest";
import { FRAME_FLOATS, triangleFrames } from "../src/binding";
import { Light, unlit } from "../src/light";
import { Order } from "../src/order";
import { axisAngleFromMatrix, identity, matrixFromAngles, matrixFromAxisAngle, multiply, transpose } from "../src/rotations";

/** Numbers in -1 .. 1 that are the same each time. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

describe("rotations", () => {
  it("go to matrices and back", () => {
    const next = chance(1);
    for (const size of [0, 1e-9, 1e-4, 0.01, 1, 3]) {
      for (let i = 0; i < 20; i++) {
        const vector = [next(), next(), next()];
        const length = Math.hypot(...vector) || 1;
        const angle = vector.map((entry) => (entry / length) * size);
        const back = new Float64Array(3);
        axisAngleFromMatrix(matrixFromAxisAngle(angle), back);
        back.forEach((entry, k) => expect(entry).toBeCloseTo(angle[k]!, 12));
      }
    }
  });

  it("are orthogonal", () => {
    const turn = matrixFromAngles(0.3, -0.7, 0.2);
    multiply(turn, transpose(turn)).forEach((entry, i) => expect(entry).toBeCloseTo(identity()[i]!, 14));
  });
});

describe("frames of triangles", () => {
  it("are right-handed, and finite where there is no area", () => {
    const vertices = Float32Array.of(0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
    const frames = new Float32Array(3 * FRAME_FLOATS);
    triangleFrames(vertices, Int32Array.of(0, 1, 2, 0, 1, 1, 0, 3, 3), frames);
    // Edge along x, normal along z; (2 + 1) / 2.
    expect(Array.from(frames.subarray(0, 7))).toEqual([1, 0, 0, 1.5, 0, 0, 1]);
    expect(frames[8]).toBeCloseTo(2 / 3, 6);
    expect(frames.every(Number.isFinite)).toBe(true);
    expect(frames[FRAME_FLOATS + 3]).toBe(1);
    expect(frames[2 * FRAME_FLOATS + 3]).toBeCloseTo(1e-8, 12);
  });
});

describe("light", () => {
  it("is 1 at rest, follows the normals, and is bounded", () => {
    const frames = new Float32Array(2 * FRAME_FLOATS);
    const faces = Int32Array.of(0, 1, 2, 0, 2, 1);
    triangleFrames(Float32Array.of(0, 0, 0, 2, 0, 0, 0, 1, 0), faces, frames);
    const light = new Light(Float32Array.of(0, 0.2, 0.1, 0, 0, 0, 0, 0.01), frames, 2);
    light.shine(frames);
    expect(frames[7]).toBe(1);
    expect(frames[FRAME_FLOATS + 7]).toBe(1);
    // Normals from z to -y, and from -z to y.
    triangleFrames(Float32Array.of(0, 0, 0, 2, 0, 0, 0, 0, 1), faces, frames);
    light.shine(frames);
    expect(frames[7]).toBeCloseTo(1 - 0.2 - 0.1 - 3 * 0.01, 6);
    expect(frames[FRAME_FLOATS + 7]).toBeCloseTo(1 + 0.2 + 0.1 - 3 * 0.01, 6);
    new Light(Float32Array.of(0, 90, 0, 0, 0, 0, 0, 0), new Float32Array(2 * FRAME_FLOATS), 2).shine(frames);
    expect(frames[7]).toBeCloseTo(0.6, 6);
    expect(frames[FRAME_FLOATS + 7]).toBeCloseTo(1.5, 6);
    unlit(frames);
    expect([frames[7], frames[FRAME_FLOATS + 7]]).toEqual([1, 1]);
  });
});

describe("order", () => {
  const frames = Float32Array.of(1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0);
  const forward = Float64Array.of(0, 0, 1, 1);

  it("is from the farthest to the nearest, without what lies behind the camera", () => {
    const next = chance(2);
    const count = 5000;
    const positions = Float32Array.from({ length: 3 * count }, () => 1.2 * next());
    const order = new Order(new Int32Array(count), positions, 1, null);
    order.sort(frames, forward);
    const depths = Array.from({ length: count }, (_, i) => positions[3 * i + 2]! + 1);
    const drawn = Array.from({ length: order.length }, (_, i) => order.indices[6 * i]! / 4);
    expect(new Set(drawn).size).toBe(order.length);
    expect(order.length).toBe(depths.filter((depth) => depth > 0.01).length);
    const step = 2.4 / 65535;
    for (let i = 1; i < drawn.length; i++) expect(depths[drawn[i]!]!).toBeLessThan(depths[drawn[i - 1]!]! + step);
    expect(Array.from(order.indices.subarray(0, 6)).map((corner) => corner - 4 * drawn[0]!)).toEqual([0, 1, 2, 2, 1, 3]);
  });

  it("of equals is the reverse of their numbers: the first of them ends up on top", () => {
    const order = new Order(new Int32Array(4), new Float32Array(12), 1, null);
    order.sort(frames, forward);
    expect(Array.from({ length: 4 }, (_, i) => order.indices[6 * i]! / 4)).toEqual([3, 2, 1, 0]);
  });

  it("of nothing is nothing", () => {
    const order = new Order(new Int32Array(1), Float32Array.of(0, 0, -5), 1, null);
    order.sort(frames, forward);
    expect(order.length).toBe(0);
  });
});
