//===- MiuraExpressionOps.td - Weights and their expressions -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_EXPRESSION_OPS_TD
#define MIURA_EXPRESSION_OPS_TD

include "miura/Dialect/Miura/IR/MiuraOpBase.td"

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

def Miura_WeightDataOp : Miura_Op<"weight_data", [Symbol]> {
  let summary = "A tensor that lives in a file";
  let description = [{
    Names the bytes of a tensor: row-major, little-endian, no padding, except
    that elements narrower than a byte form a bit stream, lowest bits first, in
    which every row (the last dimension) starts at a byte. Where `bytes` is
    absent the tensor is declared only: a bundle keeps the originals of lossy
    expressions so, with their digest.

    ```mlir
    miura.weight_data private @q7 = bytes<"model.onnx.data", offset = 4096, length = 331776> : tensor<288x288xf32>
    miura.weight_data private @original_q7 digest("0f…") : tensor<288x288xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       OptionalAttr<StrAttr>:$sym_visibility,
                       OptionalAttr<Miura_BytesAttr>:$bytes,
                       OptionalAttr<StrAttr>:$digest,
                       TypeAttrOf<RankedTensorOf<[AnyType]>>:$type);
  let assemblyFormat = [{
    custom<Visibility>($sym_visibility) $sym_name (`=` `bytes` `` $bytes^)? (`digest` `(` $digest^ `)`)?
    attr-dict `:` $type
  }];
  let hasVerifier = 1;
}

/// `methods` names the interface's optional methods that the op implements.
class Miura_ExpressionOp<string mnemonic, list<Trait> traits = [], list<string> methods = []>
    : Miura_Op<mnemonic, !listconcat(
        [Pure, DeclareOpInterfaceMethods<Miura_WeightExpression, methods>], traits)>;

def Miura_WeightOp : Miura_ExpressionOp<"weight", [DeclareOpInterfaceMethods<SymbolUserOpInterface>], ["evaluateRows"]> {
  let summary = "The value of a weight_data";
  let arguments = (ins FlatSymbolRefAttr:$data);
  let results = (outs RankedTensorOf<[AnyType]>:$result);
  let assemblyFormat = "$data attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// Leaves
//===----------------------------------------------------------------------===//

def Miura_DequantizeOp : Miura_ExpressionOp<"dequantize", [], ["evaluateRows", "getMaskedOperand", "getMaskFill"]> {
  let summary = "Codes times block scales";
  let description = [{
    `result[i…] = (codes[i…] − zeros[⌊i/block⌋…]) · scales[⌊i/block⌋…]`, where
    `block` has one size per dimension; a size of 0 means the whole dimension.
    Codes are signless `iN` (2 ≤ N ≤ 16; kernels decode up to 8) read as signed two's complement, or as
    unsigned where `unsigned` is set; or floating-point numbers, as fp8 and fp4
    tensors and `miura.lookup` have (NF4: a codebook, then block scales). Scales
    have the shape ⌈dim/block⌉ in every dimension
    and may themselves be an expression (second-level scales). Zeros,
    where present, have the shape of the scales and the codes' integer type, or
    a floating-point type. The result has the scales' element type, or `f32`
    where `as` says so.

    ```mlir
    %w = miura.dequantize %codes, %scales block [1, 32]
           : tensor<288x288xi4>, tensor<288x9xf16> -> tensor<288x288xf32>
    ```
    Source: Jacob et al., arXiv:1712.05877, eq. (1); blocks as in ONNX
    DequantizeLinear-21.
  }];
  let arguments = (ins RankedTensorOf<[AnyInteger, AnyFloat]>:$codes, Miura_FloatTensor:$scales,
                       Optional<RankedTensorOf<[AnyInteger, AnyFloat]>>:$zeros,
                       DenseI64ArrayAttr:$block, UnitAttr:$is_unsigned);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $codes `,` $scales (`,` $zeros^)? `block` $block (`unsigned` $is_unsigned^)? attr-dict
    `:` type($codes) `,` type($scales) (`,` type($zeros)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

def Miura_LookupOp : Miura_ExpressionOp<"lookup"> {
  let summary = "Rows of a codebook";
  let description = [{
    `result[o, i·d + j] = codebook[codes[o, i], j]`: codes `out × in/d` of
    unsigned integers index the rows of `codebook`, `entries × d`. d = 1 is a
    scalar codebook (NF4, k-means), d > 1 a vector codebook (E8P, additive).
    Source: Dettmers et al. (QLoRA), arXiv:2305.14314, section 3; Tseng et al.
    (QuIP#), arXiv:2402.04396, section 4.
  }];
  let arguments = (ins Miura_IntTensor:$codes, Miura_FloatTensor:$codebook);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$codes `,` $codebook attr-dict `:` type($codes) `,` type($codebook) `->` type($result)";
  let hasVerifier = 1;
}

def Miura_UnpruneOp : Miura_ExpressionOp<"unprune", [],
    ["evaluateRows", "getWeightOperands", "placesWeights", "placeInstead"]> {
  let summary = "Kept values scattered into zeros";
  let description = [{
    Puts the kept `values` into zeros. With [rows, in] the result's dimensions,
    all but the last taken together, `format` says how `index` names the places:
    - `bitmap`: `index` is `… × ⌈in/8⌉` of `i8`, one bit per entry of the result:
      bit `c mod 8` (lowest first) of a row's byte `⌊c/8⌋`. The set places of the
      whole tensor, row by row, take `values` (rank 1) in order.
    - `nm`: of every `m` successive entries of a row `n` are kept, where
      `group [n, m]`; `values` is `… × in/m·n`, and `index`, `iN` of the same
      shape, gives each one's place in its group (0 … m−1, ascending, read as
      unsigned).
    - `block`: `group [b₀, b₁]`; `index` is a bitmap, as above, of blocks of
      `b₀ × b₁` entries, `… × rows/b₀ × ⌈in/b₁/8⌉`; `values` is
      `kept × b₀ × b₁` in that order.

    Values are floating-point, or codes: `miura.dequantize` of codes without
    zeros has the zeros where the codes have them, so codes of pruned weights
    keep the block scales that they had. Where codes have zero points, these are
    the codes of zero: `fill`, with a block size per dimension, says what the
    other places of each block get.

    ```mlir
    %c = miura.unprune %codes, %bits "bitmap" : tensor<41472xi4>, tensor<288x36xi8> -> tensor<288x288xi4>
    %w = miura.dequantize %c, %scales block [1, 32] : …
    %d = miura.unprune %codes, %bits "bitmap" fill %zeros block [1, 32]
           : tensor<41472xi4>, tensor<288x36xi8>, tensor<288x9xi4> -> tensor<288x288xi4>
    %v = miura.dequantize %d, %scales, %zeros block [1, 32] unsigned : …
    ```
    Source: Mishra et al., arXiv:2104.08378, section 3 (n:m).
  }];
  let arguments = (ins AnyRankedTensor:$values, Miura_IntTensor:$index,
                       Optional<RankedTensorOf<[AnyInteger]>>:$fill,
                       StrAttr:$format, DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$group,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$fill_block);
  let results = (outs RankedTensorOf<[AnyInteger, AnyFloat]>:$result);
  let assemblyFormat = [{
    $values `,` $index $format (`group` $group^)? (`fill` $fill^ `block` $fill_block)? attr-dict
    `:` type($values) `,` type($index) (`,` type($fill)^)? `->` type($result)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Combinations
//===----------------------------------------------------------------------===//

def Miura_MatmulOp : Miura_ExpressionOp<"matmul", [], ["applyTo", "pickRows", "evaluateRows", "getWeightOperands"]> {
  let summary = "A low-rank product of two factors";
  let description = [{
    `result = L · R`: `out × r` by `r × in`, summed in f32. Applied to x it is
    two linears, so the product is never formed.
    Source: Saha et al. (CALDERA), arXiv:2405.18886, section 3.
  }];
  let arguments = (ins Miura_FloatTensor:$lhs, Miura_FloatTensor:$rhs);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
  let hasVerifier = 1;
}

def Miura_AddOp : Miura_ExpressionOp<"add", [Commutative],
    ["applyTo", "pickRows", "evaluateRows", "getWeightOperands"]> {
  let summary = "The sum of two expressions of one shape";
  let arguments = (ins Miura_FloatTensor:$lhs, Miura_FloatTensor:$rhs);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
  let hasVerifier = 1;
}

def Miura_ScaleOp : Miura_ExpressionOp<"scale", [AttrSizedOperandSegments], ["getWeightOperands", "getMaskedOperand"]> {
  let summary = "An expression scaled by rows, by columns or both";
  let description = [{
    `result[o, i] = rows[o] · input[o, i] · columns[i]`; either may be absent.
    Source: Lin et al. (AWQ), arXiv:2306.00978, section 3.2.
  }];
  let arguments = (ins Miura_FloatTensor:$input,
                       Optional<Miura_FloatTensor>:$rows, Optional<Miura_FloatTensor>:$columns);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $input (`rows` $rows^ `:` type($rows))? (`columns` $columns^ `:` type($columns))? attr-dict
    `:` type($input) `->` type($result)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Miura_TransposeOp : Miura_ExpressionOp<"transpose", [], ["evaluateRows"]> {
  let summary = "A weight stored [in, out]";
  let description = [{
    Swaps the last two dimensions: a free view of a weight that the file stores
    as `in × out`, as the right operand of MatMul.
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Miura_ConvertOp : Miura_ExpressionOp<"convert", [], ["evaluateRows"]> {
  let summary = "An expression in another floating-point type";
  let description = [{
    Rounds half to even where the result is narrower. A linear whose weight is
    stored as f16 but computed in f32 has one.
  }];
  let arguments = (ins Miura_FloatTensor:$input);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
}

def Miura_ApproximateOp : Miura_ExpressionOp<"approximate", [
    AllTypesMatch<["expression", "result"]>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>], ["applyTo", "pickRows", "evaluateRows"]> {
  let summary = "The certified root of a lossy expression";
  let description = [{
    Its expression, with the weight that it stands for and what is known of its
    error. Every lossy tree has exactly one, at its root; passes rewrite below
    it and certify anew against the original. `transposed` says that the original
    is stored `in × out`.

    ```mlir
    %w = miura.approximate %e of @original_q7
           certificate #miura.certificate<error = 8.1e-02 : f64, original = "0f…", tree = "a3…"> : tensor<288x288xf32>
    ```
  }];
  let arguments = (ins Miura_FloatTensor:$expression, FlatSymbolRefAttr:$original,
                       UnitAttr:$transposed, OptionalAttr<Miura_CertificateAttr>:$certificate);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $expression `of` $original (`transposed` $transposed^)? (`certificate` $certificate^)? attr-dict `:` type($result)
  }];
}

#endif // MIURA_EXPRESSION_OPS_TD
