/** Small helpers around WebGL2. */

import { UserError } from "./errors";

/** A texture of RGBA32F that is read texel by texel. @throws UserError when the device has none as large. */
export function floatTexture(gl: WebGL2RenderingContext, width: number, height: number): WebGLTexture {
  const largest = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
  if (width > largest || height > largest) {
    throw new UserError(`This avatar is too large for this graphics device (textures of at most ${largest} texels).`);
  }
  const texture = gl.createTexture()!;
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, width, height);
  unfiltered(gl, gl.TEXTURE_2D);
  return texture;
}

/** Layers of RGBA texels that are looked up by number, as `floatTexture` has one. */
export function layeredTexture(
  gl: WebGL2RenderingContext, kind: "RGBA32F" | "RGBA16F", width: number, height: number, layers: number,
): WebGLTexture {
  const largest = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
  if (height > largest) {
    throw new UserError(`This avatar is too large for this graphics device (textures of at most ${largest} texels).`);
  }
  const texture = gl.createTexture()!;
  gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
  gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl[kind], width, height, layers);
  unfiltered(gl, gl.TEXTURE_2D_ARRAY);
  return texture;
}

/** No filtering: texels are looked up by number. */
function unfiltered(gl: WebGL2RenderingContext, target: GLenum): void {
  gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
}

/** A program that the driver may still be compiling: nothing here waits for it. `linked` does. */
export function compile(gl: WebGL2RenderingContext, vertexSource: string, fragmentSource: string): WebGLProgram {
  const program = gl.createProgram()!;
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return program;
}

/** Wait for a program of `compile`. @throws UserError with the driver's log. */
export function linked(gl: WebGL2RenderingContext, program: WebGLProgram): WebGLProgram {
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    const logs = (gl.getAttachedShaders(program) ?? []).map((shader) => gl.getShaderInfoLog(shader));
    throw new UserError(`The graphics driver refuses the shaders: ${[gl.getProgramInfoLog(program), ...logs].join(" ")}`);
  }
  return program;
}
