/** The page: puts stage, sliders, player and files together. */

import { readArkitCsv, readArkitNpz } from "./arkit";
import { savePicture, VideoCapture } from "./capture";
import { Controls } from "./controls";
import { convert, type PageData } from "./data";
import { UserError } from "./errors";
import { Live } from "./live";
import { Look } from "./look";
import { Orbit } from "./orbit";
import type { Packet } from "./packet";
import { element, Panel } from "./panel";
import { Player } from "./player";
import { reel, talkLoop } from "./poses";
import { Puppet } from "./puppet";
import { readMotionFile, type Recording } from "./recording";
import { PATIENCE, type Renderer, within } from "./renderer";
import { Sharpness } from "./sharpness";
import { Stage } from "./stage";

const LARGEST_RATIO = 2;
const LARGEST_MOTION = 512 * 2 ** 20;
const MOST_AVATARS = 4;
/** Milliseconds of standing still after which the full resolution is drawn. */
const STILL = 220;

const part = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

/** Load the page anew with another renderer: "#webgl", "#webgpu", or nothing for what suits. */
function drawWith(renderer: string): void {
  history.replaceState(null, "", location.pathname + location.search + renderer);
  location.reload();
}

export class App {
  readonly stage: Stage;
  readonly player: Player;
  /** When the first picture was drawn: milliseconds after the page was opened. */
  shown = 0;
  controls!: Controls;
  puppets: Puppet[] = [];
  private readonly look: Look;
  private readonly orbit: Orbit;
  private readonly capture = new VideoCapture();
  private readonly sharpness = new Sharpness();
  private readonly canvas = part<HTMLCanvasElement>("canvas");
  private live: Live | null = null;
  private panel: Panel | null = null;
  private asked = 0;
  private last = 0;
  private still = 0;
  private moved = true;
  /** Of the canvas in the page's pixels, when it was drawn last. */
  private drawnWidth = 0;
  private drawnHeight = 0;

  constructor(private readonly data: PageData, renderer: Renderer) {
    this.stage = new Stage(renderer);
    this.look = new Look({
      theme: part("theme"), background: part("background"), custom: part("custom"), customRow: part("custom-row"),
      sharpness: part("sharpness"),
    }, () => this.ask());
    this.orbit = new Orbit(this.canvas, this.stage.view, () => {
      part("hint").hidden = true;
      this.ask();
    });
    this.player = new Player({
      bar: part("player"), play: part("play"), take: part("take"), time: part("time"), clock: part("clock"),
      loop: part("loop"), close: part("close-take"),
    }, () => this.repose());
    new ResizeObserver(() => {
      if (this.canvas.clientWidth !== this.drawnWidth || this.canvas.clientHeight !== this.drawnHeight) this.ask();
    }).observe(this.canvas);
    this.wire();
  }

  /** Show avatars beside each other, and no others. */
  show(packets: readonly Packet[]): void {
    for (const scene of [...this.stage.scenes]) this.stage.remove(scene);
    this.puppets = packets.map((packet) => new Puppet(this.stage.add(packet)));
    this.controls = new Controls(packets);
    // First the picture: while the graphics device draws it, the sliders are made.
    this.moved = true;
    this.draw(1);
    if (this.shown === 0 && location.hash !== "#webgpu") void this.distrust();
    this.fillPanel(packets);
    if (this.shown === 0) requestAnimationFrame(() => setTimeout(async () => {
      await this.stage.renderer.finish();
      this.shown = performance.now();
      this.tellDevice();
    }));
    else this.tellDevice();
  }

  /** A device whose picture is empty or never done gives way to WebGL2; a canvas keeps its first, so on a new page. */
  private async distrust(): Promise<void> {
    if (!(await within(PATIENCE, this.stage.renderer.works()).catch(() => false))) drawWith("#webgl");
  }

  private fillPanel(packets: readonly Packet[]): void {
    part("presets").replaceChildren();
    part("sliders").replaceChildren();
    const numbered = packets.some((packet) => packet.expressionNames.includes("jawOpen")) ? null : packets[0]!;
    this.panel = new Panel(part("presets"), part("sliders"), this.controls, () => this.repose(), [
      { name: "Talk", title: "Moves as if talking", play: () => this.play(talkLoop(numbered)) },
      { name: "Show", title: "Makes every face and turns", play: () => this.play(reel(numbered)) },
    ]);
    this.describe(packets);
    if (this.data.live !== undefined && this.live === null) {
      part("live-row").hidden = false;
      const state = part<HTMLOutputElement>("live-state");
      this.live = new Live(this.data.live, packets[0]!, () => this.ask(), (text) => {
        state.value = text;
      });
    }
  }

