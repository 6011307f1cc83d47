// Makes a component: one file of JavaScript out of the sources and their packages, and the engine around it.
// `keygate plugin build` calls this with the source, the directory of the contract, the world, and the component's file;
// what follows are the WASI features that the plugin is to have (`stdio`, `random`, `clocks`), which it must be granted
// as `wasi-minimal`.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { componentize } from '@bytecodealliance/componentize-js';
import { rolldown } from 'rolldown';

const FEATURES = ['stdio', 'random', 'clocks', 'http', 'fetch-event'];
const [source, witPath, worldName, output, ...wanted] = process.argv.slice(2);

const place = await mkdtemp(join(process.cwd(), '.build-'));
try {
  const sourcePath = join(place, 'plugin.js');
  const bundle = await rolldown({ input: source, external: /^keygate:/, logLevel: 'warn' });
  await bundle.write({ file: sourcePath, format: 'esm', codeSplitting: false });
  const disableFeatures = FEATURES.filter((feature) => !wanted.includes(feature));
  const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
  await writeFile(output, component);
} finally {
  await rm(place, { recursive: true });
}
