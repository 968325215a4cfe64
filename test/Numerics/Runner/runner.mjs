// The other side of RemoteMachine.h for WebAssembly, in Node: keeps kernels and
// buffers, and answers requests. There are no threads and no pages that can be
// closed: a team is one thread, and between buffers lie 4096 bytes of NaN, which
// are looked at for writes and spoil what reads them. What goes beyond the
// memory ends the process.
import {readFileSync, readSync, writeSync} from 'node:fs';

const GAP = 4096, FILL = 0xff;
const kernels = [];
let buffers = [];

function receive(count) {
  const bytes = Buffer.alloc(count);
  for (let at = 0; at < count;) {
    const got = readSync(0, bytes, at, count - at, null);
    if (got === 0) process.exit(0); // Nobody asks any more.
    at += got;
  }
  return bytes;
}
const receive32 = () => receive(4).readUInt32LE();
const receive64 = () => Number(receive(8).readBigUInt64LE());

function send(bytes) {
  for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at, bytes.length - at);
}

function load() {
  const path = receive(receive32()).toString();
  let number = 0xffffffff;
  try {
    const module = new WebAssembly.Module(readFileSync(path));
    const {exports} = new WebAssembly.Instance(module, {env: {miura_barrier() {}}});
    number = kernels.push(exports) - 1;
  } catch (error) {
    console.error(`runner: ${error.message}`);
  }
  const answer = Buffer.alloc(4);
  answer.writeUInt32LE(number);
  send(answer);
}

function takeBuffers() {
  const count = receive32();
  buffers = Array.from({length: count}, () => receive(receive64()));
}

function run() {
  const kernel = kernels[receive32()], threads = receive32(), output = receive32();
  if (threads !== 1) throw new Error('there is one thread');
  buffers[output] = receive(receive64());
  const count = receive32(), words = receive(12 * count);
  // Buffers at multiples of 64, a gap before and behind each, then the words.
  const align = (at) => Math.ceil(at / 64) * 64;
  const base = align(kernel.__heap_base.value);
  let end = base;
  const places = buffers.map(({length}) => {
    const place = align(end + GAP);
    end = place + length + GAP;
    return place;
  });
  const wordsAt = align(end);
  const {memory, kernel_words} = kernel;
  const missing = wordsAt + 8 * count - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  const all = new Uint8Array(memory.buffer);
  all.fill(FILL, base, wordsAt);
  buffers.forEach((buffer, i) => all.set(buffer, places[i]));
  const values = new BigInt64Array(memory.buffer, wordsAt, count);
  for (let i = 0; i < count; ++i) {
    const buffer = words.readInt32LE(12 * i + 8);
    values[i] = words.readBigInt64LE(12 * i) + BigInt(buffer < 0 ? 0 : places[buffer]);
  }
  values.set([0n, 0n, 1n], count - 3);
  kernel_words(wordsAt);
  let intact = 1, at = base;
  places.forEach((place, i) => {
    for (; at < place; ++at) if (all[at] !== FILL) intact = 0;
    at = place + buffers[i].length;
  });
  for (; at < wordsAt; ++at) if (all[at] !== FILL) intact = 0;
  send(Buffer.from([intact]));
  send(all.slice(places[output], places[output] + buffers[output].length));
}

const requests = {L: load, P: takeBuffers, R: run};
for (;;) requests[receive(1).toString()]();
