#!/usr/bin/env node
// Opens the page in headless Chromium, lets it write, prints the story and keeps
// a screenshot:
//
//   node chromium.mjs MODEL.wasm [--tokenizer FILE.model] [--prompt TEXT] [--tokens N]
//                     [--screenshot FILE.png] [--stats]
//
// Serves the page and the model's files on a port of this machine, drives the
// browser through its DevTools pipe, and needs nothing but Node and Chromium.
import {spawn} from 'node:child_process';
import {createServer} from 'node:http';
import {createReadStream} from 'node:fs';
import {mkdtemp, rm, stat, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

const {values: options, positionals: [path]} = parseArgs({
  allowPositionals: true,
  options: {
    tokenizer: {type: 'string'},
    prompt: {type: 'string', default: 'Once upon a time'},
    tokens: {type: 'string', default: '100'},
    screenshot: {type: 'string'},
    stats: {type: 'boolean', default: false},
    browser: {type: 'string', default: 'chromium'},
  },
});

// The page's files by their names, and the model's.
function serve() {
  const types = {'.html': 'text/html', '.js': 'text/javascript', 'wasm': 'application/wasm'};
  const files = {'/model.wasm': path, '/model.wasm.weights': `${path}.weights`, '/tokenizer.model': options.tokenizer};
  for (const name of ['index.html', 'miura.js', 'tokenizer.js', 'generate.js'])
    files[`/${name}`] = fileURLToPath(new URL(name, import.meta.url));
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, 'http://localhost').pathname;
    const size = files[name] && (await stat(files[name]).catch(() => null))?.size;
    if (size === undefined || size === null) return response.writeHead(404).end();
    const type = Object.entries(types).find(([end]) => name.endsWith(end))?.[1] ?? 'application/octet-stream';
    response.writeHead(200, {'Content-Type': type, 'Content-Length': size});
    createReadStream(files[name]).pipe(response);
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)));
}

// A browser and a function that sends it a command of the DevTools protocol.
// Messages on its pipe end with a zero byte.
function launch(profile) {
  const child = spawn(options.browser, [
    '--headless=new', '--remote-debugging-pipe', '--no-first-run', '--disable-gpu', '--hide-scrollbars',
    '--disable-background-networking', '--disable-component-update', '--disable-extensions',
    '--disable-dev-shm-usage', `--user-data-dir=${profile}`, '--window-size=900,700',
    // The sandbox does not start for root, which tests often run as; the page is ours.
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), 'about:blank',
  ], {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
  const waiting = new Map();
  let last = 0, buffer = Buffer.alloc(0);
  const fail = (error) => {
    for (const {reject} of waiting.values()) reject(error);
    waiting.clear();
  };
  child.on('error', (error) => fail(new Error(`cannot start ${options.browser}: ${error.message}`)));
  child.on('exit', (code) => fail(new Error(`${options.browser} ended with ${code}`)));
  child.stdio[3].on('error', fail);
  child.stdio[4].on('data', (data) => {
    buffer = Buffer.concat([buffer, data]);
    for (let end; (end = buffer.indexOf(0)) >= 0; buffer = buffer.subarray(end + 1)) {
      const message = JSON.parse(buffer.subarray(0, end));
      const call = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) call?.reject(new Error(message.error.message));
      else call?.resolve(message.result);
    }
  });
  const send = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
    waiting.set(++last, {resolve, reject});
    child.stdio[3].write(`${JSON.stringify({id: last, method, params, sessionId})}\0`);
  });
  return {child, send};
}

async function run(send, url) {
  const {targetId} = await send('Target.createTarget', {url: 'about:blank'});
  const {sessionId} = await send('Target.attachToTarget', {targetId, flatten: true});
  const {errorText} = await send('Page.navigate', {url}, sessionId);
  if (errorText) throw new Error(`${url}: ${errorText}`);
  // Runs in the page, as somebody who waits, writes and presses the button.
  const visit = async (prompt, tokens) => {
    const reach = async (states) => {
      while (!states.includes(document.body?.dataset.state)) await new Promise((done) => setTimeout(done, 20));
      if (document.body.dataset.state === 'failed') throw new Error(document.getElementById('status').textContent);
    };
    await reach(['ready', 'failed']);
    document.getElementById('prompt').value = prompt;
    document.getElementById('tokens').value = tokens;
    document.getElementById('go').click();
    await reach(['done', 'failed']);
    return {story: document.getElementById('story').textContent, status: document.getElementById('status').textContent};
  };
  const call = `(${visit})(${JSON.stringify(options.prompt)}, ${JSON.stringify(options.tokens)})`;
  const answer = await send('Runtime.evaluate', {expression: call, awaitPromise: true, returnByValue: true}, sessionId);
  if (options.screenshot) {
    const {data} = await send('Page.captureScreenshot', {format: 'png'}, sessionId);
    await writeFile(options.screenshot, Buffer.from(data, 'base64'));
  }
  if (answer.exceptionDetails)
    throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text);
  return answer.result.value;
}

// A browser that hangs must not hang whoever waits for it.
const MOST_SECONDS = 300;

const profile = await mkdtemp(join(tmpdir(), 'miura-chromium-'));
let server, browser, watch;
try {
  if (!path) throw new Error('needs the name of a .wasm file');
  server = await serve();
  browser = launch(profile);
  watch = setTimeout(() => browser.child.kill('SIGKILL'), 1000 * MOST_SECONDS);
  const query = options.tokenizer ? '?tokenizer=tokenizer.model' : '';
  const {story, status} = await run(browser.send, `http://127.0.0.1:${server.address().port}/index.html${query}`);
  console.log(story.slice(options.prompt.length));
  if (options.stats) console.error(status);
} catch (error) {
  console.error(`chromium: ${error.message}`);
  process.exitCode = 1;
} finally {
  clearTimeout(watch);
  if (browser && browser.child.exitCode === null && browser.child.pid) {
    const ended = new Promise((done) => browser.child.once('exit', done));
    browser.send('Browser.close').catch(() => {});
    const timer = setTimeout(() => browser.child.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(timer);
  }
  server?.closeAllConnections();
  server?.close();
  await rm(profile, {recursive: true, force: true, maxRetries: 5});
}
