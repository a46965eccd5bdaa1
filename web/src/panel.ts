/** The sliders, in groups by part of the face. */

import type { Controls, Turn } from "./controls";
import { PRESETS, type Weights } from "./poses";

interface Slider {
  readonly label: string;
  /** What it moves. */
  readonly names: readonly string[];
  readonly least: number;
  readonly most: number;
  /** Written behind the number. */
  readonly unit: "" | "°";
}

interface Group {
  readonly title: string;
  readonly sliders: readonly Slider[];
}

const DEGREE = Math.PI / 180;
/** Numbered expressions (FLAME) beyond these say little by themselves. */
const NUMBERED = 50;

const turn = (label: string, name: Turn, degrees: number): Slider =>
  ({ label, names: [name], least: -degrees * DEGREE, most: degrees * DEGREE, unit: "°" });

const PARTS: readonly (readonly [string, RegExp])[] = [
  ["Brows", /^brow/],
  ["Lids", /^eye(Blink|Squint|Wide)/],
  ["Cheeks and nose", /^(cheek|noseSneer)/],
  ["Jaw and tongue", /^(jaw|tongue)/],
  ["Mouth", /^mouth/],
  ["Gaze of each eye", /^eyeLook/],
];

/** What people reach for first, in front of its group; the rest keeps ARKit's order. */
const FIRST = [
  "browInnerUp", "browOuterUp", "browDown", "jawOpen", "mouthSmile", "mouthFrown", "mouthPucker", "mouthFunnel",
  "mouthUpperUp", "mouthLowerDown", "mouth",
];

function placeOf(name: string): number {
  const place = FIRST.indexOf(name.replace(/(Left|Right)$/, ""));
  return place < 0 ? FIRST.length : place;
}

/** The groups of sliders for a head's expressions; pairs share one slider when `together`. */
export function groupsOf(names: readonly string[], together: boolean): Group[] {
  const groups: Group[] = [
    { title: "Head", sliders: [turn("Turn", "headYaw", 60), turn("Nod", "headPitch", 35), turn("Tilt", "headRoll", 30)] },
    {
      title: "Gaze",
      sliders: [
        { label: "Sideways", names: ["gazeYaw"], least: -1, most: 1, unit: "" },
        { label: "Up, down", names: ["gazePitch"], least: -1, most: 1, unit: "" },
      ],
    },
  ];
  const taken = new Set<string>();
  for (const [title, pattern] of PARTS) {
    const members = names.filter((name) => pattern.test(name)).sort((a, b) => placeOf(a) - placeOf(b));
    if (members.length === 0) continue;
    members.forEach((name) => taken.add(name));
    groups.push({ title, sliders: slidersOf(members, pattern, together && title !== "Gaze of each eye") });
  }
  const others = names.filter((name) => !taken.has(name)).slice(0, NUMBERED);
  if (others.length) {
    const sliders = others.map((name) => ({ label: spelled(name), names: [name], least: -3, most: 3, unit: "" as const }));
    groups.push({ title: "Expression", sliders });
  }
  if (!names.includes("jawOpen")) {
    groups.push({ title: "Jaw", sliders: [{ label: "Open", names: ["jaw"], least: 0, most: 0.4, unit: "°" }] });
  }
  return groups;
}

function slidersOf(names: readonly string[], part: RegExp, together: boolean): Slider[] {
  const sliders: Slider[] = [];
  for (const name of names) {
    const side = /^(.*)(Left|Right)$/.exec(name);
    const stem = side?.[1];
    const other = side && stem + (side[2] === "Left" ? "Right" : "Left");
    const paired = other !== null && other !== undefined && names.includes(other) && !/^(jaw|mouth)$/.test(stem ?? "");
    const label = spelled(name.replace(part, (found) => found.replace(/^(brow|eye|mouth|jaw)/, "")) || name);
    if (paired && together) {
      if (side![2] === "Left") sliders.push({ label: label.replace(/ left$/, ""), names: [name, other], least: 0, most: 1, unit: "" });
    } else sliders.push({ label: label.replace(/ (left|right)$/, ", $1"), names: [name], least: 0, most: 1, unit: "" });
  }
  return sliders;
}

