//===- RaiseMasks.cpp - Masks in closed form ------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What a mask says of key j for query i is an expression of the two, of sizes
/// and of input elements. Of its conjuncts, j at or before i's position is
/// causal, j less than w behind is a window, and an input that is not 0 at (b,
/// j) is padding. Of a sum, a softmax sees only what grows with j, by a slope
/// per head (ALiBi).
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include <cmath>

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

bool Raiser::classifyMask(Expr condition, Expr b, Expr i, Expr j,
                          Expr keysBefore, Expr keys, MaskForm &form) {
  bool all = true;
  Expr position = context.add(i, keysBefore);
  for (Expr c : getConjuncts(condition)) {
    if (c->kind == Kind::Bool && c->truth)
      continue;
    if (c->kind == Kind::NotNegative) {
      if (c->operands[0] == context.sub(position, j)) {
        form.causal = true;
        continue;
      }
      // j − position + w − 1 >= 0
      std::optional<int64_t> w =
          getInteger(context.sub(c->operands[0], context.sub(j, position)));
      if (w && *w >= 0 && (form.window == 0 || form.window == *w + 1)) {
        form.window = *w + 1;
        continue;
      }
    }
    Expr element = c;
    if (c->kind == Kind::Not && c->operands[0]->kind == Kind::Zero)
      element = getScaledAtom(c->operands[0]->operands[0]).second;
    else if (c->kind == Kind::Zero) {
      // What is not 0 is 1.
      auto [one, atom] =
          getScaledAtom(context.add(c->operands[0], context.integer(1)));
      element = one == 1 ? atom : nullptr;
    }
    if (element && element->kind == Kind::Element &&
        element->operands.size() == 2 && element->operands[0] == b &&
        element->operands[1] == j &&
        (!form.padding || form.padding == element->tensor) &&
        isa<IntegerType>(getElementTypeOrSelf(element->tensor.getType()))) {
      form.padding = element->tensor;
      continue;
    }
    all = false;
  }
  return all;
}

Expr Raiser::getVisible(Expr mask, bool strict) {
  if (mask->isCondition())
    return mask;
  if (mask->kind == Kind::Select) {
    Expr a = getVisible(mask->operands[1], strict);
    Expr b = getVisible(mask->operands[2], strict);
    return a && b ? context.select(mask->operands[0], a, b) : nullptr;
  }
  std::optional<double> k = getConstant(mask);
  if (!k)
    return nullptr;
  if (*k == 0)
    return context.boolean(true);
  // exp(score − 10,000) is 0 for any score of a model that works; a query that
  // sees no key is the caller's to think of.
  if (std::isinf(*k) ? *k < 0 : (!strict && *k <= -1e4))
    return context.boolean(false);
  return nullptr;
}

std::optional<SmallVector<float>>
Raiser::getSlopes(Expr element, ArrayRef<Expr> at, int64_t heads) {
  if (element->kind != Kind::Poly)
    return std::nullopt;
  Expr j = getScaledAtom(at[3]).second;
  if (!j)
    return std::nullopt;
  SmallVector<float> slopes(heads);
  for (int64_t head = 0; head < heads; ++head) {
    double slope = 0;
    for (const Term &term : element->terms) {
      double factor = term.coefficient;
      unsigned count = 0;
      for (Expr atom : term.atoms) {
        if (atom == j)
          ++count;
        else if (mentions(atom, j))
          return std::nullopt;
      }
      if (count == 0)
        continue;
      if (count > 1)
        return std::nullopt;
      for (Expr atom : term.atoms) {
        if (atom == j)
          continue;
        // A number of the file's, which differs by head only.
        if (atom->kind != Kind::Element)
          return std::nullopt;
        Indices indices;
        for (Expr index : atom->operands)
          indices.push_back(
              context.substitute(index, at[1], context.integer(head)));
        std::optional<double> k =
            getConstant(analysis.getElement(atom->tensor, indices));
        if (!k)
          return std::nullopt;
        factor *= *k;
      }
      slope += factor;
    }
    slopes[head] = slope;
  }
  return slopes;
}