  /** Open dropped or chosen files. */
  async open(files: Iterable<File>): Promise<void> {
    for (const file of files) {
      try {
        await this.openOne(file);
      } catch (error) {
        this.say(error instanceof UserError ? error.message : `${file.name} could not be read.`, true);
      }
    }
  }

  /** Play a recording. @throws UserError when no avatar here has its expressions. */
  play(recording: Recording): void {
    if (!this.puppets.some((puppet) => puppet.understands(recording.driver))) {
      throw new UserError(
        `${recording.source} has the expressions of the head ${recording.driver.headEdition ?? "unknown"}; ` +
        "they have no name in common with this avatar's.");
    }
    this.player.open(recording);
  }

  /** Save the picture at full resolution. */
  async savePicture(): Promise<void> {
    this.draw(1);
    await savePicture(this.canvas, this.stage.scenes.map((scene) => scene.packet.name).join("-"));
  }

  toggleCapture(): void {
    const button = part("record");
    if (this.capture.running) this.capture.stop();
    else {
      this.draw(1);
      this.capture.start(this.canvas, this.stage.scenes.map((scene) => scene.packet.name).join("-"));
    }
    button.setAttribute("aria-pressed", String(this.capture.running));
    this.say(this.capture.running ? "Recording. Press again to stop and save." : "The video is saved.");
    this.ask();
  }

  /** Pose every avatar from what drives it now. */
  pose(): void {
    const source = this.live?.now ?? this.player.now;
    const travel = part<HTMLInputElement>("travel").checked;
    for (const puppet of this.puppets) {
      puppet.update(source !== null && puppet.understands(source.driver) ? source : null, this.controls, travel);
      this.stage.pose(puppet.scene, puppet.motion);
    }
  }

  /** Draw now, at a share of the full resolution. */
  draw(scale: number): void {
    if (this.moved) this.pose();
    this.moved = false;
    const ratio = Math.min(devicePixelRatio, LARGEST_RATIO) * (this.look.sharpness ?? scale);
    this.drawnWidth = this.canvas.clientWidth;
    this.drawnHeight = this.canvas.clientHeight;
    this.stage.resize(this.drawnWidth * ratio, this.drawnHeight * ratio);
    this.stage.background = this.look.background;
    part("picture-area").classList.toggle("see-through", this.stage.background === null);
    this.stage.draw();
    this.sharp = scale >= 1 || this.look.sharpness !== null;
  }

  private sharp = true;

  /** Draw with the next frame of the screen. */
  private ask(): void {
    if (this.asked === 0) this.asked = requestAnimationFrame((time) => this.frame(time));
  }

  private repose(): void {
    this.moved = true;
    this.ask();
  }

  private frame(time: number): void {
    this.asked = 0;
    if (this.puppets.length === 0) return;
    const interval = time - this.last;
    const seconds = Math.min(interval / 1000, 0.25);
    const running = interval < 1500;
    this.last = time;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const moving = [
      this.controls.advance(running ? seconds : 0, calm), this.player.advance(running ? seconds : 0), this.live?.advance() ?? false,
    ].some(Boolean);
    if (moving) this.moved = true;
    if (running && this.continued) this.sharpness.measure(interval);
    this.continued = moving;
    this.draw(this.capture.running ? 1 : this.sharpness.scale);
    if (moving || this.capture.running) this.ask();
    clearTimeout(this.still);
    if (!this.sharp) this.still = window.setTimeout(() => this.draw(1), STILL);
  }

  private continued = false;

