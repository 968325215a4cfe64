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
// taken or the tokenizer's end is reached. `stats` gets the numbers of tokens
// and the milliseconds of prompt and story.
export function* generate(model, tokenizer, prompt, {tokens, temperature = 0, stats = {}}) {
  const ids = tokenizer.encode(prompt);
  const session = model.openSession(ids.length + tokens);
  const decoder = tokenizer.decoder();
  try {
    let begin = performance.now();
    let logits = session.step(ids);
    Object.assign(stats, {prompt: ids.length, promptTime: performance.now() - begin, tokens: 0, time: 0, ids: []});
    for (;;) {
      const id = choose(logits, temperature);
      if (tokenizer.ends.includes(id)) break;
      stats.ids.push(id);
      yield decoder.push(id);
      if (++stats.tokens === tokens) break;
      begin = performance.now();
      logits = session.step([id]);
      stats.time += performance.now() - begin;
    }
    yield decoder.end();
  } finally {
    session.close();
  }
}
