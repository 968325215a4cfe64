// What a module imports and exports, and what its interface says of mistakes.
//
//   node wasm_module.mjs MODEL.wasm
import {readFile} from 'node:fs/promises';
import {generate} from '../../../examples/browser/generate.js';
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

// Memory: pieces at cache lines that do not overlap, and what is given back is
// taken again before the module grows.
const {exports: c} = new WebAssembly.Instance(module);
let seed = 1;
const draw = (below) => (seed = (seed * 48271) % 2147483647) % below;
const pieces = [];
let damage = 0, grown = 0;
for (let round = 0; round < 2; ++round) {
  for (let i = 0; i < 3000; ++i) {
    if (pieces.length && draw(5) < 2) {
      const {at, size, byte} = pieces.splice(draw(pieces.length), 1)[0];
      damage += new Uint8Array(c.memory.buffer, at, size).some((x) => x !== byte);
      c.miura_release(at);
    } else {
      const size = draw(20) ? draw(3000) : draw(300000), at = c.miura_allocate(BigInt(size)) >>> 0, byte = draw(256);
      damage += at === 0 || at % 64 !== 0;
      new Uint8Array(c.memory.buffer, at, size).fill(byte);
      pieces.push({at, size, byte});
    }
  }
  for (const {at} of pieces.splice(0)) c.miura_release(at);
  if (round === 0) grown = c.memory.buffer.byteLength;
}
// All of it in one piece again, but for a page and the header.
const whole = c.miura_allocate(BigInt(grown - c.miura_allocate(0n) - 65536));
console.log('memory:', damage, c.memory.buffer.byteLength <= 1.2 * grown && whole !== 0);
console.log('too much:', c.miura_allocate(2n ** 32n), c.miura_allocate(-1n));

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
// A temperature draws from softmax(logits / temperature): 3 to 1, 9 to 1, and
// without one the first of the most likely.
const share = (temperature, logits = [Math.log(3), 0]) => {
  const drawn = {}, fake = {context: 0, openSession: () => ({step: () => logits, close() {}})};
  const tokenizer = {encode: () => [0], ends: [], decoder: () => ({push: () => '', end: () => ''})};
  for (const piece of generate(fake, tokenizer, '', {tokens: 10000, temperature, stats: drawn})) void piece;
  return drawn.ids.filter((id) => id === 0).length / drawn.ids.length;
};
const near = (a, b) => (Math.abs(a - b) < 0.03 ? b : a);
console.log('shares:', near(share(1), 0.75), near(share(0.5), 0.9), share(0), share(0, [1, 1]));
await expectError('huge', () => model.openSession(2 ** 40));
