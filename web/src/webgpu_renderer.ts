/**
 * Draws scenes with WebGPU. One compute pass corrects and projects every Gaussian once (in WebGL2 each corner of its
 * quad does so again), then one render pass draws the quads in the order that the CPU sorted.
 */

import type { Color, Renderer } from "./renderer";
import { featureLayers, MATRIX_ROWS } from "./residual";
import { gaussianTexels, type Scene } from "./scene";
import { GAUSSIAN_LAYERS, ITEMS_PER_ROW } from "./shaders";
import { DRAW_SHADER, GROUP, projectShader, SPLAT_BYTES, VIEW_FLOATS } from "./webgpu_shaders";

/** Pixels that a picture has at least, if its colours are to tell whether something is drawn. */
const SMALLEST = 1024;

interface Resources {
  readonly count: number;
  readonly buffers: readonly GPUBuffer[];
  readonly view: GPUBuffer;
  readonly frames: GPUBuffer;
  readonly matrix: GPUBuffer | null;
  readonly indices: GPUBuffer;
  readonly project: GPUComputePipeline;
  readonly projectGroup: GPUBindGroup;
  readonly drawGroup: GPUBindGroup;
}

/** A device and what was made with it. */
interface Device {
  readonly name: string;
  readonly device: GPUDevice;
  readonly draw: GPURenderPipeline;
  /** By quartets of features; 0 without a residual head. */
  readonly projections: Map<number, GPUComputePipeline>;
}

export class WebgpuRenderer implements Renderer {
  restored: () => void = () => {};
  private readonly resources = new Map<Scene, Resources>();
  private readonly view = new Float32Array(VIEW_FLOATS);
  private complained = false;

  private constructor(
    readonly canvas: HTMLCanvasElement, private readonly context: GPUCanvasContext, private current: Device,
    private readonly software: boolean,
  ) {
    this.configure();
  }

  /**
   * @param software Whether a device that draws in software will do.
   * @returns null where the browser has no device that will do.
   */
  static async make(canvas: HTMLCanvasElement, software: boolean): Promise<WebgpuRenderer | null> {
    const device = await findDevice(software);
    // Only now: a canvas that was once asked for WebGPU has no WebGL2 any more.
    const context = device && canvas.getContext("webgpu");
    return context ? new WebgpuRenderer(canvas, context, device, software) : null;
  }

  get deviceName(): string {
    return `WebGPU, ${this.current.name}`;
  }

  uploadPose(scene: Scene): void {
    const { queue } = this.current.device;
    const found = this.of(scene);
    queue.writeBuffer(found.frames, 0, floatsOf(scene.frames));
    if (found.matrix !== null) queue.writeBuffer(found.matrix, 0, floatsOf(scene.residual!.matrix));
  }

  uploadOrder(scene: Scene): void {
    const { indices, length } = scene.order;
    if (length > 0) {
      this.current.device.queue.writeBuffer(
        this.of(scene).indices, 0, indices as Uint32Array<ArrayBuffer>, 0, 6 * length);
    }
  }

  draw(scenes: readonly Scene[], background: Color | null): void {
    const { device, draw } = this.current;
    const encoder = device.createCommandEncoder();
    const projecting = encoder.beginComputePass();
    for (const scene of scenes) {
      const found = this.of(scene);
      this.uploadView(scene, found);
      projecting.setPipeline(found.project);
      projecting.setBindGroup(0, found.projectGroup);
      projecting.dispatchWorkgroups(Math.ceil(found.count / GROUP));
    }
    projecting.end();
    const drawing = encoder.beginRenderPass({
      colorAttachments: [{
        view: this.context.getCurrentTexture().createView(), loadOp: "clear", storeOp: "store",
        clearValue: background === null ? [0, 0, 0, 0] : [...background, 1],
      }],
    });
    drawing.setPipeline(draw);
    let left = 0;
    for (const scene of scenes) {
      const { camera, order } = scene;
      const found = this.of(scene);
      drawing.setViewport(left, 0, camera.width, camera.height, 0, 1);
      drawing.setScissorRect(left, 0, camera.width, camera.height);
      drawing.setBindGroup(0, found.drawGroup);
      drawing.setIndexBuffer(found.indices, "uint32");
      drawing.drawIndexed(6 * order.length);
      left += camera.width;
    }
    drawing.end();
    device.queue.submit([encoder.finish()]);
  }

  release(scene: Scene): void {
    for (const buffer of this.resources.get(scene)?.buffers ?? []) buffer.destroy();
    this.resources.delete(scene);
  }

  async works(): Promise<boolean> {
    const pixels = await this.readPixels();
    const words = new Uint32Array(pixels.buffer);
    // A page that nobody sees yet may have a canvas of one pixel, which tells nothing.
    if (words.length < SMALLEST) return !this.complained;
    return !this.complained && words.some((word) => word !== words[0]);
  }

  async finish(): Promise<void> {
    await this.current.device.queue.onSubmittedWorkDone();
  }

