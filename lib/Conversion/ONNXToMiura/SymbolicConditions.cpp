//===- SymbolicConditions.cpp - Conditions over expressions ---------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The normal form of conditions of Symbolic.h: sorted operands, what one
/// implies of another folded, and selections by them.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToMiura/Symbolic.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace miura::symbolic;
using llvm::ArrayRef;
using llvm::SmallVector;

Expr Context::notNegative(Expr a) {
  if (a->kind == Kind::Select)
    return select(a->operands[0], notNegative(a->operands[1]),
                  notNegative(a->operands[2]));
  if (std::optional<double> k = getConstant(a))
    return boolean(*k >= 0);
  if (!a->isFloat) {
    if (provesNotNegative(a))
      return boolean(true);
    if (provesNotNegative(sub(integer(-1), a)))
      return boolean(false);
  }
  Node node(Kind::NotNegative);
  node.operands = {a};
  return unique(std::move(node));
}

Expr Context::isZero(Expr a) {
  if (a->kind == Kind::Select)
    return select(a->operands[0], isZero(a->operands[1]),
                  isZero(a->operands[2]));
  if (std::optional<double> k = getConstant(a))
    return boolean(*k == 0);
  if (!a->isFloat && (provesNotNegative(sub(a, integer(1))) ||
                      provesNotNegative(sub(integer(-1), a))))
    return boolean(false);
  if (a->terms.back().coefficient < 0)
    a = scale(a, -1);
  Node node(Kind::Zero);
  node.operands = {a};
  return unique(std::move(node));
}

Expr Context::equal(Expr a, Expr b) {
  if (a->isNumber() && b->isNumber())
    return isZero(sub(a, b));
  a = toCondition(a), b = toCondition(b);
  return disjunction(conjunction(a, b), conjunction(negate(a), negate(b)));
}

Expr Context::negate(Expr a) {
  switch (a->kind) {
  case Kind::Bool:
    return boolean(!a->truth);
  case Kind::Not:
    return a->operands[0];
  case Kind::NotNegative:
    if (!a->operands[0]->isFloat)
      return notNegative(sub(integer(-1), a->operands[0]));
    break;
  case Kind::And:
  case Kind::Or: {
    Expr result = negate(a->operands[0]);
    Kind dual = a->kind == Kind::And ? Kind::Or : Kind::And;
    for (Expr e : llvm::drop_begin(a->operands))
      result = junction(dual, result, negate(e));
    return result;
  }
  default:
    break;
  }
  Node node(Kind::Not);
  node.operands = {a};
  return unique(std::move(node));
}

Expr Context::assume(Expr a, Expr condition, bool value) {
  if (a == condition)
    return boolean(value);
  if (a == negate(condition))
    return boolean(!value);
  if (a->kind != Kind::And && a->kind != Kind::Or)
    return a;
  Expr result = boolean(a->kind == Kind::And);
  bool changed = false;
  for (Expr e : a->operands) {
    Expr part = assume(e, condition, value);
    changed |= part != e;
    result = junction(a->kind, result, part);
  }
  return changed ? result : a;
}

