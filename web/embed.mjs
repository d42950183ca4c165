// node embed.mjs DIST OUT: every file of the built UI compressed into OUT, and OUT/web_assets.inc, which lists them for the
// assembler (src/protocols/web/web_assets.S). What the pages have that the server writes is made here too: their style sheet, and
// the script of those with a command.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { transformWithEsbuild } from "vite";

const [dist, out] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const types = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", wasm: "application/wasm", svg: "image/svg+xml" };

function* walk(folder) {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* walk(path);
    else yield path;
  }
}

const files = [...walk(dist)].map((path) => ({ name: relative(dist, path), data: readFileSync(path) }));
const plain = ["tokens.css", "pages.css"].map((name) => readFileSync(join(here, "src/design", name), "utf8")).join("\n");
const { code } = await transformWithEsbuild(plain, "style.css", { loader: "css", minify: true });
files.push({ name: "style.css", data: Buffer.from(code) });
const copy = await transformWithEsbuild(readFileSync(join(here, "src/copy.ts"), "utf8"), "copy.ts", { minify: true, sourcemap: false });
const copyName = `assets/copy-${createHash("sha256").update(copy.code).digest("hex").slice(0, 8)}.js`;
files.push({ name: copyName, data: Buffer.from(copy.code) });

mkdirSync(out, { recursive: true });
let list = "";
files.forEach(({ name, data }, number) => {
  const type = types[name.split(".").pop()];
  if (!type || !/^[A-Za-z0-9._/-]+$/.test(name)) throw new Error(`embed: what is ${name}?`);
  const packed = gzipSync(data, { level: 9 });
  writeFileSync(join(out, `asset${number}.gz`), packed);
  list += `ASSET ${number}, "${name}", "${type}"\n`;
});
list += `COPY_SCRIPT "${copyName}"\n`;
writeFileSync(join(out, "web_assets.inc"), list);
