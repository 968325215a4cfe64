#!/usr/bin/env python3
# ===- train.py - A small byte-level language model, from text to ONNX ------=== #
#
# Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------=== #
"""Trains the model of this folder and exports it as ONNX.

The model is a LLaMA-type decoder (RMSNorm, RoPE, grouped-query attention,
SwiGLU, tied embedding) over bytes: the vocabulary is 256, and byte 0, which no
text contains, begins every document. Its matrices have dimensions that are
multiples of 128, so that every block size and kernel tile divides them.

  train.py sample --teacher stories15M.bin --tokenizer tokenizer.model -o more.txt
  train.py train more.txt stories.txt:240 --steps 1000 -o checkpoint.pt
  train.py export checkpoint.pt -o model.onnx
  train.py write checkpoint.pt --documents 60 -o eval.txt

A text file holds documents separated by `<|endoftext|>`; FILE:N takes the first
N. `sample` is only needed to have more text: it writes what a teacher in
llama2.c's format says. Needs torch, transformers, onnx, onnxscript and, for
`sample`, sentencepiece.
"""
import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

SEPARATOR = "<|endoftext|>"
BOS = 0
CONTEXT = 512


# ---- Text --------------------------------------------------------------------

def read_documents(spec):
    """The documents of FILE or, for FILE:N, its first N, as bytes."""
    name, colon, count = spec.rpartition(":")
    path, limit = (name, int(count)) if colon and count.isdigit() else (spec, None)
    text = Path(path).read_text(encoding="utf-8")
    documents = [d.strip() for d in text.split(SEPARATOR)]
    documents = [d.encode() for d in documents if d][:limit]
    if any(b"\0" in d for d in documents):
        raise SystemExit(f"{path}: byte 0 separates documents and may not occur in one")
    return documents


class Windows:
    """Random windows of CONTEXT + 1 bytes: half begin with a document, as the
    model is used, half anywhere, so that ends of stories are seen as often."""

    def __init__(self, documents, seed):
        self.random = np.random.default_rng(seed)
        order = self.random.permutation(len(documents))
        stream = b"".join(b"\0" + documents[i] for i in order)
        stream += b"\0" + documents[order[0]]
        self.stream = np.frombuffer(stream + bytes(CONTEXT), dtype=np.uint8)
        starts = np.flatnonzero(self.stream[: len(stream)] == BOS)
        self.starts = starts[starts + CONTEXT < len(stream)]
        self.size = len(stream) - CONTEXT

    def batch(self, count):
        begin = np.where(self.random.random(count) < 0.5,
                         self.random.choice(self.starts, count),
                         self.random.integers(0, self.size, count))
        rows = np.stack([self.stream[b : b + CONTEXT + 1] for b in begin])
        rows = torch.from_numpy(rows.astype(np.int64))
        return rows[:, :-1], rows[:, 1:]


# ---- Models ------------------------------------------------------------------

def make_student():
    from transformers import LlamaConfig, LlamaForCausalLM
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=256, hidden_size=256, intermediate_size=640,
        num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, max_position_embeddings=1024, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=BOS,
        pad_token_id=None))


def load_student(path):
    model = make_student()
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    return model.eval(), state


def load_teacher(path):
    """A checkpoint of llama2.c: seven int32, then fp32 tensors, kind by kind."""
    from transformers import LlamaConfig, LlamaForCausalLM
    header = np.fromfile(path, dtype=np.int32, count=7)
    dim, hidden, layers, heads, kv_heads, vocab, context = map(int, header)
    data = np.memmap(path, dtype=np.float32, mode="r", offset=28)
    at, head = 0, dim // heads

    def take(*shape):
        nonlocal at
        count = math.prod(shape)
        at += count
        return torch.from_numpy(np.array(data[at - count : at]).reshape(shape))

    def halves(w, n):
        """llama2.c rotates neighbouring pairs, transformers the two halves."""
        w = w.view(layers, n, head // 2, 2, dim)
        return w.transpose(2, 3).reshape(layers, n * head, dim)

    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=abs(vocab), hidden_size=dim, intermediate_size=hidden,
        num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, max_position_embeddings=context,
        rms_norm_eps=1e-5, tie_word_embeddings=vocab > 0,
        bos_token_id=1, eos_token_id=1, pad_token_id=0)).eval()
    state = {"model.embed_tokens.weight": take(abs(vocab), dim)}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    kv = kv_heads * head
    tensors = [("input_layernorm", take(layers, dim)),
               ("self_attn.q_proj", halves(take(layers, dim, dim), heads)),
               ("self_attn.k_proj", halves(take(layers, kv, dim), kv_heads)),
               ("self_attn.v_proj", take(layers, kv, dim)),
               ("self_attn.o_proj", take(layers, dim, dim)),
               ("post_attention_layernorm", take(layers, dim)),
               ("mlp.gate_proj", take(layers, hidden, dim)),
               ("mlp.down_proj", take(layers, dim, hidden)),
               ("mlp.up_proj", take(layers, hidden, dim))]
    for name, tensor in tensors:
        for i in range(layers):
            state[f"model.layers.{i}.{name}.weight"] = tensor[i]
    state["model.norm.weight"] = take(dim)
    model.load_state_dict(state)
    return model