  private async openOne(file: File): Promise<void> {
    const name = file.name.toLowerCase();
    if (file.size > LARGEST_MOTION) throw new UserError(`${file.name} is too large.`);
    if (name.endsWith(".avatar")) {
      if (this.puppets.length >= MOST_AVATARS) throw new UserError(`No more than ${MOST_AVATARS} avatars fit side by side.`);
      this.say(`Opening ${file.name} …`);
      const packet = await convert(this.data, file);
      this.player.open(null);
      this.show([...this.stage.scenes.map((scene) => scene.packet), packet]);
      this.say(`${packet.name} stands beside.`);
    } else if (name.endsWith(".csv")) this.play(readArkitCsv(await file.text(), file.name));
    else if (name.endsWith(".npz")) this.play(await readArkitNpz(await file.arrayBuffer(), file.name));
    else if (name.endsWith(".safetensors")) this.play(readMotionFile(await file.arrayBuffer(), file.name));
    else {
      throw new UserError(
        `${file.name} is no motion. Drop a .motion.safetensors file, a .csv of Live Link Face, or an .npz of ARKit weights.`);
    }
  }

  private describe(packets: readonly Packet[]): void {
    const names = packets.map((packet) => packet.name).join(" · ");
    part("title").textContent = names;
    document.title = `${names} – SpatialAvatar`;
    const counts = [...new Set(packets.map((packet) => packet.triangles.length.toLocaleString("en-US")))].join(" and ");
    part("subtitle").textContent = `${counts} Gaussians · ${[...new Set(packets.map((packet) => packet.headName))].join(", ")}`;
    part("names").replaceChildren(
      ...(packets.length > 1 ? packets.map((packet) => element("span", { textContent: packet.name })) : []));
  }

  /** Who consented, and what draws: to ask for its name waits for what it is drawing. */
  private tellDevice(): void {
    const packets = this.stage.scenes.map((scene) => scene.packet).filter((packet) => packet.consent);
    const consents = packets.map((packet) => `${packet.name}: consent ${packet.consent}.`);
    part("facts").textContent = [...consents, `Drawn by ${this.stage.renderer.deviceName}.`].join(" ");
  }

  private say(text: string, wrong = false): void {
    const message = part("message");
    message.textContent = text;
    message.className = wrong ? "wrong" : "";
    message.hidden = false;
    clearTimeout(this.saying);
    this.saying = window.setTimeout(() => {
      message.hidden = true;
    }, wrong ? 9000 : 3500);
  }

  private saying = 0;

  private guard(action: () => void | Promise<void>): void {
    Promise.resolve().then(action).catch((error: unknown) => {
      this.say(error instanceof UserError ? error.message : `That did not work: ${String(error)}`, true);
    });
  }

  private wire(): void {
    const click = (id: string, action: () => void | Promise<void>): void =>
      part(id).addEventListener("click", () => this.guard(action));
    click("front", () => this.orbit.front());
    click("picture", () => this.savePicture());
    click("neutral", () => this.live?.neutral());
    click("record", () => this.toggleCapture());
    click("panel-toggle", () => this.togglePanel());
    part("travel").addEventListener("change", () => this.repose());
    const chooser = part<HTMLInputElement>("file");
    chooser.addEventListener("change", () => {
      void this.open(chooser.files ?? []);
      chooser.value = "";
    });
    const renderer = part<HTMLSelectElement>("renderer");
    if ([...renderer.options].some((option) => option.value === location.hash)) renderer.value = location.hash;
    renderer.addEventListener("change", () => drawWith(renderer.value));
    part("open").addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") chooser.click();
    });
    addEventListener("keydown", (event) => this.key(event));
    this.wireDrop();
  }

  private wireDrop(): void {
    const hint = part("drop");
    if (this.data.open !== undefined) part("drop-kinds").append(", or another .avatar to stand beside");
    addEventListener("dragover", (event) => {
      event.preventDefault();
      hint.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) hint.hidden = true;
    });
    addEventListener("drop", (event) => {
      event.preventDefault();
      hint.hidden = true;
      void this.open([...(event.dataTransfer?.files ?? [])]);
    });
  }

  private togglePanel(): void {
    const hidden = document.body.classList.toggle("alone");
    part("panel-toggle").setAttribute("aria-expanded", String(!hidden));
    this.ask();
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea")) return;
    const key = event.key.toLowerCase();
    if (key === " " && !target.matches("button, summary, label")) {
      event.preventDefault();
      this.player.toggle();
    } else if (key === "p") this.guard(() => this.savePicture());
    else if (key === "r") this.guard(() => this.toggleCapture());
    else if (key === "c") this.togglePanel();
    else if (key === "n") this.guard(() => {
      this.controls.glideTo({}, true);
      this.panel?.refresh();
      this.ask();
    });
  }
}
