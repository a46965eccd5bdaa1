/** Runs the residual head on the graphics device: one pass over the texture of Gaussians for each new pose. */

import { compile, layeredTexture, linked } from "./gl";
import { featureLayers, MATRIX_ROWS, type Residual } from "./residual";
import { COVER_SHADER, GAUSSIAN_LAYERS, ITEMS_PER_ROW, residualShader } from "./shaders";

/** Whether a device that draws into floating-point textures can take the matrix as uniforms. */
export function canCorrect(gl: WebGL2RenderingContext, residual: Residual): boolean {
  return MATRIX_ROWS * (residual.quartets + 1) <= (gl.getParameter(gl.MAX_FRAGMENT_UNIFORM_VECTORS) as number);
}

export class Corrections {
  /** The corrected Gaussians, in the layout of those it was made from. */
  readonly target: WebGLTexture;
  private readonly program: WebGLProgram;
  private readonly features: WebGLTexture;
  private readonly frame: WebGLFramebuffer;
  /** Undefined until the program was waited for, with the first run. */
  private matrix: WebGLUniformLocation | null | undefined;

  /**
   * @param gaussians The stored Gaussians, `rows` rows of them.
   * @param count How many there are.
   */
  constructor(
    private readonly gl: WebGL2RenderingContext, residual: Residual, private readonly gaussians: WebGLTexture,
    private readonly rows: number, count: number,
  ) {
    this.program = compile(gl, COVER_SHADER, residualShader(residual.quartets));
    this.target = layeredTexture(gl, "RGBA32F", ITEMS_PER_ROW, rows, GAUSSIAN_LAYERS);
    this.features = layeredTexture(gl, "RGBA16F", ITEMS_PER_ROW, rows, residual.quartets);
    gl.texSubImage3D(
      gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, ITEMS_PER_ROW, rows, residual.quartets, gl.RGBA, gl.HALF_FLOAT,
      featureLayers(residual, ITEMS_PER_ROW * rows, count));
    this.frame = gl.createFramebuffer()!;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    const targets = Array.from({ length: GAUSSIAN_LAYERS }, (_, layer) => gl.COLOR_ATTACHMENT0 + layer);
    targets.forEach((target, layer) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, target, this.target, 0, layer));
    gl.drawBuffers(targets);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  /** Wait for the program, and tell it where its textures are. */
  private prepare(): WebGLUniformLocation | null {
    const { gl } = this;
    const program = linked(gl, this.program);
    gl.useProgram(program);
    gl.uniform1i(gl.getUniformLocation(program, "gaussians"), 0);
    gl.uniform1i(gl.getUniformLocation(program, "features"), 1);
    return gl.getUniformLocation(program, "matrix");
  }

  /** Correct for the motion that `residual` was last updated with. */
  run(residual: Residual): void {
    const { gl } = this;
    if (this.matrix === undefined) this.matrix = this.prepare();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, ITEMS_PER_ROW, this.rows);
    gl.disable(gl.BLEND);
    gl.disable(gl.SCISSOR_TEST);
    gl.useProgram(this.program);
    gl.uniform4fv(this.matrix, residual.matrix);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.features);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.gaussians);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  release(): void {
    const { gl } = this;
    for (const texture of [this.gaussians, this.features]) gl.deleteTexture(texture);
    gl.deleteFramebuffer(this.frame);
    gl.deleteProgram(this.program);
  }
}
