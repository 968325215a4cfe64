//===- ExpandEinsum.cpp - Einsum as what it is most often -----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// An Einsum of two operands is a product element by element where no letter is
/// summed over, and a MatMul where one is that both have: `i,j->ij` of
/// rotations, `bhqd,bhkd->bhqk` of attentions. Said so, it is raised as those
/// are.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "miura/Support/EinsumEquation.h"

using namespace mlir;
using namespace miura;

bool Raiser::expandEinsum(OnnxNodeOp op) {
  if (!isNode(op, "Einsum") || op.getNumOperands() != 2)
    return false;
  SmallVector<int64_t> ranks;
  for (Value operand : op.getInputs())
    ranks.push_back(cast<RankedTensorType>(operand.getType()).getRank());
  std::optional<EinsumEquation> equation =
      EinsumEquation::parse(getString(op, "equation"), ranks);
  if (!equation || equation->summed.size() > 1)
    return false;
  for (StringRef letters : equation->operands)
    for (char letter : letters)
      if (letters.count(letter) > 1)
        return false;
  Type element = getElementTypeOrSelf(op.getResult(0).getType());
  builder.setInsertionPoint(op);
  auto transpose = [&](Value value, ArrayRef<int64_t> order) -> Value {
    if (llvm::is_sorted(order))
      return value;
    NamedAttribute perm =
        builder.getNamedAttr("perm", builder.getDenseI64ArrayAttr(order));
    return makeNode(op, "Transpose", 13, {value}, perm, element);
  };
  // The operand with its dimensions in the order of `letters`, of size 1 where
  // it has none of that name.
  auto arrange = [&](unsigned i, StringRef letters) -> Value {
    StringRef own = equation->operands[i];
    SmallVector<int64_t> order, missing;
    for (auto [at, letter] : llvm::enumerate(letters))
      if (size_t dim = own.find(letter); dim != StringRef::npos)
        order.push_back(dim);
      else
        missing.push_back(at);
    Value value = transpose(getInput(op, i), order);
    if (!value || missing.empty())
      return value;
    return makeNode(op, "Unsqueeze", 13,
                    {value, makeVector(op.getLoc(), missing)}, {}, element);
  };

  Value result;
  if (equation->summed.empty()) {
    Value a = arrange(0, equation->result), b = arrange(1, equation->result);
    if (a && b)
      result = makeNode(op, "Mul", 14, {a, b}, {}, element);
  } else {
    // Rows are of the first operand only, columns of the second.
    std::string batch, rows, columns, summed = equation->summed;
    StringRef left = equation->operands[0], right = equation->operands[1];
    if (!left.contains(summed) || !right.contains(summed))
      return false;
    for (char letter : equation->result)
      (!right.contains(letter)  ? rows
       : !left.contains(letter) ? columns
                                : batch) += letter;
    // Several dimensions of rows go before those of one matrix.
    if (columns.size() > 1 || (rows.size() > 1 && !batch.empty()))
      return false;
    // A vector is a matrix of one row or column.
    bool isRow = rows.empty(), isColumn = columns.empty();
    rows = isRow ? "<" : rows;
    columns = isColumn ? ">" : columns;
    Value a = arrange(0, batch + rows + summed);
    Value b = arrange(1, batch + summed + columns);
    if (!a || !b)
      return false;
    result = makeNode(op, "MatMul", 13, {a, b}, {}, element);
    SmallVector<int64_t> ones;
    if (isRow)
      ones.push_back(batch.size());
    if (isColumn)
      ones.push_back(batch.size() + rows.size());
    if (result && !ones.empty())
      result = makeNode(op, "Squeeze", 13,
                        {result, makeVector(op.getLoc(), ones)}, {}, element);
    std::string now = batch + (isRow ? "" : rows) + (isColumn ? "" : columns);
    SmallVector<int64_t> order;
    for (char letter : equation->result)
      order.push_back(now.find(letter));
    if (result)
      result = transpose(result, order);
  }
  if (!result || result.getType() != op.getResult(0).getType())
    return false;
  replace(op.getResult(0), result);
  return true;
}
