/** Presets, and motions that come with the page. */

import { gazeOfWeights } from "./arkit";
import { ARKIT_INDEX, ARKIT_NAMES } from "./arkit_names";
import { neutralMotion, type Packet } from "./packet";
import { Recording } from "./recording";
import { identity } from "./rotations";

export type Weights = Readonly<Record<string, number>>;

/** What a numbered head (FLAME) opens its mouth by: radians of the jaw for jawOpen = 1. */
const JAW = 0.28;
const RATE = 30;

function both(name: string, weight: number): Weights {
  return { [`${name}Left`]: weight, [`${name}Right`]: weight };
}

export const PRESETS: readonly { readonly name: string; readonly weights: Weights }[] = [
  { name: "Neutral", weights: {} },
  { name: "Smile", weights: { ...both("mouthSmile", 0.8), ...both("cheekSquint", 0.45), ...both("eyeSquint", 0.2) } },
  { name: "Blink", weights: both("eyeBlink", 1) },
  {
    name: "Surprise",
    weights: { jawOpen: 0.55, browInnerUp: 0.7, ...both("browOuterUp", 0.7), ...both("eyeWide", 0.6) },
  },
  { name: "Frown", weights: { ...both("browDown", 0.9), ...both("mouthFrown", 0.7), ...both("noseSneer", 0.35) } },
  { name: "Kiss", weights: { mouthPucker: 0.9, ...both("browDown", 0.15) } },
];

/** Eight seconds of something like speech, with blinks and small turns of the head; starts and ends the same. */
export function talkLoop(head: NumberedHead | null): Recording {
  const seconds = 8;
  const wave = (time: number, turns: number, phase: number): number =>
    Math.sin((2 * Math.PI * turns * time) / seconds + phase);
  return authored("Talk", seconds, head, (time) => {
    // Syllables in phrases: two of them, with a pause after each.
    const phrase = smooth(Math.min(1, 1.6 * Math.max(0, wave(time, 2, -0.4) + 0.35)));
    const syllable = 0.5 + 0.5 * wave(time, 27, 0) * wave(time, 5, 1);
    const lips = 0.5 + 0.5 * wave(time, 11, 2);
    const blink = Math.max(pulse(time, 1.1), pulse(time, 3.9), pulse(time, 6.2));
    return {
      weights: {
        jawOpen: phrase * (0.08 + 0.34 * syllable),
        mouthFunnel: phrase * 0.35 * lips * (1 - syllable),
        ...both("mouthStretch", phrase * 0.25 * (1 - lips)),
        ...both("mouthLowerDown", phrase * 0.3 * syllable),
        ...both("mouthUpperUp", phrase * 0.18 * syllable),
        ...both("mouthSmile", 0.12 + 0.08 * wave(time, 1, 0)),
        browInnerUp: 0.25 * phrase * smooth(0.5 + 0.5 * wave(time, 3, 1)),
        ...both("browOuterUp", 0.15 * phrase),
        ...both("eyeBlink", blink),
      },
      turn: [0.05 * wave(time, 2, 0.6) + 0.02 * wave(time, 5, 0), 0.1 * wave(time, 1, 0), 0.03 * wave(time, 2, 2)],
    };
  });
}

/** Every preset after the other, each reached smoothly and held for a moment, with a turn to both sides. */
export function reel(head: NumberedHead | null): Recording {
  const keys: Frame[] = [{ weights: {}, turn: [0, 0, 0] }];
  for (const { weights } of PRESETS.slice(1)) {
    keys.push({ weights, turn: [0, 0, 0] }, { weights: {}, turn: [0, 0, 0] });
  }
  const smile = PRESETS[1]!.weights;
  keys.push({ weights: smile, turn: [0, 0.5, 0] }, { weights: smile, turn: [0, -0.5, 0] }, { weights: {}, turn: [0, 0, 0] });
  const step = 0.8;
  return authored("Show", step * (keys.length - 1), head, (time) => {
    const index = Math.min(Math.floor(time / step), keys.length - 2);
    const share = smooth(Math.min(1, (1.7 * (time - index * step)) / step));
    const [from, to] = [keys[index]!, keys[index + 1]!];
    const weights: Record<string, number> = {};
    for (const name of [...Object.keys(from.weights), ...Object.keys(to.weights)]) {
      weights[name] = (1 - share) * (from.weights[name] ?? 0) + share * (to.weights[name] ?? 0);
    }
    const turn = (i: 0 | 1 | 2): number => (1 - share) * from.turn[i] + share * to.turn[i];
    return { weights, turn: [turn(0), turn(1), turn(2)] };
  });
}

/** A head whose expressions are numbered components (FLAME). */
export type NumberedHead = Pick<Packet, "expressionNames" | "headEdition">;

interface Frame {
  readonly weights: Weights;
  /** Pitch, yaw, roll of the head, radians; small enough to be an axis-angle vector. */
  readonly turn: readonly [number, number, number];
}

/** @param head Null for all heads with ARKit's shapes; another opens its mouth by the jaw's rotation and only turns. */
function authored(
  name: string, seconds: number, head: NumberedHead | null, frameAt: (time: number) => Frame,
): Recording {
  const length = Math.round(seconds * RATE) + 1;
  const { expressionNames, headEdition } = head ?? { expressionNames: ARKIT_NAMES, headEdition: null };
  const recording = new Recording({
    expressionNames, headEdition, rest: neutralMotion(expressionNames.length), sight: identity(),
  }, length, RATE, name);
  const eyes = new Float32Array(6);
  for (let frame = 0; frame < length; frame++) {
    const { weights, turn } = frameAt(frame / RATE);
    if (head !== null) recording.set("jawRotation", frame, 0, JAW * (weights["jawOpen"] ?? 0));
    else for (const [key, weight] of Object.entries(weights)) recording.set("expression", frame, ARKIT_INDEX.get(key)!, weight);
    turn.forEach((angle, i) => recording.set("neckRotation", frame, i, angle));
    gazeOfWeights((key) => weights[key] ?? 0, eyes);
    eyes.forEach((angle, i) => recording.set("eyesRotation", frame, i, angle));
  }
  return recording;
}

function smooth(share: number): number {
  return share * share * (3 - 2 * share);
}

/** A blink: closed at `moment`, 0.24 s from open to open. */
function pulse(time: number, moment: number): number {
  return smooth(Math.max(0, 1 - Math.abs(time - moment) / 0.12));
}