# ---- Commands ----------------------------------------------------------------

def sample(args):
    """Writes what the teacher says, batch by batch."""
    import sentencepiece
    tokenizer = sentencepiece.SentencePieceProcessor(str(args.tokenizer))
    teacher = load_teacher(args.teacher)
    context = teacher.config.max_position_embeddings
    torch.manual_seed(args.seed)
    begun, written = time.time(), 0
    with open(args.output, "w", encoding="utf-8") as out:
        while written < args.samples:
            rows = min(args.batch, args.samples - written)
            with torch.inference_mode():
                ids = teacher.generate(
                    torch.full((rows, 1), 1), attention_mask=torch.ones(rows, 1, dtype=torch.int64),
                    do_sample=True, top_k=0, top_p=1.0,
                    temperature=args.temperature, max_length=context)
            for row in ids.tolist():
                # A story that was cut at the context ends in mid-sentence; it
                # is kept up to its last full stop.
                row = row[1:] + [1] if 1 in row[1:] else row[1:]
                whole = 1 in row
                text = tokenizer.decode(row[: row.index(1)] if whole else row)
                if not whole:
                    text = text[: max(text.rfind(c) for c in '.!?"') + 1]
                out.write(text.strip() + "\n" + SEPARATOR + "\n")
            written += rows
            out.flush()
            print(f"{written} documents, {time.time() - begun:.0f} s", flush=True)


