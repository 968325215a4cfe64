//===- MiuraSessionOps.td - What a session adds to the model -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_SESSION_OPS_TD
#define MIURA_SESSION_OPS_TD

include "miura/Dialect/Miura/IR/MiuraOpBase.td"

def Miura_CacheAppendOp : Miura_Op<"cache_append", [
    Pure, AllTypesMatch<["cache", "result"]>,
    DeclareOpInterfaceMethods<DestinationStyleOpInterface>]> {
  let summary = "New keys or values written into a cache of fixed capacity";
  let description = [{
    `result = cache` with `result[b, h, lengths[b] + t, d] = update[b, h, t, d]`
    for every t of update's third dimension. cache is `batch × heads × capacity
    × size`, update `batch × heads × sequence × size`, lengths `batch`. A
    position at or beyond the capacity is an error of the caller, which the
    runtime checks before a step. Bufferizes in place.
  }];
  let arguments = (ins Miura_FloatTensor:$update, RankedTensorOf<[I64]>:$lengths, Miura_FloatTensor:$cache);
  let results = (outs Miura_FloatTensor:$result);
  let assemblyFormat = [{
    $update `at` $lengths `into` $cache attr-dict `:` type($update) `,` type($lengths) `into` type($cache)
  }];
  let hasVerifier = 1;
}

def Miura_CachedAttentionOp : Miura_Op<"cached_attention", [Pure, AttrSizedOperandSegments]> {
  let summary = "Attention over a cache of fixed capacity";
  let description = [{
    `miura.attention` whose keys and values are a session's cache: query (b, t)
    stands at position `lengths[b] + t`; keys beyond `lengths[b] + sequence − 1`
    are not read. `padding`, `batch × capacity` of i8, hides keys where it is 0;
    `mask`, float, `batch|1 × heads|1 × queries|1 × capacity|1`, is added to the
    scaled scores.
    Otherwise as `miura.attention`; what `hidden` gives is over the keys up to `lengths[b] + sequence − 1`.
  }];
  let arguments = (ins Miura_FloatTensor:$query, Miura_FloatTensor:$key, Miura_FloatTensor:$value,
                       RankedTensorOf<[I64]>:$lengths,
                       Optional<Miura_FloatTensor>:$mask,
                       Optional<RankedTensorOf<[I8]>>:$padding,
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
    $query `,` $key `,` $value `at` $lengths (`mask` $mask^ `:` type($mask))?
    (`padding` $padding^ `:` type($padding))? (`sinks` $sinks^ `:` type($sinks))? `scale` $scale (`causal` $causal^)? attr-dict
    `:` type($query) `,` type($key) `,` type($value) `,` type($lengths) `->` type($result)
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

def Miura_TakeLastOp : Miura_Op<"take_last", [Pure]> {
  let summary = "The last new position of every row";
  let description = [{
    `result[b, 0, i] = input[b, counts[b] − 1, i]`: what the head needs when only
    the next token is asked for. input is `batch × sequence × size`, counts
    `batch`.
  }];
  let arguments = (ins AnyRankedTensor:$input, RankedTensorOf<[I64]>:$counts);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $counts attr-dict `:` type($input) `,` type($counts) `->` type($result)";
}

#endif // MIURA_SESSION_OPS_TD
