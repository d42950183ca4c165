import { defineConfig, type Plugin } from "vite";

// Our Content-Security-Policy allows neither style elements nor style attributes that scripts write. xterm.js writes both,
// at three places; here they go through the CSSOM instead (src/styles.ts). Another version of xterm.js fails the build.
function xtermWithoutInlineStyles(): Plugin {
  const changes: [string, string, number][] = [
    ['this._document.createElement("style")', "globalThis.tportStyleElement()", 2],
    ['e.setAttribute("style",`${e.getAttribute("style")||""}${t};`)', "e.style.cssText+=`${t};`", 1],
  ];
  return {
    name: "xterm-without-inline-styles",
    enforce: "pre",
    transform(code, id) {
      if (!id.endsWith("@xterm/xterm/lib/xterm.js")) return null;
      for (const [from, to, count] of changes) {
        const parts = code.split(from);
        if (parts.length !== count + 1) this.error(`xterm.js has changed: ${from} stands there ${parts.length - 1} times`);
        code = parts.join(to);
      }
      return { code, map: null };
    },
  };
}

export default defineConfig({
  base: "/web/",
  plugins: [xtermWithoutInlineStyles()],
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    target: "es2022",
    outDir: "dist",
    assetsDir: "assets",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
    rollupOptions: { output: { entryFileNames: "assets/[name]-[hash].js", chunkFileNames: "assets/[name]-[hash].js", assetFileNames: "assets/[name]-[hash][extname]" } },
  },
});
