// Builds `dist`: ES modules, one classic script for a `<script>` tag, the page's script, and types.
// With `--page` the two scripts that every gateway serves are put where they are committed.
import { execFileSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

// Browsers of the last five years, and the oldest Node that is served.
const target = ['chrome96', 'firefox94', 'safari15.4', 'node18'];
const common = { bundle: true, target, legalComments: 'none', logLevel: 'warning' };

for (const folder of ['dist', 'build']) rmSync(folder, { recursive: true, force: true });
await build({
  ...common,
  entryPoints: { index: 'src/index.ts', chat: 'src/chat/index.ts', iframe: 'src/iframe.ts' },
  format: 'esm',
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  outdir: 'dist',
});
for (const [from, folder, name, format] of [
  ['src/classic.ts', 'dist', 'switchboard.min.js', 'iife'],
  ['page/page.ts', 'build', 'page.js', 'esm'],
]) {
  const outfile = `${folder}/${name}`;
  await build({ ...common, entryPoints: [from], format, minify: true, outfile });
  if (process.argv.includes('--page')) copyFileSync(outfile, `../../gateway/src/http/page/${name}`);
}
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc'], { stdio: 'inherit' });