def train(args):
    """Muon for the matrices of the layers, AdamW for the rest, cosine decay.
    Writes a checkpoint every `--every` steps and goes on from one that is
    there."""
    documents = [d for spec in args.text for d in read_documents(spec)]
    held, rest = documents[: args.held_out], documents[args.held_out :]
    facts = {"documents": len(rest), "bytes": sum(map(len, rest)), "steps": 0,
             "seconds": 0, "train_nll": None}

    torch.manual_seed(args.seed)
    model = make_student()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "layers" not in n]
    facts["parameters"] = sum(p.numel() for p in model.parameters())
    optimizers = [
        torch.optim.Muon(matrices, lr=args.rate, weight_decay=0.05,
                         adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=args.rate, betas=(0.9, 0.95), weight_decay=0.0)]
    if Path(args.output).exists():
        state = torch.load(args.output, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        facts = state["facts"]
    print(facts, flush=True)

    def loss_of(inputs, targets):
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
            logits = model(input_ids=inputs, use_cache=False).logits
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten())

    held = Windows(held, args.seed).batch(16)
    windows = Windows(rest, args.seed + facts["steps"])
    mean, before, begun = facts["train_nll"], facts["seconds"], time.time()
    for step in range(facts["steps"], args.steps):
        scale = min(1.0, (step + 1) / 50)
        scale *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = args.rate * scale
        loss = loss_of(*windows.batch(args.batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % args.every and step + 1 < args.steps:
            continue
        with torch.inference_mode():
            held_loss = loss_of(*held).item()
        facts |= {"steps": step + 1, "tokens": (step + 1) * args.batch * CONTEXT,
                  "seconds": before + round(time.time() - begun),
                  "train_nll": round(mean, 4), "held_out_nll": round(held_loss, 4)}
        print(facts, flush=True)
        partial = Path(args.output).with_suffix(".partial")
        torch.save({"model": model.state_dict(), "facts": facts,
                    "optimizers": [o.state_dict() for o in optimizers]}, partial)
        partial.rename(args.output)


class WithCache(torch.nn.Module):
    """Tokens, mask, positions and past keys and values in; logits and present
    keys and values out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, past):
        from transformers import DynamicCache
        cache = DynamicCache()
        for layer, (key, value) in enumerate(past):
            cache.update(key, value, layer)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask,
                         position_ids=position_ids, past_key_values=cache,
                         use_cache=True)
        return out.logits, [(l.keys, l.values) for l in out.past_key_values.layers]


def export(args):
    """PyTorch's current exporter; batch, sequence and past stay symbolic."""
    model, _ = load_student(args.checkpoint)
    config = model.config
    layers, batch, tokens, past = config.num_hidden_layers, 2, 5, 3
    shape = (batch, config.num_key_value_heads, past, config.head_dim)
    inputs = (torch.randint(1, 256, (batch, tokens)),
              torch.ones(batch, past + tokens, dtype=torch.int64),
              torch.arange(past, past + tokens).repeat(batch, 1),
              [(torch.randn(shape), torch.randn(shape)) for _ in range(layers)])
    dims = {"input_ids": {0: "batch", 1: "sequence"},
            "attention_mask": {0: "batch", 1: "total"},
            "position_ids": {0: "batch", 1: "sequence"},
            "past": [({0: "batch", 2: "past"}, {0: "batch", 2: "past"})] * layers}
    pairs = [f"{i}.{kind}" for i in range(layers) for kind in ("key", "value")]
    torch.onnx.export(
        WithCache(model).eval(), inputs, args.output, dynamo=True, opset_version=18,
        dynamic_shapes=dims, external_data=False, verbose=False,
        input_names=["input_ids", "attention_mask", "position_ids"]
        + [f"past_key_values.{p}" for p in pairs],
        output_names=["logits"] + [f"present.{p}" for p in pairs])
    print(f"{args.output}: {Path(args.output).stat().st_size} bytes")


def write(args):
    """Documents as the model itself writes them: what it is evaluated on."""
    model, _ = load_student(args.checkpoint)
    torch.manual_seed(args.seed)
    documents = []
    while len(documents) < args.documents:
        with torch.inference_mode():
            ids = model.generate(
                torch.zeros(32, 1, dtype=torch.int64),
                attention_mask=torch.ones(32, 1, dtype=torch.int64),
                do_sample=True, top_k=0, top_p=1.0, temperature=args.temperature, max_length=CONTEXT + 1,
                pad_token_id=BOS, eos_token_id=BOS)
        for row in ids[:, 1:].tolist():
            row = row[: row.index(BOS)] if BOS in row else row
            text = bytes(row).decode("utf-8", errors="ignore").strip()
            if text and SEPARATOR not in text:
                documents.append(text)
    text = f"\n{SEPARATOR}\n".join(documents[: args.documents])
    Path(args.output).write_text(text + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are")
    parser.add_argument("--seed", type=int, default=1)
    commands = parser.add_subparsers(required=True)

    p = commands.add_parser("sample", help="write text of a teacher")
    p.add_argument("--teacher", required=True)
    p.add_argument("--tokenizer", required=True, help="its SentencePiece model")
    p.add_argument("--samples", type=int, default=2048)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--temperature", type=float, default=0.9)
    p.add_argument("-o", "--output", required=True)
    p.set_defaults(run=sample)

    p = commands.add_parser("train", help="train on text files")
    p.add_argument("text", nargs="+", metavar="FILE[:N]")
    p.add_argument("--steps", type=int, default=1000)
    p.add_argument("--batch", type=int, default=8, help="windows of 512 bytes a step")
    p.add_argument("--rate", type=float, default=3e-3)
    p.add_argument("--bfloat16", action="store_true", help="matrix products in bfloat16")
    p.add_argument("--every", type=int, default=25)
    p.add_argument("--held-out", type=int, default=32, metavar="DOCUMENTS",
                   help="keep the first ones out, to measure on")
    p.add_argument("-o", "--output", required=True)
    p.set_defaults(run=train)

    p = commands.add_parser("export", help="checkpoint to ONNX")
    p.add_argument("checkpoint")
    p.add_argument("-o", "--output", required=True)
    p.set_defaults(run=export)

    p = commands.add_parser("write", help="documents sampled from a checkpoint")
    p.add_argument("checkpoint")
    p.add_argument("--documents", type=int, default=64)
    p.add_argument("--temperature", type=float, default=1.0)
    p.add_argument("-o", "--output", required=True)
    p.set_defaults(run=write)

    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.run(args)


if __name__ == "__main__":
    main()
