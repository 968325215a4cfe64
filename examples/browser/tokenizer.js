// Text to token ids and back, for the two kinds of tokenizer that fit on a page:
// bytes, and SentencePiece's byte pair encoding (LLaMA's .model files), after
// Sennrich et al., arXiv:1508.07909, with the pieces' scores as priorities.
// Both have encode(text), ends (ids that end a text) and decoder(), which turns
// ids into text as they come.

// Ids are bytes; byte 0, which no text has, begins a document and ends it.
export function bytesTokenizer() {
  return {
    encode: (text) => [0, ...new TextEncoder().encode(text)],
    ends: [0],
    decoder: () => makeDecoder((id) => [id]),
  };
}

function makeDecoder(bytesOf) {
  const decoder = new TextDecoder();
  return {
    push: (id) => decoder.decode(new Uint8Array(bytesOf(id)), {stream: true}),
    end: () => decoder.decode(),
  };
}

// The fields of a protocol buffer's message: [number, value], where a value is a
// number (varint or float) or bytes.
function* fields(bytes) {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = data.getUint8(at++);
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte > 127);
    return value;
  };
  while (at < bytes.length) {
    const key = varint(), field = Math.floor(key / 8), size = {0: 0, 1: 8, 2: 0, 5: 4}[key % 8];
    if (size === undefined) throw new Error('the tokenizer is no SentencePiece model');
    if (key % 8 === 0) {
      yield [field, varint()];
    } else if (key % 8 === 2) {
      const length = varint();
      yield [field, bytes.subarray(at, at + length)];
      at += length;
    } else {
      yield [field, size === 4 ? data.getFloat32(at, true) : data.getFloat64(at, true)];
      at += size;
    }
  }
}

// `bytes`: a SentencePiece .model whose kind is BPE and whose normalizer leaves
// the text as it is; others are an error.
export function sentencePieceTokenizer(bytes) {
  const NORMAL = 1, CONTROL = 3, USER = 4, BYTE = 6, BPE = 2, SPACE = '\u2581';
  const text = (value) => new TextDecoder().decode(value);
  const pieces = [];
  let kind = 1, prefix = true, strips = true, normalizer = '';
  for (const [field, value] of fields(bytes)) {
    if (field === 1) {
      const piece = {text: '', score: 0, type: NORMAL};
      for (const [part, content] of fields(value)) {
        if (part === 1) piece.text = text(content);
        if (part === 2) piece.score = content;
        if (part === 3) piece.type = content;
      }
      pieces.push(piece);
    } else if (field === 2) {
      for (const [part, content] of fields(value)) if (part === 3) kind = content;
    } else if (field === 3) {
      for (const [part, content] of fields(value)) {
        if (part === 1) normalizer = text(content);
        if (part === 3) prefix = content !== 0;
        if (part === 4) strips = content !== 0;
      }
    }
  }
  if (kind !== BPE || normalizer !== 'identity' || strips || pieces.some((p) => p.type === USER))
    throw new Error('the page knows SentencePiece models of byte pairs without normalization and user-defined pieces only');
  const ids = new Map(), byteIds = new Map();
  pieces.forEach((piece, id) => {
    if (piece.type === NORMAL) ids.set(piece.text, id);
    if (piece.type === BYTE) byteIds.set(parseInt(piece.text.slice(3, 5), 16), id);
  });
  const control = (name) => pieces.findIndex((p) => p.type === CONTROL && p.text === name);
  const begin = control('<s>'), end = control('</s>');
  return {
    encode(input) {
      const symbols = [...(prefix && input ? ' ' : '') + input].map((c) => (c === ' ' ? SPACE : c));
      // The pair with the best score first, of equal ones the leftmost.
      for (;;) {
        let best = -1, bestScore = -Infinity;
        for (let i = 0; i + 1 < symbols.length; ++i) {
          const id = ids.get(symbols[i] + symbols[i + 1]);
          if (id !== undefined && pieces[id].score > bestScore) [best, bestScore] = [i, pieces[id].score];
        }
        if (best < 0) break;
        symbols.splice(best, 2, symbols[best] + symbols[best + 1]);
      }
      const encoded = symbols.flatMap((symbol) =>
        ids.has(symbol) ? [ids.get(symbol)] : [...new TextEncoder().encode(symbol)].map((byte) => byteIds.get(byte) ?? 0));
      return begin < 0 ? encoded : [begin, ...encoded];
    },
    ends: end < 0 ? [] : [end],
    decoder: () => makeDecoder((id) => {
      const piece = pieces[id];
      if (piece.type === BYTE) return [parseInt(piece.text.slice(3, 5), 16)];
      return piece.type === NORMAL ? new TextEncoder().encode(piece.text.replaceAll(SPACE, ' ')) : [];
    }),
  };
}
