//===- Einsum.cpp - Sums of products by the names of dimensions -----------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Einsum: one loop per letter of the equation, those that the result does not
/// have summed over.
///
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "miura/Support/EinsumEquation.h"

using namespace mlir;
using namespace miura;
using namespace miura::onnxlower;

namespace {

Results einsum(Node &n) {
  SmallVector<int64_t> ranks;
  for (size_t i = 0; i < n.size(); ++i)
    ranks.push_back(n.rank(n[i]));
  StringRef text = n.getString("equation", "");
  std::optional<EinsumEquation> equation = EinsumEquation::parse(text, ranks);
  if (!equation)
    return n.error() << "has the equation '" << text
                     << "', which does not name the dimensions of its "
                        "operands; see ONNX's Einsum for how it is written";
  // Loops: the letters of the result, then those summed over. A dimension of
  // size 1 goes with any other.
  std::string loops = equation->result + equation->summed;
  SmallVector<Value> sizes(loops.size());
  SmallVector<AffineMap> maps;
  SmallVector<Value> inputs;
  for (auto [i, letters] : llvm::enumerate(equation->operands)) {
    SmallVector<AffineExpr> at;
    for (auto [dim, letter] : llvm::enumerate(letters)) {
      size_t loop = loops.find(letter);
      bool isOne = n.type(n[i]).getDimSize(dim) == 1;
      if (!isOne && !sizes[loop])
        sizes[loop] = n.dim(n[i], dim);
      at.push_back(isOne ? n.getAffineConstantExpr(0)
                         : n.getAffineDimExpr(loop));
    }
    maps.push_back(AffineMap::get(loops.size(), 0, at, n.getContext()));
    inputs.push_back(n[i]);
  }
  for (Value &size : sizes)
    if (!size)
      size = n.index(1);
  Type element = n.resultElement(), wide = n.sumType(element);
  ArrayRef<Value> all(sizes);
  size_t kept = equation->result.size();
  Value sums =
      n.reduce(n.constant(wide, 0), all.take_front(kept), all.drop_front(kept),
               inputs, maps, [&](LinalgBuilder &b, ValueRange v) {
                 Value product = b.convert(v[0], wide);
                 for (Value factor : v.drop_front().drop_back())
                   product = b.mul(product, b.convert(factor, wide));
                 return b.add(v.back(), product);
               });
  if (wide == element)
    return {{sums}};
  return {{n.elementwise(element, {sums}, [&](LinalgBuilder &b, ValueRange v) {
    return b.convert(v[0], element);
  })}};
}

} // namespace

void miura::onnxlower::addEinsum(Table &t) { t["Einsum"] = einsum; }
