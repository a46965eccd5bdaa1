import { describe, expect, it } from "vitest";
import { readArkitCsv } from "../src/arkit";
import { ARKIT_NAMES } from "../src/arkit_names";
import { reason } from "../src/data";
import { readNpz } from "../src/npz";
import { neutralMotion } from "../src/packet";
import { groupsOf } from "../src/panel";
import { PRESETS, reel, talkLoop } from "../src/poses";
import { fromHalf, readSafetensors } from "../src/safetensors";

const bytesOf = (text: string): ArrayBuffer => new TextEncoder().encode(text).buffer as ArrayBuffer;

function safetensors(header: unknown, data = 8): ArrayBuffer {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + data);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file.buffer;
}

describe("safetensors", () => {
  it("are read", () => {
    const contents = readSafetensors(safetensors({ a: { dtype: "F32", shape: [2], data_offsets: [0, 8] } }), "a file");
    expect(contents.tensors.get("a")!.shape).toEqual([2]);
  });

  it.each([
    [bytesOf("no such file at all"), /not a file/],
    [new ArrayBuffer(3), /not a file/],
    [safetensors({ a: { dtype: "F32", shape: [20], data_offsets: [0, 80] } }), /cut short: it has/],
    [safetensors({ a: { dtype: "F32", shape: [1], data_offsets: [0, 8] } }), /'a' is damaged/],
    [safetensors({ a: { dtype: "F32", shape: [-2], data_offsets: [0, 8] } }), /'a' is damaged/],
    [safetensors({ a: { dtype: "F32", shape: [2], data_offsets: [8, 0] } }), /'a' is damaged/],
    [safetensors([]), /not a file/],
  ])("that are none are explained", (file, message) => {
    expect(() => readSafetensors(file, "a file")).toThrow(message);
  });

  it("in half precision", () => {
    const halves = Uint16Array.of(0, 0x3c00, 0xc000, 0x0001, 0x7bff, 0x3555);
    const values = Array.from(fromHalf(new Uint8Array(halves.buffer)));
    expect(values).toEqual([0, 1, -2, 2 ** -24, 65504, Math.fround(0.333251953125)]);
  });
});

describe("ARKit tables", () => {
  const column = (name: string): number => ARKIT_NAMES.indexOf(name);

  it("take separators, cases, quotes, lost faces and rates as they come", () => {
    const text = '\uFEFFTimecode;"JawOpen";other;HeadPitch\r\n00:00:01:23.5;1.5;x;0.2\r\n00:00:02:02.0;;;\r\n';
    const recording = readArkitCsv(text, "take.csv");
    expect(recording.length).toBe(2);
    expect(recording.frameRate).toBe(24);
    const frame = neutralMotion(52);
    recording.at(1, frame);
    expect(frame.expression[column("jawOpen")]).toBe(1);
    expect(frame.neckRotation[0]).toBeCloseTo(0.2, 6);
  });

  it("make eyes from weights", () => {
    const recording = readArkitCsv("eyeLookOutLeft,eyeLookInRight,eyeLookUpLeft\n1,1,0\n", "take.csv");
    const frame = neutralMotion(52);
    recording.at(0, frame);
    expect(frame.eyesRotation[1]).toBeCloseTo(Math.PI / 6, 6);
    expect(frame.eyesRotation[4]).toBeCloseTo(Math.PI / 6, 6);
  });

  it.each(["", "a,b\n1,2", "jawOpen\n", "jawOpen\nNaN"])("that are none are refused", (text) => {
    expect(() => readArkitCsv(text, "take.csv")).toThrow(/take\.csv/);
  });

  it("as npz that is none is refused", async () => {
    await expect(readNpz(bytesOf("PK\u0005\u0006 is not enough for a zip file"))).rejects.toThrow(/not a readable npz/);
  });
});

describe("sliders", () => {
  it("cover each expression once", () => {
    for (const together of [true, false]) {
      const named = groupsOf(ARKIT_NAMES, together).flatMap((group) => group.sliders.flatMap((slider) => [...slider.names]));
      expect(new Set(named).size).toBe(named.length);
      for (const name of ARKIT_NAMES) expect(named).toContain(name);
    }
  });

  it("of numbered expressions come with one for the jaw", () => {
    const groups = groupsOf(Array.from({ length: 100 }, (_, i) => `expression_${i}`), true);
    expect(groups.map((group) => group.title)).toEqual(["Head", "Gaze", "Expression", "Jaw"]);
  });

  it("say what they move", () => {
    const labels = groupsOf(ARKIT_NAMES, false).flatMap((group) => group.sliders.map((slider) => slider.label));
    expect(labels).toContain("Smile, left");
    expect(labels).toContain("Inner up");
    expect(labels.every((label) => label.length > 1)).toBe(true);
  });
});

describe("motions that come with the page", () => {
  it("use names that exist, and end as they start", () => {
    for (const { weights } of PRESETS) for (const name of Object.keys(weights)) expect(ARKIT_NAMES).toContain(name);
    for (const recording of [talkLoop(null), reel(null)]) {
      const first = neutralMotion(52), last = neutralMotion(52);
      recording.at(0, first);
      recording.at(recording.duration, last);
      first.expression.forEach((weight, i) => expect(last.expression[i]).toBeCloseTo(weight, 5));
      first.neckRotation.forEach((angle, i) => expect(last.neckRotation[i]).toBeCloseTo(angle, 5));
    }
  });

  it("open numbered heads by the jaw", () => {
    const frame = neutralMotion(52), numbered = neutralMotion(2);
    talkLoop({ expressionNames: ["1", "2"], headEdition: "flame-x" }).at(1, numbered);
    expect(numbered.jawRotation[0]).toBeGreaterThan(0);
    talkLoop(null).at(1, frame);
    expect(frame.jawRotation[0]).toBe(0);
  });
});

describe("a refusal", () => {
  it.each([
    ['{"error": "me: this file is cut short."}\n', "me: this file is cut short."],
    ["There is nothing here.\n", "There is nothing here."],
    ['{"other": 1}', '{"other": 1}'],
    ['{"error": 7}', '{"error": 7}'],
    ["null", "null"],
    ["", ""],
  ])("%j is told in its words", (text, told) => {
    expect(reason(text)).toBe(told);
  });
});
