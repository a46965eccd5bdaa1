/**
 * Draws scenes side by side on one canvas with WebGL2.
 *
 * Quads are plain indexed triangles without instancing: software rasterisers draw them several times as fast
 * (docs/viewer.md). Corners come from gl_VertexID and everything else from two textures, so that a frame uploads the
 * triangles' frames and the order and nothing else.
 */

import { canCorrect, Corrections } from "./corrections";
import { UserError } from "./errors";
import { compile, floatTexture, layeredTexture, linked } from "./gl";
import type { Color, Renderer } from "./renderer";
import { gaussianTexels, type Scene } from "./scene";
import { FRAGMENT_SHADER, FRAME_TEXELS, GAUSSIAN_LAYERS, ITEMS_PER_ROW, VERTEX_SHADER } from "./shaders";

interface Resources {
  /** What is drawn: as stored, or with the residual head's corrections. */
  readonly gaussians: WebGLTexture;
  readonly corrections: Corrections | null;
  readonly frames: WebGLTexture;
  readonly indices: WebGLBuffer;
  readonly array: WebGLVertexArrayObject;
}

export class WebglRenderer implements Renderer {
  restored: () => void = () => {};
  private readonly gl: WebGL2RenderingContext;
  private readonly resources = new Map<Scene, Resources>();
  private program!: WebGLProgram;
  /** Null until the program was waited for, with the first picture. */
  private uniforms: Record<"camera" | "lens" | "size" | "gaussians" | "frames", WebGLUniformLocation | null> | null = null;
  private drawsFloats = false;
  private readonly rows = new Float32Array(12);

  /** @throws UserError when the browser has no WebGL2. */
  constructor(readonly canvas: HTMLCanvasElement) {
    const gl = canvas.getContext("webgl2", {
      alpha: true, antialias: false, depth: false, stencil: false, premultipliedAlpha: true, preserveDrawingBuffer: true,
    });
    if (gl === null) {
      throw new UserError(
        "This browser has no WebGL2. Use a current Firefox, Chrome, Edge or Safari, with hardware acceleration on.",
      );
    }
    this.gl = gl;
    this.restore();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.restore();
      this.restored();
    });
  }

  /** Compile again and forget uploads: after construction, and after the browser lost the context. */
  private restore(): void {
    const { gl } = this;
    this.resources.clear();
    // Asked for before anything is compiled, because the answer waits for all that was asked before it.
    this.drawsFloats = gl.getExtension("EXT_color_buffer_float") !== null;
    this.program = compile(gl, VERTEX_SHADER, FRAGMENT_SHADER);
    this.uniforms = null;
  }

  release(scene: Scene): void {
    const found = this.resources.get(scene);
    if (found === undefined) return;
    this.gl.deleteTexture(found.gaussians);
    found.corrections?.release();
    this.gl.deleteTexture(found.frames);
    this.gl.deleteBuffer(found.indices);
    this.gl.deleteVertexArray(found.array);
    this.resources.delete(scene);
  }

  uploadPose(scene: Scene): void {
    const { gl } = this;
    const found = this.of(scene);
    if (scene.residual !== null) found.corrections?.run(scene.residual);
    gl.bindTexture(gl.TEXTURE_2D, found.frames);
    gl.texSubImage2D(
      gl.TEXTURE_2D, 0, 0, 0, ITEMS_PER_ROW * FRAME_TEXELS, scene.frameRows, gl.RGBA, gl.FLOAT, scene.frames);
  }

  uploadOrder(scene: Scene): void {
    const { gl } = this;
    gl.bindVertexArray(this.of(scene).array);
    gl.bufferSubData(gl.ELEMENT_ARRAY_BUFFER, 0, scene.order.indices, 0, 6 * scene.order.length);
    gl.bindVertexArray(null);
  }

  draw(scenes: readonly Scene[], background: Color | null): void {
    const { gl, rows } = this;
    const uniforms = (this.uniforms ??= this.findUniforms());
    gl.disable(gl.SCISSOR_TEST);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    if (background === null) gl.clearColor(0, 0, 0, 0);
    else gl.clearColor(background[0], background[1], background[2], 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.program);
    gl.enable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.CULL_FACE);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.enable(gl.SCISSOR_TEST);
    let left = 0;
    for (const scene of scenes) {
      const { camera } = scene;
      const found = this.of(scene);
      gl.viewport(left, 0, camera.width, camera.height);
      gl.scissor(left, 0, camera.width, camera.height);
      rows.set(camera.cameraFromWorld);
      gl.uniform4fv(uniforms.camera, rows);
      gl.uniform4f(uniforms.lens, camera.focalX, camera.focalY, camera.centerX, camera.centerY);
      gl.uniform2f(uniforms.size, camera.width, camera.height);
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, found.frames);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, found.gaussians);
      gl.uniform1i(uniforms.gaussians, 0);
      gl.uniform1i(uniforms.frames, 1);
      gl.bindVertexArray(found.array);
      gl.drawElements(gl.TRIANGLES, 6 * scene.order.length, gl.UNSIGNED_INT, 0);
      gl.bindVertexArray(null);
      left += camera.width;
    }
    gl.disable(gl.SCISSOR_TEST);
  }

  private findUniforms(): NonNullable<typeof this.uniforms> {
    const { gl } = this;
    const program = linked(gl, this.program);
    const find = (name: string): WebGLUniformLocation | null => gl.getUniformLocation(program, name);
    return {
      camera: find("camera"), lens: find("lens"), size: find("size"), gaussians: find("gaussians"), frames: find("frames"),
    };
  }

  get deviceName(): string {
    const { gl } = this;
    const extension = gl.getExtension("WEBGL_debug_renderer_info");
    return `WebGL2, ${gl.getParameter(extension === null ? gl.RENDERER : extension.UNMASKED_RENDERER_WEBGL)}`;
  }

  async works(): Promise<boolean> {
    // What is wrong with it shows when it is made.
    return true;
  }

  async finish(): Promise<void> {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  async readPixels(): Promise<Uint8Array<ArrayBuffer>> {
    const { gl, canvas } = this;
    const { width, height } = canvas;
    const flipped = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, flipped);
    const pixels = new Uint8Array(flipped.length);
    for (let row = 0; row < height; row++) {
      pixels.set(flipped.subarray(4 * width * row, 4 * width * (row + 1)), 4 * width * (height - 1 - row));
    }
    return pixels;
  }

  private of(scene: Scene): Resources {
    let found = this.resources.get(scene);
    if (found === undefined) {
      found = this.upload(scene);
      this.resources.set(scene, found);
    }
    return found;
  }

  private upload(scene: Scene): Resources {
    const { gl } = this;
    const { texels, rows } = gaussianTexels(scene.packet);
    const gaussians = layeredTexture(gl, "RGBA32F", ITEMS_PER_ROW, rows, GAUSSIAN_LAYERS);
    gl.texSubImage3D(
      gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, ITEMS_PER_ROW, rows, GAUSSIAN_LAYERS, gl.RGBA, gl.FLOAT, texels);
    const frames = floatTexture(gl, ITEMS_PER_ROW * FRAME_TEXELS, scene.frameRows);
    const array = gl.createVertexArray();
    const indices = gl.createBuffer();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, scene.order.indices.byteLength, gl.DYNAMIC_DRAW);
    gl.bindVertexArray(null);
    const corrections = scene.residual === null || !this.drawsFloats || !canCorrect(gl, scene.residual) ? null
      : new Corrections(gl, scene.residual, gaussians, rows, scene.packet.triangles.length);
    return { gaussians: corrections?.target ?? gaussians, corrections, frames, indices: indices!, array: array! };
  }
}
