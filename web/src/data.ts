/** What the page shows and where it comes from: written into it by spatialavatar/view/page.py. */

import { UserError } from "./errors";
import { readPacket, type Packet } from "./packet";

export interface PageData {
  /** Addresses of packets on the server the page came from, or ids of elements of the page that hold them. */
  readonly avatars: readonly ({ readonly url: string } | { readonly element: string })[];
  /** WebSocket of a live driver. */
  readonly live?: string;
  /** Where a dropped .avatar may be sent to get its packet. */
  readonly open?: string;
}

export function pageData(): PageData {
  const text = document.getElementById("page-data")?.textContent;
  return text ? (JSON.parse(text) as PageData) : { avatars: [] };
}

/** @throws UserError when an avatar cannot be had. */
export async function loadAvatars(data: PageData): Promise<Packet[]> {
  if (data.avatars.length === 0) throw new UserError("This page was opened without an avatar. Run: spatialavatar view me.avatar");
  return Promise.all(data.avatars.map(async (where) =>
    readPacket("url" in where ? await fetched(where.url) : await embedded(where.element))));
}

/** The packet of an .avatar file, made by the server that the page came from. */
export async function convert(data: PageData, file: File): Promise<Packet> {
  if (data.open === undefined) {
    throw new UserError(`An offline page holds its own avatars only. Run: spatialavatar view me.avatar ${file.name}`);
  }
  const response = await fetch(data.open, {
    method: "POST", body: file, headers: { "X-Name": encodeURIComponent(file.name) },
  }).catch(() => null);
  return readPacket(await answer(response));
}

async function fetched(url: string): Promise<ArrayBuffer> {
  return answer(await fetch(url).catch(() => null));
}

async function answer(response: Response | null): Promise<ArrayBuffer> {
  if (response === null) throw new UserError("The program that served this page has ended. Run spatialavatar view again.");
  if (!response.ok) throw new UserError(reason(await response.text()) || `The server answers ${response.status}.`);
  return response.arrayBuffer();
}

/** What the server says about a request that it refused: a sentence, or {"error": a sentence}. */
export function reason(text: string): string {
  try {
    const told: unknown = JSON.parse(text);
    if (typeof told === "object" && told !== null && "error" in told && typeof told.error === "string") return told.error;
  } catch {
    // Not JSON: the sentence itself.
  }
  return text.trim();
}

/** Base64 of a gzip file inside the page. */
async function embedded(id: string): Promise<ArrayBuffer> {
  const element = document.getElementById(id);
  const text = element?.textContent?.trim();
  if (!text) throw new UserError("This page is cut short: its avatar is missing. Copy or download it again.");
  try {
    const unpacker = new DecompressionStream("gzip");
    const unpacked = new Response(unpacker.readable).arrayBuffer();
    const writer = unpacker.writable.getWriter();
    // What is wrong with the bytes shows in what is unpacked.
    void writer.write(bytesOf(text)).catch(() => {});
    void writer.close().catch(() => {});
    element!.remove();
    return await unpacked;
  } catch {
    throw new UserError("This page is damaged or cut short. Copy or download it again.");
  }
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}
