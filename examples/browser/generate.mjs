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

const usage = 'generate.mjs MODEL.wasm [--tokenizer FILE.model] [--prompt TEXT] [--tokens N] [--stats]';

// What is wrong with the command line: a message and how it is meant, not a stack.
function refuse(message) {
  console.error(`generate: ${message}\nusage: node ${usage}`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        tokenizer: {type: 'string'},
        prompt: {type: 'string', default: 'Once upon a time'},
        tokens: {type: 'string', default: '100'},
        stats: {type: 'boolean', default: false},
      },
    });
  } catch (error) {
    return refuse(error.message);
  }
}

const {values: options, positionals} = readArguments();
const [path] = positionals;
if (positionals.length !== 1)
  refuse(path ? `expected one .wasm file, but got ${positionals.length}` : 'needs the name of a .wasm file');
try {
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