  async readPixels(): Promise<Uint8Array<ArrayBuffer>> {
    const { device } = this.current;
    const { width, height } = this.canvas;
    const stride = Math.ceil((4 * width) / 256) * 256;
    const buffer = device.createBuffer({
      size: stride * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    const encoder = device.createCommandEncoder();
    encoder.copyTextureToBuffer(
      { texture: this.context.getCurrentTexture() }, { buffer, bytesPerRow: stride }, [width, height]);
    device.queue.submit([encoder.finish()]);
    await buffer.mapAsync(GPUMapMode.READ);
    const rows = new Uint8Array(buffer.getMappedRange());
    const pixels = new Uint8Array(4 * width * height);
    for (let y = 0; y < height; y++) pixels.set(rows.subarray(stride * y, stride * y + 4 * width), 4 * width * y);
    buffer.destroy();
    if (navigator.gpu.getPreferredCanvasFormat() === "bgra8unorm") {
      for (let at = 0; at < pixels.length; at += 4) {
        const blue = pixels[at]!;
        pixels[at] = pixels[at + 2]!;
        pixels[at + 2] = blue;
      }
    }
    return pixels;
  }

  private configure(): void {
    const { device } = this.current;
    this.context.configure({
      device, format: navigator.gpu.getPreferredCanvasFormat(), alphaMode: "premultiplied",
      usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC,
    });
    device.addEventListener("uncapturederror", () => {
      this.complained = true;
    });
    void device.lost.then(() => this.replace());
  }

  /** Go on with another device. Without one the picture stands still, as the browser left it. */
  private async replace(): Promise<void> {
    const device = await findDevice(this.software).catch(() => null);
    if (device === null) {
      console.error("The graphics device was lost, and there is no other. Load the page again.");
      return;
    }
    this.current = device;
    this.resources.clear();
    this.configure();
    this.restored();
  }

  private uploadView({ camera }: Scene, found: Resources): void {
    const { view } = this;
    view.set(camera.cameraFromWorld);
    view[12] = camera.focalX;
    view[13] = camera.focalY;
    view[14] = camera.centerX;
    view[15] = camera.centerY;
    view[16] = camera.width;
    view[17] = camera.height;
    view[18] = found.count;
    this.current.device.queue.writeBuffer(found.view, 0, view);
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
    const { device, draw } = this.current;
    const { STORAGE, UNIFORM, INDEX, COPY_DST } = GPUBufferUsage;
    const buffers: GPUBuffer[] = [];
    const make = (size: number, usage: number): GPUBuffer => {
      const buffer = device.createBuffer({ size, usage: usage | COPY_DST });
      buffers.push(buffer);
      return buffer;
    };
    const filled = (data: Float32Array | Uint16Array): GPUBuffer => {
      const buffer = make(data.byteLength, STORAGE);
      device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
      return buffer;
    };
    const count = scene.packet.triangles.length;
    const { texels, rows } = gaussianTexels(scene.packet);
    const view = make(4 * VIEW_FLOATS, UNIFORM);
    const gaussians = filled(texels);
    const frames = make(scene.frames.byteLength, STORAGE);
    const splats = make(SPLAT_BYTES * count, STORAGE);
    const indices = make(scene.order.indices.byteLength, INDEX);
    const entries = [view, gaussians, frames, splats];
    const { residual } = scene;
    let matrix: GPUBuffer | null = null;
    if (residual !== null) {
      matrix = make(residual.matrix.byteLength, STORAGE);
      entries.push(filled(featureLayers(residual, ITEMS_PER_ROW * rows, count)), matrix);
    }
    const project = this.projection(residual?.quartets ?? 0);
    const group = (pipeline: GPUPipelineBase, bound: readonly (readonly [number, GPUBuffer])[]): GPUBindGroup =>
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: bound.map(([binding, buffer]) => ({ binding, resource: { buffer } })),
      });
    return {
      count, buffers, view, frames, matrix, indices, project,
      projectGroup: group(project, entries.map((buffer, binding) => [binding, buffer] as const)),
      drawGroup: group(draw, [[0, view], [3, splats]]),
    };
  }

  private projection(quartets: number): GPUComputePipeline {
    const { device, projections } = this.current;
    let found = projections.get(quartets);
    if (found === undefined) {
      found = device.createComputePipeline(projection(device, quartets));
      projections.set(quartets, found);
    }
    return found;
  }
}

/** @returns null without an adapter that will do. @throws Error when the browser refuses the shaders. */
async function findDevice(software: boolean): Promise<Device | null> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter || (!software && inSoftware(adapter.info))) return null;
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
  const module = device.createShaderModule({ code: DRAW_SHADER });
  const blend: GPUBlendComponent = { srcFactor: "one", dstFactor: "one-minus-src-alpha" };
  const draw = await device.createRenderPipelineAsync({
    layout: "auto",
    vertex: { module },
    fragment: {
      module, targets: [{ format: navigator.gpu.getPreferredCanvasFormat(), blend: { color: blend, alpha: blend } }],
    },
  });
  // What this driver makes of the shaders shows here, while there still is WebGL2 to turn to.
  const projections = new Map([[0, await device.createComputePipelineAsync(projection(device, 0))]]);
  const { vendor, architecture, description } = adapter.info;
  return { device, draw, projections, name: [vendor, architecture, description].filter(Boolean).join(" ") || "unnamed device" };
}

function projection(device: GPUDevice, quartets: number): GPUComputePipelineDescriptor {
  const module = device.createShaderModule({ code: projectShader(quartets, MATRIX_ROWS, GAUSSIAN_LAYERS) });
  return { layout: "auto", compute: { module } };
}

function inSoftware(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render/i.test(
    `${info.vendor} ${info.architecture} ${info.description}`);
}

/** Arrays of this page never lie in shared memory. */
function floatsOf(array: Float32Array): Float32Array<ArrayBuffer> {
  return array as Float32Array<ArrayBuffer>;
}
