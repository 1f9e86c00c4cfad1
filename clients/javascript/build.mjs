// Builds `dist`: ES modules, one classic script for a `<script>` tag, and types.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { build } from 'esbuild';

// Browsers of the last five years, and the oldest Node that is served.
const target = ['chrome96', 'firefox94', 'safari15.4', 'node18'];
const common = { bundle: true, target, legalComments: 'none', logLevel: 'warning' };

rmSync('dist', { recursive: true, force: true });
await build({
  ...common,
  entryPoints: { index: 'src/index.ts', chat: 'src/chat/index.ts', iframe: 'src/iframe.ts' },
  format: 'esm',
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  sourcemap: true,
  outdir: 'dist',
});
await build({
  ...common,
  entryPoints: ['src/classic.ts'],
  format: 'iife',
  minify: true,
  outfile: 'dist/switchboard.min.js',
});
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc'], { stdio: 'inherit' });
