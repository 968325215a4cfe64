#!/usr/bin/env node
// Text from a model that was compiled for wasm32, in Node, with the files that
// the page uses:
//
//   node generate.mjs MODEL.wasm [--tokenizer FILE.model] [--prompt TEXT] [--tokens N] [--stats]
//
// Writes what follows the prompt; with --stats, the rate to standard error.
import {readFile, open} from 'node:fs/promises';
import {parseArgs} from 'node:util';
import {openModel} from './miura.js';
import {bytesTokenizer, sentencePieceTokenizer} from './tokenizer.js';
import {generate} from './generate.js';

const {values: options, positionals: [path]} = parseArgs({
  allowPositionals: true,
  options: {
    tokenizer: {type: 'string'},
    prompt: {type: 'string', default: 'Once upon a time'},
    tokens: {type: 'string', default: '100'},
    stats: {type: 'boolean', default: false},
  },
});
try {
  if (!path) throw new Error('needs the name of a .wasm file');
  const weights = await open(path + '.weights');
  const model = await openModel(await readFile(path), weights.readableWebStream({type: 'bytes'}));
  const tokenizer = options.tokenizer
    ? sentencePieceTokenizer(new Uint8Array(await readFile(options.tokenizer)))
    : bytesTokenizer();
  const stats = {};
  for (const piece of generate(model, tokenizer, options.prompt, {tokens: Number(options.tokens), stats}))
    process.stdout.write(piece);
  process.stdout.write('\n');
  if (options.stats)
    console.error(`${stats.tokens} tokens, ${(1000 * (stats.tokens - 1) / stats.time).toFixed(1)} tokens/s`);
  await weights.close();
} catch (error) {
  console.error(`generate: ${error.message}`);
  process.exitCode = 1;
}
