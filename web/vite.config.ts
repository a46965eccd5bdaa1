import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const page = join(__dirname, "../src/spatialavatar/view/page");

/** Scripts and styles go into the page itself: it is one file, served or offline. */
function oneFile(): Plugin {
  return {
    name: "one-file",
    enforce: "post",
    generateBundle(_, bundle) {
      const html = bundle["index.html"];
      if (html?.type !== "asset") throw new Error("no index.html in the bundle");
      let text = String(html.source);
      let script = "";
      for (const [name, file] of Object.entries(bundle)) {
        if (file.type === "chunk") script += file.code.replaceAll("</script", "<\\/script");
        else if (name.endsWith(".css")) text = text.replace("</head>", () => `<style>${String(file.source)}</style></head>`);
        else continue;
        delete bundle[name];
      }
      text = text.replace(/\s*<script type="module"[^>]*><\/script>/, "").replace(/\s*<link rel="stylesheet"[^>]*>/, "");
      html.source = text.replace("</body>", () => `<script type="module">${script}</script></body>`);
    },
    writeBundle() {
      writeFileSync(join(page, "sources.sha256"), `${hashOfSources()}\n`);
    },
  };
}

/** Of everything the page is built from; tests/view compares it, so that the built page is never stale. */
function hashOfSources(): string {
  const files = readdirSync(join(__dirname, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(__dirname.length + 1).replaceAll("\\", "/"));
  const hash = createHash("sha256");
  for (const file of [...files, "index.html"].sort()) {
    hash.update(`${file}\n`).update(readFileSync(join(__dirname, file)));
  }
  return hash.digest("hex");
}

export default defineConfig({
  root: __dirname,
  plugins: [oneFile()],
  build: {
    outDir: page,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 100_000_000,
    modulePreload: false,
    cssCodeSplit: false,
  },
  test: { include: ["test/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