Expr Context::junction(Kind kind, Expr a, Expr b) {
  bool neutral = kind == Kind::And;
  SmallVector<Expr> parts;
  for (Expr e : {a, b}) {
    if (e->kind == kind)
      llvm::append_range(parts, e->operands);
    else
      parts.push_back(e);
  }
  llvm::sort(parts, [](Expr x, Expr y) { return x->id < y->id; });
  parts.erase(llvm::unique(parts), parts.end());
  llvm::erase_if(parts, [&](Expr e) {
    return e->kind == Kind::Bool && e->truth == neutral;
  });
  for (Expr e : parts)
    if ((e->kind == Kind::Bool) || llvm::is_contained(parts, negate(e)))
      return boolean(!neutral);
  // What the other parts decide inside a part goes.
  Kind dual = kind == Kind::And ? Kind::Or : Kind::And;
  auto join = [&](ArrayRef<Expr> all) {
    Expr result = boolean(neutral);
    for (Expr e : all)
      result = junction(kind, result, e);
    return result;
  };
  for (size_t i = 0; i < parts.size() && parts.size() < 8; ++i) {
    if (parts[i]->kind != dual || parts[i]->size > kMaximumSize)
      continue;
    Expr simpler = parts[i];
    for (Expr e : parts)
      if (e->kind != dual)
        simpler = assume(simpler, e, neutral);
    if (simpler == parts[i])
      continue;
    parts[i] = simpler;
    return join(parts);
  }
  // (x or y) and (not x or y) is y.
  for (size_t i = 0; i < parts.size() && parts.size() < 8; ++i)
    for (size_t k = i + 1; k < parts.size(); ++k) {
      if (parts[i]->kind != dual || parts[k]->kind != dual ||
          parts[i]->operands.size() != parts[k]->operands.size())
        continue;
      SmallVector<Expr> common;
      Expr odd = nullptr;
      unsigned others = 0;
      for (Expr e : parts[i]->operands) {
        if (llvm::is_contained(parts[k]->operands, e))
          common.push_back(e);
        else
          odd = e, ++others;
      }
      if (others != 1 || !llvm::is_contained(parts[k]->operands, negate(odd)))
        continue;
      Expr rest = boolean(!neutral);
      for (Expr e : common)
        rest = junction(dual, rest, e);
      parts.erase(parts.begin() + k);
      parts[i] = rest;
      return join(parts);
    }
  // Of two comparisons, one of which follows from the other, one is enough.
  for (size_t i = 0; i < parts.size() && parts.size() < 8; ++i)
    for (size_t k = 0; k < parts.size(); ++k) {
      Expr a = parts[i], c = parts[k];
      if (i == k || a->kind != Kind::NotNegative ||
          c->kind != Kind::NotNegative || a->operands[0]->isFloat ||
          c->operands[0]->isFloat ||
          !provesNotNegative(sub(a->operands[0], c->operands[0])))
        continue;
      // c implies a.
      parts.erase(parts.begin() + (kind == Kind::And ? i : k));
      return join(parts);
    }
  if (parts.empty())
    return boolean(neutral);
  if (parts.size() == 1)
    return parts[0];
  Node node(kind);
  node.operands.assign(parts.begin(), parts.end());
  return unique(std::move(node));
}

/// The symbol and its value if the condition pins an index to an end of its
/// range: `-i >= 0`, or `i - (limit - 1) >= 0`.
static std::pair<Expr, double> getPinned(Expr condition) {
  if (condition->kind != Kind::NotNegative)
    return {};
  const Term *t = getOnlyTerm(condition->operands[0]);
  if (t && t->atoms.size() == 1 && t->coefficient < 0 &&
      t->atoms[0]->kind == Kind::Symbol)
    return {t->atoms[0], 0};
  return {};
}

Expr Context::select(Expr condition, Expr a, Expr b) {
  if (condition->kind == Kind::Bool)
    return condition->truth ? a : b;
  if (a == b)
    return a;
  if (a->isCondition() && b->isCondition() && a->size + b->size < 100)
    return disjunction(conjunction(condition, a),
                       conjunction(negate(condition), b));
  if (condition->kind == Kind::Not)
    return select(condition->operands[0], b, a);
  // Where the condition leaves one value of an index, the branches may agree.
  if (auto [symbol, value] = getPinned(condition); symbol) {
    Expr at = integer(int64_t(value));
    if (substitute(a, symbol, at) == substitute(b, symbol, at))
      return b;
  }
  if (auto [symbol, value] = getPinned(negate(condition)); symbol) {
    Expr at = integer(int64_t(value));
    if (substitute(a, symbol, at) == substitute(b, symbol, at))
      return a;
  }
  // A nested selection on the same condition.
  if (a->kind == Kind::Select && a->operands[0] == condition)
    a = a->operands[1];
  if (b->kind == Kind::Select && b->operands[0] == condition)
    b = b->operands[2];
  Node node(Kind::Select);
  node.isFloat = a->isFloat;
  node.operands = {condition, a, b};
  return unique(std::move(node));
}
