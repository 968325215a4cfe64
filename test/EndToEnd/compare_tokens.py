"""Compares token ids and decoded texts with those of the Python packages `tokenizers` and `sentencepiece`.

    compare_tokens.py TOOL [--made FOLDER] [--model FILE.model | --json FILE.json] [--text FILE ...]

TOOL is miura-test-tokenizer. Texts are those of the files, whole and in documents, odd ones written down here, and random ones of many scripts.
--made trains byte-level tokenizers of the kinds that models have (GPT-2, LLaMA 3, Qwen, Falcon, StarCoder) on the texts and takes them all."""
import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ODD = [
    "", " ", "  ", "\n", "a", "Hello, world!", "I'll I'LL don't we've", "naïve café", "e\u0301\u0301 \u1100\u1161\u11a8", "日本語テキスト", "😀 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈",
    "\x00\x01\x02\x7f", "tab\ttab\n\n\n  x", "a" * 5000, "ab" * 3000, " " * 3000, "\n" * 2000, "1234567890 12,345.67", "<|im_start|>user\nHi<|im_end|>",
    "<|endoftext|><|endoftext|> x<|im_start|", "</s><s> <unk>", "\u0085\u00a0\u1680\u2003\u2028\u180e\u200b\ufeff x", "ſſ 'ſ K", "Ⅷ ² ³ ½ ٣", "\u00adİı",
    "ﷺ ﬁ Å ①", "한국어", "\ud7ff\ue000\U0010ffff", "x \n y \r\n z \r", "_foo_bar __init__", "/* C++ */ int main(){return 0;}\n\tfor(;;);", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙", "▁▁ ▁x", "<0x41><0xE2>",
    "مرحبا بالعالم", "हिन्दी", "ไทย", "\U00010348\U0001D54F", "\r\n\r\n", " \t ", "x" * 300 + " " + "y" * 300,
]
SCRIPTS = [range(0x20, 0x7f), range(0, 0x250), range(0x300, 0x370), range(0x4e00, 0x5000), range(0x1f300, 0x1f700), range(0x2000, 0x2070), [32, 10, 9, 13, 0xa0, 0x3000],
           range(0x600, 0x700), range(0x900, 0x980), range(0x48, 0x7b), range(0xac00, 0xad00), range(0, 0xd800), range(0x10000, 0x11000)]
GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def random_texts(count, seed):
    choose = random.Random(seed)
    for n in range(count):
        text = "".join(chr(choose.choice(choose.choice(choose.sample(SCRIPTS, 2)))) for _ in range(choose.randint(1, 60)))
        yield text + choose.choice(["<|im_end|>", "<|endoftext|>", "</s>", " <s> ", "<|pad|>", "  <mask>  "]) + text[::-1] if n % 3 == 0 else text


def make_tokenizers(folder, texts):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    level = lambda space=False, regex=False: pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=regex)
    split = lambda pattern, behavior="isolated": pre_tokenizers.Split(Regex(pattern), behavior)
    kinds = {
        "gpt2": (None, level(regex=True), {}),
        "roberta": (None, level(space=True, regex=True), {}),
        "llama3": (None, [split(GPT4), level()], {"ignore_merges": True}),
        "qwen": (normalizers.NFC(), [split(GPT4.replace(r"\p{N}{1,3}", r"\p{N}")), level()], {}),
        "falcon": (None, [pre_tokenizers.Punctuation("contiguous"), level(regex=True), pre_tokenizers.Digits(False), split("[0-9][0-9][0-9]")], {}),
        "starcoder": (normalizers.NFKC(), [pre_tokenizers.Digits(True), level(regex=True)], {}),
        "words": (normalizers.Sequence([normalizers.NFD(), normalizers.Replace("a", "e")]), [split(r"\s+", "merged_with_next"), split(r"\w", "merged_with_previous"), level()], {"unk_token": "<unk>"}),
    }
    for name, (normalizer, pre, options) in kinds.items():
        tokenizer = Tokenizer(models.BPE(**options))
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pre) if isinstance(pre, list) else pre
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=["<unk>", "<s>", "<|endoftext|>"], show_progress=False,
                                      initial_alphabet=[] if name == "words" else pre_tokenizers.ByteLevel.alphabet())
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<|im_start|>", rstrip=True), "<|im_end|>"])
        tokenizer.add_tokens([AddedToken("<|pad|>", single_word=True), AddedToken("é!", normalized=True), "user", AddedToken("don't", normalized=False)])
        if name == "llama3":
            tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])])
        path = folder / f"{name}.json"
        tokenizer.save(str(path))
        yield path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool")
    parser.add_argument("--made", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--text", type=Path, nargs="*", default=[])
    parser.add_argument("--random", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    whole = [path.read_bytes().decode() for path in a.text]
    texts = ODD + list(random_texts(a.random, a.seed)) + whole
    files = [p for p in (a.model, a.json) if p]
    if a.made:
        a.made.mkdir(parents=True, exist_ok=True)
        files += make_tokenizers(a.made, [t[:200000] for t in whole] + ODD)
    failed = False
    for path in files:
        if path.suffix == ".model":
            import sentencepiece
            reference = sentencepiece.SentencePieceProcessor(str(path))
            encode, decode = reference.encode, reference.decode
        else:
            import tokenizers
            reference = tokenizers.Tokenizer.from_file(str(path))
            encode, decode = lambda t: reference.encode(t, add_special_tokens=False).ids, reference.decode
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"".join(t.encode() + b"\xff" for t in texts))
            file.flush()
            result = subprocess.run([a.tool, str(path), file.name], capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{path.name}: {result.stderr}")
        lines, wrong, count = result.stdout.split("\n"), 0, 0
        for i, text in enumerate(texts):
            ids, expected = [int(x) for x in lines[2 * i].split()], encode(text)
            count += len(ids)
            decoded = bytes.fromhex(lines[2 * i + 1]).decode()
            if ids != expected or decoded != decode(expected):
                wrong += 1
                if wrong < 4:
                    at = next((k for k, (x, y) in enumerate(zip(ids, expected)) if x != y), None)
                    print(f"{path.name}: {text[:60]!r}: at {at} {ids[at or 0:][:12]}, expected {expected[at or 0:][:12]}, text {decoded[:60]!r}")
        print(f"{path.name}: {len(texts)} texts, {count} tokens: {f'{wrong} differ' if wrong else 'equal'}")
        failed |= wrong > 0
    sys.exit(failed)


main()
