// Text from a model, token by token: what the page and generate.mjs share.

// The most likely token, or with a temperature above 0 one drawn from
// softmax(logits / temperature).
function choose(logits, temperature) {
  let best = 0;
  for (let i = 1; i < logits.length; ++i)
    if (logits[i] > logits[best]) best = i;
  if (!(temperature > 0)) return best;
  const weight = (i) => Math.exp((logits[i] - logits[best]) / temperature);
  let sum = 0;
  for (let i = 0; i < logits.length; ++i) sum += weight(i);
  let left = Math.random() * sum;
  for (let i = 0; i < logits.length; ++i)
    if ((left -= weight(i)) < 0) return i;
  return best;
}

// Yields the text that follows `prompt`, in pieces, until `tokens` tokens were
// taken, the tokenizer's end is reached or the model's context is full. `stats` gets the numbers of tokens
// and the milliseconds of prompt and story.
export function* generate(model, tokenizer, prompt, {tokens, temperature = 0, stats = {}}) {
  const ids = tokenizer.encode(prompt);
  if (!(Number.isInteger(tokens) && tokens > 0)) throw new Error('the number of tokens is a whole number above 0');
  if (!ids.length) throw new Error('the prompt has no token');
  let room = ids.length + tokens - 1; // The last token need not be kept.
  if (model.context) room = Math.min(room, model.context);
  if (room < ids.length) throw new Error(`the prompt has ${ids.length} tokens, but the model was made for ${room}`);
  const session = model.openSession(room);
  const decoder = tokenizer.decoder();
  ids.forEach(decoder.push); // A character may begin in the prompt.
  try {
    let begin = performance.now();
    let logits = session.step(ids);
    Object.assign(stats, {prompt: ids.length, promptTime: performance.now() - begin, tokens: 0, time: 0, ids: []});
    for (;;) {
      const id = choose(logits, temperature);
      if (tokenizer.ends.includes(id)) break;
      stats.ids.push(id);
      yield decoder.push(id);
      if (++stats.tokens > room - ids.length) break;
      begin = performance.now();
      logits = session.step([id]);
      stats.time += performance.now() - begin;
    }
    yield decoder.end();
  } finally {
    session.close();
  }
}
