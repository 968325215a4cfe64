// Loads what `miura compile MODEL --target wasm32 -o OUT.wasm` writes and steps
// it: the functions of include/miura-c/artifact.h, which the module exports. It
// imports nothing. Works in browsers and in Node.

// `code`: the bytes of OUT.wasm; `weights`: a stream of those of OUT.wasm.weights;
// `progress(have, all)` is called as they come in. Failures are exceptions with
// the library's own message.
export async function openModel(code, weights, progress = () => {}) {
  const {instance} = await WebAssembly.instantiate(code, {});
  const c = instance.exports;
  // The memory moves when it grows: views are made anew after every call.
  const view = (Type, at, length) => new Type(c.memory.buffer, at >>> 0, length);
  const check = (good) => {
    if (good) return good;
    const text = view(Uint8Array, c.miura_error(), 512);
    throw new Error(new TextDecoder().decode(text.slice(0, text.indexOf(0))));
  };
  const bytes = Number(c.miura_weights_bytes()), memory = check(c.miura_weights_memory());
  let have = 0;
  for (const reader = weights.getReader(); ;) {
    const {done, value} = await reader.read();
    if (!done && have + value.length <= bytes)
      view(Uint8Array, memory, bytes).set(value, have);
    have += done ? 0 : value.length;
    if (have > bytes || (done && have < bytes))
      throw new Error(`the weights have ${have} bytes, but the module was compiled with ${bytes}`);
    if (done) break;
    progress(have, bytes);
  }
  const model = check(c.miura_open(0, 1));
  const [vocabulary, , context] = Array.from(view(BigInt64Array, c.miura_model_get_info(model), 3), Number);
  return {
    vocabulary,
    context, // Tokens that the model was made for, or 0.
    // Room for `capacity` tokens: its step takes token ids and gives the logits
    // after the last of them, a view that is valid until the next step.
    openSession(capacity) {
      const session = check(c.miura_session_create(model, 1n, BigInt(capacity)));
      const logits = check(c.miura_allocate(8n)), tokens = check(c.miura_allocate(8n * BigInt(capacity)));
      return {
        step(ids) {
          if (ids.length > capacity) throw new Error(`${ids.length} tokens in a session of ${capacity}`);
          view(BigInt64Array, tokens, ids.length).set(ids.map(BigInt));
          check(!c.miura_session_step(session, tokens, BigInt(ids.length), 0, 0, logits));
          return view(Float32Array, view(Uint32Array, logits, 1)[0], vocabulary);
        },
        close() {
          c.miura_session_destroy(session);
          [logits, tokens].forEach(c.miura_release);
        },
      };
    },
  };
}
