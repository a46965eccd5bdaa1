/**
 * The residual head (avatar/residual.py): what the expression changes in position, rotation, log-scale and colour.
 *
 * For one frame it is a matrix that a shader multiplies with each Gaussian's features. This is the part before: the
 * condition (expression, global rotation, jaw, eyes) through two layers, joined with the attributes' weights.
 */

import type { Motion, ResidualHead } from "./packet";

/** Numbers of each attribute: position, rotation, log-scale, colour. */
const ATTRIBUTES = [3, 4, 3, 3] as const;
export const MATRIX_ROWS = 13;

export class Residual {
  /** C / 4, rounded up. */
  readonly quartets: number;
  /** (13, quartets + 1, 4): the matrix, row by row, each row followed by its constant. */
  readonly matrix: Float32Array;
  /** (N, C) in single precision. */
  readonly features: Float32Array;
  private readonly hidden: Float32Array;
  private readonly film: Float32Array;

  constructor(readonly head: ResidualHead) {
    this.features = head.features;
    this.quartets = Math.ceil(head.channels / 4);
    this.matrix = new Float32Array(MATRIX_ROWS * (this.quartets + 1) * 4);
    this.hidden = new Float32Array(head.hidden);
    this.film = new Float32Array(8 * head.channels);
  }

  /** Put `matrix` together for a motion. Allocates nothing. */
  update(motion: Motion): void {
    const { head, hidden, film, matrix, quartets } = this;
    const { channels } = head;
    const { expression, globalRotation, jawRotation, eyesRotation } = motion;
    const first = expression.length;
    const width = first + 12;
    for (let h = 0; h < hidden.length; h++) {
      let sum = head.hiddenBias[h]!;
      const row = width * h;
      for (let i = 0; i < first; i++) sum += head.hiddenWeight[row + i]! * expression[i]!;
      for (let i = 0; i < 3; i++) {
        sum += head.hiddenWeight[row + first + i]! * globalRotation[i]!;
        sum += head.hiddenWeight[row + first + 3 + i]! * jawRotation[i]!;
      }
      for (let i = 0; i < 6; i++) sum += head.hiddenWeight[row + first + 6 + i]! * eyesRotation[i]!;
      hidden[h] = sum / (1 + Math.exp(-sum));
    }
    for (let i = 0; i < film.length; i++) {
      let sum = head.filmBias[i]!;
      const row = hidden.length * i;
      for (let h = 0; h < hidden.length; h++) sum += head.filmWeight[row + h]! * hidden[h]!;
      film[i] = sum;
    }
    let output = 0;
    for (let attribute = 0; attribute < ATTRIBUTES.length; attribute++) {
      const scale = 2 * channels * attribute;
      const shift = scale + channels;
      for (let last = output + ATTRIBUTES[attribute]!; output < last; output++) {
        const at = output * (quartets + 1) * 4;
        let constant = head.biases[output]!;
        for (let c = 0; c < channels; c++) {
          const weight = head.weights[channels * output + c]!;
          matrix[at + c] = weight * (1 + film[scale + c]!);
          constant += weight * film[shift + c]!;
        }
        matrix[at + 4 * quartets] = constant;
      }
    }
  }
}

/**
 * (N, C) features as layers of four channels each: the fours of all Gaussians, then the next four channels.
 *
 * @param width Places in a layer; at least as many as Gaussians.
 */
export function featureLayers(residual: Residual, width: number, count: number): Uint16Array {
  const { channels, halves } = residual.head;
  const values = new Uint16Array(4 * width * residual.quartets);
  for (let c = 0; c < channels; c++) {
    const first = 4 * width * (c >> 2) + (c & 3);
    for (let i = 0; i < count; i++) values[first + 4 * i] = halves[channels * i + c]!;
  }
  return values;
}
