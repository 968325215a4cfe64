//===- MiuraModelOps.td - The model level: what a language model computes -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_MODEL_OPS_TD
#define MIURA_MODEL_OPS_TD

include "miura/Dialect/Miura/IR/MiuraOpBase.td"

class Miura_ModelOp<string mnemonic, list<Trait> traits = []>
    : Miura_Op<mnemonic, !listconcat([Pure], traits)>;

def Miura_LinearOp : Miura_ModelOp<"linear", [DeclareOpInterfaceMethods<Miura_Compressible>]> {
  let summary = "y = x Wᵀ (+ b)";
  let description = [{
    `result[…, o] = Σᵢ input[…, i] · weight[o, i] (+ bias[o])`. The weight is
    `out × in` and any weight expression. `id` identifies this use of the weight
    over all passes; `compute` says in what type activations enter and sums
    accumulate.

    ```mlir
    %y = miura.linear %x, %w id("model.layers.0.self_attn.q_proj.weight") compute(f32, f32)
           : (tensor<?x?x288xf32>, tensor<288x288xf32>) -> tensor<?x?x288xf32>
    ```
  }];
  let arguments = (ins Miura_FloatTensor:$input, Miura_FloatTensor:$weight,
                       Optional<Miura_FloatTensor>:$bias, StrAttr:$id, Miura_ComputeAttr:$compute);
  let results = (outs Miura_FloatTensor:$result);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Miura_ExpertLinearOp : Miura_ModelOp<"expert_linear", [DeclareOpInterfaceMethods<Miura_Compressible>]> {
  let summary = "Each row times the matrix of the expert that it chose";
  let description = [{
    `result[r, o] = Σᵢ input[r, i] · weight[experts[r], o, i] (+ bias[experts[r],
    o])`. The weight is `experts × out × in` and any weight expression of that
    shape; only the chosen experts' matrices are read.

    ```mlir
    %y = miura.expert_linear %x, %w at %experts id("mlp.experts.gate_up_proj") compute(f32, f32)
           : (tensor<?x64xf32>, tensor<8x128x64xf32>, tensor<?xi64>) -> tensor<?x128xf32>
    ```
    Source: Shazeer et al., arXiv:1701.06538, eq. (1).
  }];
  let arguments = (ins Miura_FloatTensor:$input, Miura_FloatTensor:$weight, Miura_IntTensor:$experts,
                       Optional<Miura_FloatTensor>:$bias, StrAttr:$id, Miura_ComputeAttr:$compute);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $weight `at` $experts (`,` $bias^)? `id` `(` $id `)` `compute` $compute attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Miura_EmbeddingOp : Miura_ModelOp<"embedding", [DeclareOpInterfaceMethods<Miura_Compressible>]> {
  let summary = "Rows of a weight by index";
  let description = [{
    `result[…, i] = weight[indices[…], i]`. The weight is `entries × size` and
    any weight expression. A negative index counts from the end, as in ONNX
    Gather.
  }];
  let arguments = (ins Miura_IntTensor:$indices, Miura_FloatTensor:$weight, StrAttr:$id);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $indices `,` $weight `id` `(` $id `)` attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Miura_RmsNormOp : Miura_ModelOp<"rms_norm", [AllTypesMatch<["input", "result"]>]> {
  let summary = "x / sqrt(mean(x²) + ε) ⊙ scale";
  let description = [{
    Over the last dimension, computed in f32.
    Source: Zhang and Sennrich, arXiv:1910.07467, eq. (4).
  }];
  let arguments = (ins Miura_FloatTensor:$input, Miura_FloatTensor:$scale, F64Attr:$epsilon);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$input `,` $scale `epsilon` $epsilon attr-dict `:` type($input) `,` type($scale)";
  let hasVerifier = 1;
}

def Miura_LayerNormOp : Miura_ModelOp<"layer_norm", [AllTypesMatch<["input", "result"]>]> {
  let summary = "(x − mean(x)) / sqrt(var(x) + ε) ⊙ scale (+ bias)";
  let description = [{
    Over the last dimension, computed in f32.
    Source: Ba et al., arXiv:1607.06450, eq. (4).
  }];
  let arguments = (ins Miura_FloatTensor:$input, Miura_FloatTensor:$scale,
                       Optional<Miura_FloatTensor>:$bias, F64Attr:$epsilon);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $scale (`,` $bias^)? `epsilon` $epsilon attr-dict
    `:` type($input) `,` type($scale) (`,` type($bias)^)?
  }];
  let hasVerifier = 1;
}

def Miura_SplitHeadsOp : Miura_ModelOp<"split_heads"> {
  let summary = "[batch, sequence, heads · size] as [batch, heads, sequence, size]";
  let description = "`result[b, h, t, d] = input[b, t, h·size + d]`.";
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Miura_MergeHeadsOp : Miura_ModelOp<"merge_heads"> {
  let summary = "[batch, heads, sequence, size] as [batch, sequence, heads · size]";
  let description = "`result[b, t, h·size + d] = input[b, h, t, d]`: undoes `miura.split_heads`.";
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Miura_RopeOp : Miura_ModelOp<"rope", [AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotary position embedding";
  let description = [{
    `result = x ⊙ cos + rotate(x) ⊙ sin` on the first r entries of the last
    dimension of `input`, `batch × heads × sequence × size`; the rest passes.
    cos and sin are `batch × sequence × r` (a batch of 1 is for all rows).
    `rotate(x) = [−x₂, x₁]` on the halves of the r entries, or, where
    `interleaved`, `(−x₂ᵢ₊₁, x₂ᵢ)` on pairs.
    Source: Su et al. (RoFormer), arXiv:2104.09864, eq. (34).
  }];
  let arguments = (ins Miura_FloatTensor:$input, Miura_FloatTensor:$cos, Miura_FloatTensor:$sin,
                       UnitAttr:$interleaved);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $cos `,` $sin (`interleaved` $interleaved^)? attr-dict `:` type($input) `,` type($cos) `,` type($sin)
  }];
  let hasVerifier = 1;
}

def Miura_PositionsOp : Miura_ModelOp<"positions"> {
  let summary = "Where each new token stands";
  let description = [{
    `result[b, t] = t + past`, where past is the size of dimension 2 of the
    operand `past`, a cache of `batch × heads × past × size`, or 0 without one;
    batch and sequence are those of `tokens`. A model that computes positions
    from the sizes of its inputs says so with this op; in a session they are the
    positions that the caller gives.
  }];
  let arguments = (ins AnyRankedTensor:$tokens, Optional<AnyRankedTensor>:$past);
  let results = (outs RankedTensorOf<[I64]>:$result);
  let assemblyFormat = [{
    $tokens (`after` $past^ `:` type($past))? attr-dict `:` type($tokens) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Miura_TakeNewOp : Miura_ModelOp<"take_new"> {
  let summary = "Of what is said of every key, the new tokens' part";
  let description = [{
    `result[b, t] = input[b, keys − sequence + t]`, where input is `batch × keys`
    and tokens `batch × sequence`. In a session keys are the slots of a cache and
    a new token's slot is `lengths[b] + t`.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$tokens, Optional<RankedTensorOf<[I64]>>:$lengths);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input `for` $tokens (`at` $lengths^ `:` type($lengths))? attr-dict
    `:` type($input) `,` type($tokens) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Miura_LinearBiasOp : Miura_ModelOp<"linear_bias"> {
  let summary = "A mask that grows with the place of the key, by a slope per head";
  let description = [{
    `result[0, h, 0, j] = slopes[h] · j` for the keys of `keys`, a tensor
    `batch × heads × keys × size` of which only the number of keys counts. In a
    session they are the slots of a cache.

    Attention with linear biases, Press et al. 2022 (ALiBi), section 3: there
    the bias is `−slope · (i − j)`, but what is the same for all keys of a query
    leaves a softmax as it is.
  }];
  let arguments = (ins AnyRankedTensor:$keys, DenseF32ArrayAttr:$slopes);
  let results = (outs RankedTensorOf<[F32]>:$result);
  let assemblyFormat = [{
    $keys `slopes` $slopes attr-dict `:` type($keys) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Miura_TakeRowsOp : Miura_ModelOp<"take_rows"> {
  let summary = "Rows of a small table by index";
  let description = [{
    `result[…, i] = table[indices[…], i]`. Unlike `miura.embedding`, the table
    is no weight that compression may change: angles of rotations, for example.
    A negative index counts from the end.
  }];
  let arguments = (ins Miura_IntTensor:$indices, Miura_FloatTensor:$table);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$indices `,` $table attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Miura_AttentionOp : Miura_ModelOp<"attention", [AttrSizedOperandSegments]> {
  let summary = "softmax(scale · q kᵀ + mask) v, with grouped heads";
  let description = [{
    query is `batch × heads × queries × size`, key `batch × kv_heads × keys ×
    size`, value `batch × kv_heads × keys × value size`; heads is a multiple of
    kv_heads, and query head h reads key head `h / (heads / kv_heads)`.
    Query i stands at position `keys − queries + i` among the keys.

    What a query sees:
    - `causal`: only keys at or before its own position;
    - `window w` (with causal): of these the last w;
    - `padding`, `batch × keys` of integers or i1: only keys where it is not 0;
    - `mask`, i1 or float, `batch|1 × heads|1 × queries|1 × keys|1`: only keys where it is
      true, or added to the scaled scores.
    `softcap c` (0: none) replaces a scaled score s by `c · tanh(s / c)` before
    the mask. Scores and sums are f32. A query that sees no key gives zeros, or,
    where there is `hidden`, what a softmax makes of all scores after the
    finite number `hidden` was added to each: the mean of all values, if the
    number is the lowest of f32, which swallows the scores; f16's lowest,
    −65504, only rounds them. With `hidden_once` two masks add it, one for
    window and causal and one for padding and causal, and what both hide is
    gone: the softmax is of the keys at or before the query that one mask hides.

    `sinks`, one number per head, are scores of a key that every query sees and
    whose value is zero: they take part in the softmax's sum only.

    A closed form (causal, window, padding) is an optimization of a mask: a mask
    that is not understood stays an operand.

    A file with static quantization rounds what passes through: `key_rounding`
    and `value_rounding` what is read of keys and values, `score_rounding` the
    scaled (and capped) scores before the mask, `weight_rounding` what the
    softmax gives.
    Source: Vaswani et al., arXiv:1706.03762, eq. (1); Ainslie et al. (GQA),
    arXiv:2305.13245, section 2.2; Xiao et al. (sinks), arXiv:2309.17453,
    section 3.3.
  }];
  let arguments = (ins Miura_FloatTensor:$query, Miura_FloatTensor:$key, Miura_FloatTensor:$value,
                       Optional<Miura_MaskTensor>:$mask, Optional<RankedTensorOf<[AnyInteger]>>:$padding,
                       Optional<Miura_FloatTensor>:$sinks,
                       F64Attr:$scale, UnitAttr:$causal,
                       DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<F64Attr, "0.0">:$softcap,
                       OptionalAttr<F64Attr>:$hidden,
                       UnitAttr:$hidden_once,
                       OptionalAttr<Miura_RoundingAttr>:$key_rounding,
                       OptionalAttr<Miura_RoundingAttr>:$value_rounding,
                       OptionalAttr<Miura_RoundingAttr>:$score_rounding,
                       OptionalAttr<Miura_RoundingAttr>:$weight_rounding);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^ `:` type($mask))? (`padding` $padding^ `:` type($padding))?
    (`sinks` $sinks^ `:` type($sinks))? `scale` $scale (`causal` $causal^)? attr-dict
    `:` type($query) `,` type($key) `,` type($value) `->` type($result)
  }];
  let extraClassDeclaration = [{
    /// Whether anything on the way from queries to the result is rounded.
    bool hasRounding() {
      return getKeyRounding() || getValueRounding() || getScoreRounding() ||
             getWeightRounding();
    }
  }];
  let hasVerifier = 1;
}

def Miura_FakeQuantizeOp : Miura_ModelOp<"fake_quantize", [SameOperandsAndResultType]> {
  let summary = "Values rounded to codes, as the numbers that the codes stand for";
  let description = [{
    Each element as its rounding says: a QuantizeLinear and its DequantizeLinear
    with one scale and one zero point for the whole tensor.

    ```mlir
    %y = miura.fake_quantize %x to <ui8, scale = 5.000000e-02 : f32, zero = 128> : tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins Miura_FloatTensor:$input, Miura_RoundingAttr:$rounding);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$input `to` $rounding attr-dict `:` type($input)";
}

def Miura_SiluOp : Miura_ModelOp<"silu", [SameOperandsAndResultType]> {
  let summary = "x · sigmoid(αx)";
  let description = [{
    With α = 1.702 an approximation of GELU. Source: Hendrycks and Gimpel,
    arXiv:1606.08415, section 2.
  }];
  let arguments = (ins Miura_FloatTensor:$input, DefaultValuedAttr<F64Attr, "1.0">:$alpha);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
  let builders = [OpBuilder<(ins "::mlir::Value":$input), [{
    build($_builder, $_state, input.getType(), input, $_builder.getF64FloatAttr(1.0));
  }]>];
}

def Miura_GeluOp : Miura_ModelOp<"gelu", [SameOperandsAndResultType]> {
  let summary = "x · Φ(x), or its tanh approximation";
  let description = "Source: Hendrycks and Gimpel, arXiv:1606.08415, section 2.";
  let arguments = (ins Miura_FloatTensor:$input, UnitAttr:$tanh);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$input (`tanh` $tanh^)? attr-dict `:` type($input)";
}

def Miura_SoftmaxOp : Miura_ModelOp<"softmax", [SameOperandsAndResultType]> {
  let summary = "exp(x) / Σ exp(x) over the last dimension, computed in f32";
  let arguments = (ins Miura_FloatTensor:$input);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

#endif // MIURA_MODEL_OPS_TD
