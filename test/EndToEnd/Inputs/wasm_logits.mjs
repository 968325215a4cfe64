// Steps a module: a prompt of 20 tokens, then five single ones; writes all
// logits. wasm_logits.py does the same with the host's library.
//
//   node wasm_logits.mjs MODEL.wasm OUT.bin
import {readFile, writeFile} from 'node:fs/promises';
import {openModel} from '../../../examples/browser/miura.js';

const [path, output] = process.argv.slice(2);
const model = await openModel(await readFile(path), new Blob([await readFile(`${path}.weights`)]).stream());
const session = model.openSession(25);
const tokens = Array.from({length: 25}, (_, i) => (i * 37 + 5) % model.vocabulary);
const logits = [...session.step(tokens.slice(0, 20))];
for (const token of tokens.slice(20)) logits.push(...session.step([token]));
await writeFile(output, new Uint8Array(new Float32Array(logits).buffer));
