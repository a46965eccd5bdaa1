/** Runs the residual head on the graphics device: one pass over the texture of Gaussians for each new pose. */

import { compile, floatTexture, unfiltered } from "./gl";
import { MATRIX_ROWS, type Residual } from "./residual";
import { COVER_SHADER, GAUSSIAN_TEXELS, ITEMS_PER_ROW, RESIDUAL_SHADER } from "./shaders";

export class Corrections {
  /** The corrected Gaussians, in the layout of those it was made from. */
  readonly target: WebGLTexture;
  private readonly program: WebGLProgram;
  private readonly features: WebGLTexture;
  private readonly matrix: WebGLTexture;
  private readonly frame: WebGLFramebuffer;

  /**
   * @param gaussians The stored Gaussians, `rows` rows of them.
   * @param count How many there are.
   */
  constructor(
    private readonly gl: WebGL2RenderingContext, residual: Residual, private readonly gaussians: WebGLTexture,
    private readonly rows: number, count: number,
  ) {
    this.program = compile(gl, COVER_SHADER, RESIDUAL_SHADER);
    this.target = floatTexture(gl, ITEMS_PER_ROW * GAUSSIAN_TEXELS, rows);
    this.matrix = floatTexture(gl, residual.quartets + 1, MATRIX_ROWS);
    this.features = gl.createTexture()!;
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.features);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA16F, ITEMS_PER_ROW, rows, residual.quartets);
    gl.texSubImage3D(
      gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, ITEMS_PER_ROW, rows, residual.quartets, gl.RGBA, gl.HALF_FLOAT,
      layers(residual, rows, count));
    unfiltered(gl, gl.TEXTURE_2D_ARRAY);
    this.frame = gl.createFramebuffer()!;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.target, 0);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  /** Correct for the motion that `residual` was last updated with. */
  run(residual: Residual): void {
    const { gl, program } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.matrix);
    gl.texSubImage2D(
      gl.TEXTURE_2D, 0, 0, 0, residual.quartets + 1, MATRIX_ROWS, gl.RGBA, gl.FLOAT, residual.matrix);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, ITEMS_PER_ROW * GAUSSIAN_TEXELS, this.rows);
    gl.disable(gl.BLEND);
    gl.disable(gl.SCISSOR_TEST);
    gl.useProgram(program);
    const textures = [["matrix", gl.TEXTURE_2D, this.matrix], ["features", gl.TEXTURE_2D_ARRAY, this.features],
      ["gaussians", gl.TEXTURE_2D, this.gaussians]] as const;
    textures.forEach(([name, kind, texture], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(kind, texture);
      gl.uniform1i(gl.getUniformLocation(program, name), unit);
    });
    gl.uniform1i(gl.getUniformLocation(program, "quartets"), residual.quartets);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.activeTexture(gl.TEXTURE0);
  }

  release(): void {
    const { gl } = this;
    for (const texture of [this.gaussians, this.matrix, this.features]) gl.deleteTexture(texture);
    gl.deleteFramebuffer(this.frame);
    gl.deleteProgram(this.program);
  }
}

/** (N, C) features as layers of four channels each, in the places of the Gaussians. */
function layers(residual: Residual, rows: number, count: number): Uint16Array {
  const { channels, features } = residual.head;
  const layer = 4 * ITEMS_PER_ROW * rows;
  const values = new Uint16Array(layer * residual.quartets);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < channels; c++) {
      values[layer * (c >> 2) + 4 * i + (c & 3)] = features[channels * i + c]!;
    }
  }
  return values;
}