/** "mouthSmileLeft" -> "Mouth smile left". */
function spelled(name: string): string {
  const words = name.replace(/([a-z])([A-Z0-9])/g, "$1 $2").toLowerCase().trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export class Panel {
  private readonly shown: { slider: Slider; group: HTMLElement; input: HTMLInputElement; output: HTMLOutputElement }[] = [];
  private together = true;

  constructor(
    private readonly presets: HTMLElement, private readonly root: HTMLElement, private readonly controls: Controls,
    private readonly changed: () => void, plays: readonly { name: string; title: string; play: () => void }[],
  ) {
    const named = PRESETS.filter(({ weights }) => Object.keys(weights).every((name) => controls.has(name)));
    for (const { name, weights } of named) this.button(name, () => this.ask(weights, name === "Neutral"));
    for (const { name, title, play } of plays) this.button(name, play, "plays").title = title;
    this.build();
  }

  /** Show where the values stand. */
  refresh(): void {
    for (const { slider, input, output } of this.shown) {
      const value = this.controls.value(slider.names[0]!);
      input.value = String(value);
      show(slider, value, input, output);
    }
    for (const group of this.root.querySelectorAll<HTMLElement>(".group")) this.mark(group);
  }

  /** Offer a reset where there is something to reset. */
  private mark(group: HTMLElement): void {
    const moved = this.shown.some((row) => row.group === group && row.slider.names.some((name) => this.controls.value(name) !== 0));
    group.classList.toggle("moved", moved);
  }

  private ask(weights: Weights, all: boolean): void {
    this.controls.glideTo(weights, all);
    this.refresh();
    this.changed();
  }

  private button(name: string, action: () => void, kind = ""): HTMLButtonElement {
    const button = element("button", { type: "button", className: kind, textContent: name });
    button.addEventListener("click", action);
    this.presets.append(button);
    return button;
  }

  private build(): void {
    const open = new Set([...this.root.querySelectorAll<HTMLDetailsElement>("details[open]")].map((group) => group.dataset["title"]));
    const first = this.root.childElementCount === 0;
    this.root.replaceChildren();
    this.shown.length = 0;
    const names = this.controls.names.filter((name) => !/^(head(Yaw|Pitch|Roll)|gaze(Yaw|Pitch)|jaw)$/.test(name));
    groupsOf(names, this.together).forEach(({ title, sliders }, index) => {
      const group = element("details", { className: "group", open: first ? index < 2 || title === "Mouth" : open.has(title) });
      group.dataset["title"] = title;
      const reset = element("button", { type: "button", className: "reset", textContent: "Reset", ariaLabel: `Reset ${title}` });
      reset.addEventListener("click", (event) => {
        event.preventDefault();
        for (const slider of sliders) for (const name of slider.names) this.controls.set(name, 0);
        this.refresh();
        this.changed();
      });
      const summary = element("summary", {});
      summary.append(element("span", { textContent: title }), reset);
      group.append(summary);
      for (const slider of sliders) group.append(this.row(group, title, slider));
      this.root.append(group);
    });
    if (names.some((name) => name.endsWith("Left"))) this.root.append(this.togetherRow());
    this.refresh();
  }

  private row(group: HTMLElement, title: string, slider: Slider): HTMLElement {
    const id = `slider-${slider.names[0]}`;
    const row = element("div", { className: "row" });
    const label = element("label", { htmlFor: id, textContent: slider.label, title: slider.names.join(", ") });
    const input = element("input", {
      type: "range", id, min: String(slider.least), max: String(slider.most), step: "any", ariaLabel: `${title}: ${slider.label}`,
    });
    const output = element("output", {});
    output.htmlFor.add(id);
    const set = (value: number): void => {
      for (const name of slider.names) this.controls.set(name, value);
      show(slider, value, input, output);
      this.mark(group);
      this.changed();
    };
    input.addEventListener("input", () => set(Number(input.value)));
    input.addEventListener("keydown", (event) => {
      // Steps of its own: "any" has none that are the same everywhere.
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const range = slider.most - slider.least;
      const value = Number(input.value) + (step * range) / 40;
      input.value = String(Math.abs(value) < range / 1000 ? 0 : value);
      set(Number(input.value));
    });
    for (const part of [label, input]) {
      part.addEventListener("dblclick", () => {
        input.value = "0";
        set(0);
      });
    }
    row.append(label, input, output);
    this.shown.push({ slider, group, input, output });
    return row;
  }

  private togetherRow(): HTMLElement {
    const row = element("div", { className: "row check" });
    const box = element("input", { type: "checkbox", id: "together", checked: this.together });
    box.addEventListener("change", () => {
      this.together = box.checked;
      this.build();
      document.getElementById("together")?.focus();
    });
    row.append(box, element("label", { htmlFor: "together", textContent: "Left and right together" }));
    return row;
  }
}

/** Number, and the filled part of the track between zero and the value. */
function show(slider: Slider, value: number, input: HTMLInputElement, output: HTMLOutputElement): void {
  output.value = written(value, slider.unit);
  const share = (at: number): number => Math.min(1, Math.max(0, (at - slider.least) / (slider.most - slider.least)));
  const [zero, now] = [share(0), share(value)];
  input.style.setProperty("--from", String(Math.min(zero, now)));
  input.style.setProperty("--to", String(Math.max(zero, now)));
}

function written(value: number, unit: "" | "°"): string {
  return unit === "°" ? `${Math.round(value / DEGREE)}°` : String(Math.round(value * 100));
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K, properties: Partial<HTMLElementTagNameMap[K]>,
): HTMLElementTagNameMap[K] {
  return Object.assign(document.createElement(tag), properties);
}
