// What a module imports and exports, and what its interface says of mistakes.
//
//   node wasm_module.mjs MODEL.wasm
import {readFile} from 'node:fs/promises';
import {openModel} from '../../../examples/browser/miura.js';

const path = process.argv[2];
const code = await readFile(path), weights = await readFile(`${path}.weights`);
const module = new WebAssembly.Module(code);
console.log('imports:', WebAssembly.Module.imports(module).length);
console.log('exports:', WebAssembly.Module.exports(module).map((e) => e.name).sort().join(' '));

const expectError = async (what, action) => {
  try {
    await action();
    console.log(`${what}: no error`);
  } catch (error) {
    console.log(`${what}: ${error.message}`);
  }
};
const open = (bytes) => openModel(code, new Blob([bytes]).stream());
await expectError('cut', () => open(weights.subarray(0, weights.length - 1)));
await expectError('long', () => open(Buffer.concat([weights, Buffer.alloc(1)])));
const other = Buffer.from(weights);
other[8] ^= 1;
await expectError('other', () => open(other));

const model = await open(weights);
console.log('vocabulary:', model.vocabulary);
const session = model.openSession(4);
await expectError('full', () => session.step([1, 2, 3, 4, 5]));
await expectError('token', () => session.step([1, model.vocabulary]));
const first = Array.from(session.step([1, 2, 3]));
await expectError('room', () => session.step([1, 2]));
session.close();
// Memory that was given back is used again, and sessions do not remember.
for (let i = 0; i < 50; ++i) {
  const again = model.openSession(4096);
  again.step([5]);
  again.close();
}
const again = model.openSession(4);
again.step([1]);
again.step([2]);
const second = again.step([3]);
const scale = Math.max(...first.map(Math.abs));
const worst = Math.max(...first.map((x, i) => Math.abs(x - second[i]))) / scale;
console.log('token by token:', worst < 1e-5 ? 'equal' : worst);
await expectError('huge', () => model.openSession(2 ** 40));
