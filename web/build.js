// Builds the page into dist/, which the binary embeds. Nothing is fetched at run time from anywhere but Tandem itself.
import { build } from "esbuild";
import { copyFile, mkdir, rm } from "node:fs/promises";

await rm("dist", { recursive: true, force: true });
await mkdir("dist");
await build({
  entryPoints: { app: "src/main.js", style: "src/style.css" },
  outdir: "dist",
  bundle: true,
  format: "esm",
  minify: true,
  target: ["chrome100", "firefox100", "safari15.4"],
  legalComments: "none", // the licence of the one library inside is shipped whole, below
  logLevel: "warning",
});
await copyFile("src/index.html", "dist/index.html");
await copyFile("src/icon.svg", "dist/icon.svg");
await copyFile("node_modules/hls.js/LICENSE", "dist/hls.js-license.txt");
