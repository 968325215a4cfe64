//===- Symbolic.cpp - Scalar expressions of indices and sizes -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The normal form of Symbolic.h: polynomials with sorted terms, conditions
/// with sorted operands, hash-consed. Bounds are proved by replacing every
/// index by its worst end and every quotient ⌊a/k⌋ by (a − k + 1)/k or a/k.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToMiura/Symbolic.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>

using namespace miura::symbolic;
using llvm::ArrayRef;
using llvm::SmallVector;

//===----------------------------------------------------------------------===//
// Uniquing
//===----------------------------------------------------------------------===//

static uint64_t hashNode(const Node &n) {
  llvm::hash_code h = llvm::hash_combine(
      uint8_t(n.kind), n.isFloat, n.truth, n.name,
      n.tensor.getAsOpaquePointer(), n.limit,
      llvm::hash_combine_range(n.operands.begin(), n.operands.end()));
  for (const Term &t : n.terms)
    h = llvm::hash_combine(
        h, llvm::hash_combine_range(t.atoms.begin(), t.atoms.end()),
        llvm::bit_cast<uint64_t>(t.coefficient));
  return h;
}

static bool sameNode(const Node &a, const Node &b) {
  return a.kind == b.kind && a.isFloat == b.isFloat && a.truth == b.truth &&
         a.name == b.name && a.tensor == b.tensor && a.limit == b.limit &&
         a.operands == b.operands && a.terms.size() == b.terms.size() &&
         llvm::all_of(llvm::zip(a.terms, b.terms), [](auto pair) {
           auto &[s, t] = pair;
           return s.atoms == t.atoms &&
                  llvm::bit_cast<uint64_t>(s.coefficient) ==
                      llvm::bit_cast<uint64_t>(t.coefficient);
         });
}

Expr Context::unique(Node node) {
  uint64_t hash = hashNode(node);
  auto [begin, end] = table.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (sameNode(*it->second, node))
      return it->second;
  node.id = nodes.size();
  node.size = 1;
  for (Expr e : node.operands)
    node.size += e->size;
  for (const Term &t : node.terms)
    for (Expr e : t.atoms)
      node.size += e->size;
  nodes.push_back(std::make_unique<Node>(std::move(node)));
  Expr result = nodes.back().get();
  table.emplace(hash, result);
  return result;
}

Expr Context::atom(Node node, bool isFloat) {
  Expr a = unique(std::move(node));
  SmallVector<Term, 1> terms;
  terms.push_back({{a}, 1.0});
  return poly(std::move(terms), isFloat);
}

static bool atomsBefore(const Term &a, const Term &b) {
  return std::lexicographical_compare(
      a.atoms.begin(), a.atoms.end(), b.atoms.begin(), b.atoms.end(),
      [](Expr x, Expr y) { return x->id < y->id; });
}

Expr Context::poly(SmallVector<Term, 1> terms, bool isFloat) {
  for (Term &t : terms)
    llvm::sort(t.atoms, [](Expr x, Expr y) { return x->id < y->id; });
  llvm::sort(terms, atomsBefore);
  Node node(Kind::Poly);
  node.isFloat = isFloat;
  for (Term &t : terms) {
    if (!node.terms.empty() && node.terms.back().atoms == t.atoms)
      node.terms.back().coefficient += t.coefficient;
    else
      node.terms.push_back(std::move(t));
  }
  llvm::erase_if(node.terms, [](const Term &t) { return t.coefficient == 0; });
  return unique(std::move(node));
}

//===----------------------------------------------------------------------===//
// Leaves
//===----------------------------------------------------------------------===//

Expr Context::constant(double value, bool isFloat) {
  SmallVector<Term, 1> terms;
  terms.push_back({{}, value});
  return poly(std::move(terms), isFloat);
}

Expr Context::boolean(bool value) {
  Node node(Kind::Bool);
  node.truth = value;
  return unique(std::move(node));
}

Expr Context::size(llvm::StringRef name) {
  if (auto it = aliases.find(name.str()); it != aliases.end())
    return it->second;
  Node node(Kind::Symbol);
  node.name = name.str();
  return atom(std::move(node), false);
}

Expr Context::index(llvm::StringRef name, Expr limit) {
  if (isConstant(limit, 1))
    return integer(0);
  Node node(Kind::Symbol);
  node.name = name.str();
  node.limit = limit;
  return atom(std::move(node), false);
}

Expr Context::element(mlir::Value tensor, ArrayRef<Expr> indices) {
  Node node(Kind::Element);
  node.tensor = tensor;
  node.operands.assign(indices.begin(), indices.end());
  mlir::Type type = mlir::getElementTypeOrSelf(tensor.getType());
  if (type.isInteger(1))
    return unique(std::move(node));
  return atom(std::move(node), llvm::isa<mlir::FloatType>(type));
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

template <typename Op> Expr Context::pushInto(Expr a, Expr b, Op op) {
  if (a->size + b->size > kMaximumSize)
    return nullptr;
  bool selectA = a->kind == Kind::Select, selectB = b->kind == Kind::Select;
  if (selectA && selectB && a->operands[0] == b->operands[0])
    return select(a->operands[0], op(a->operands[1], b->operands[1]),
                  op(a->operands[2], b->operands[2]));
  if (selectA)
    return select(a->operands[0], op(a->operands[1], b), op(a->operands[2], b));
  if (selectB)
    return select(b->operands[0], op(a, b->operands[1]), op(a, b->operands[2]));
  return nullptr;
}

/// Terms of a number; a selection too large to push into becomes an atom.
static SmallVector<Term, 1> termsOf(Expr a) {
  if (a->kind == Kind::Poly)
    return a->terms;
  SmallVector<Term, 1> terms;
  terms.push_back({{a}, 1.0});
  return terms;
}

Expr Context::add(Expr a, Expr b) {
  if (Expr e = pushInto(a, b, [&](Expr x, Expr y) { return add(x, y); }))
    return e;
  SmallVector<Term, 1> terms = termsOf(a);
  llvm::append_range(terms, termsOf(b));
  return poly(std::move(terms), a->isFloat || b->isFloat);
}

Expr Context::scale(Expr a, double factor) {
  if (a->kind == Kind::Select)
    return select(a->operands[0], scale(a->operands[1], factor),
                  scale(a->operands[2], factor));
  SmallVector<Term, 1> terms = termsOf(a);
  for (Term &t : terms)
    t.coefficient *= factor;
  return poly(std::move(terms), a->isFloat);
}

Expr Context::mul(Expr a, Expr b) {
  if (std::optional<double> k = getConstant(a); k && b->isFloat == a->isFloat)
    return scale(b, *k);
  if (std::optional<double> k = getConstant(b); k && b->isFloat == a->isFloat)
    return scale(a, *k);
  if (Expr e = pushInto(a, b, [&](Expr x, Expr y) { return mul(x, y); }))
    return e;
  SmallVector<Term, 1> terms;
  if (a->size + b->size > kMaximumSize) {
    // A product of the two as they are: still right, only not expanded.
    terms.push_back({{a, b}, 1.0});
  } else {
    for (const Term &s : termsOf(a))
      for (const Term &t : termsOf(b)) {
        Term product = s;
        llvm::append_range(product.atoms, t.atoms);
        product.coefficient *= t.coefficient;
        terms.push_back(std::move(product));
      }
  }
  return poly(std::move(terms), a->isFloat || b->isFloat);
}

/// t / divisor if it divides t.
static std::optional<Term> divide(const Term &t, const Term &divisor) {
  Term quotient{{}, t.coefficient / divisor.coefficient};
  if (quotient.coefficient != std::floor(quotient.coefficient))
    return std::nullopt;
  SmallVector<Expr> left(divisor.atoms.begin(), divisor.atoms.end());
  for (Expr a : t.atoms) {
    auto *it = llvm::find(left, a);
    if (it == left.end())
      quotient.atoms.push_back(a);
    else
      left.erase(it);
  }
  if (!left.empty())
    return std::nullopt;
  return quotient;
}

/// The term of highest degree, among equals the one of the oldest atoms: an
/// order that products keep.
static const Term &getLeadingTerm(Expr a) {
  return *std::max_element(a->terms.begin(), a->terms.end(),
                           [](const Term &s, const Term &t) {
                             if (s.atoms.size() != t.atoms.size())
                               return s.atoms.size() < t.atoms.size();
                             return atomsBefore(t, s);
                           });
}

Expr Context::exactQuotient(Expr a, Expr b) {
  if (a->kind != Kind::Poly || b->kind != Kind::Poly || b->terms.empty())
    return nullptr;
  // Polynomial division that must leave nothing.
  Expr quotient = constant(0, a->isFloat);
  for (int step = 0; !a->terms.empty(); ++step) {
    std::optional<Term> q = divide(getLeadingTerm(a), getLeadingTerm(b));
    if (!q || step > 16)
      return nullptr;
    SmallVector<Term, 1> terms;
    terms.push_back(std::move(*q));
    Expr part = poly(std::move(terms), a->isFloat);
    quotient = add(quotient, part);
    a = sub(a, mul(part, b));
  }
  return quotient;
}

Expr Context::floorDiv(Expr a, Expr b) {
  if (Expr e = pushInto(a, b, [&](Expr x, Expr y) { return floorDiv(x, y); }))
    return e;
  if (isConstant(b, 1))
    return a;
  // What b divides goes out of the quotient.
  if (const Term *divisor = getOnlyTerm(b); divisor && a->kind == Kind::Poly) {
    SmallVector<Term, 1> whole, rest;
    for (const Term &t : a->terms) {
      if (std::optional<Term> q = divide(t, *divisor))
        whole.push_back(std::move(*q));
      else
        rest.push_back(t);
    }
    Expr remainder = poly(std::move(rest), false);
    if (std::optional<double> r = getConstant(remainder), d = getConstant(b);
        r && d)
      return add(poly(std::move(whole), false),
                 integer(int64_t(std::floor(*r / *d))));
    if (provesNotNegative(remainder) &&
        provesNotNegative(sub(sub(b, remainder), integer(1))))
      return poly(std::move(whole), false);
    if (!whole.empty()) {
      Expr quotient = poly(std::move(whole), false);
      return add(quotient, floorDiv(remainder, b));
    }
  }
  if (Expr quotient = divideByLeadingTerm(a, b))
    return quotient;
  Node node(Kind::FloorDiv);
  node.operands = {a, b};
  return atom(std::move(node), false);
}

Expr Context::divideByLeadingTerm(Expr a, Expr b) {
  // What is left of a must be proved to be in [0, b).
  if (a->kind != Kind::Poly || b->kind != Kind::Poly || b->terms.empty())
    return nullptr;
  Expr quotient = integer(0);
  const Term &leading = getLeadingTerm(b);
  for (int step = 0; step < 8; ++step) {
    if (provesNotNegative(a) && provesNotNegative(sub(sub(b, a), integer(1))))
      return quotient;
    std::optional<Term> q;
    for (const Term &t : a->terms)
      if (!q)
        q = divide(t, leading);
    if (!q)
      return nullptr;
    SmallVector<Term, 1> terms;
    terms.push_back(std::move(*q));
    Expr part = poly(std::move(terms), false);
    quotient = add(quotient, part);
    a = sub(a, mul(part, b));
  }
  return nullptr;
}

bool Context::isWithin(Expr length, Expr bound) const {
  std::optional<double> k = getConstant(bound);
  if (!longest || !k || *k < double(*longest) || length->kind != Kind::Poly)
    return false;
  return llvm::all_of(length->terms, [](const Term &term) {
    return term.coefficient == 1 && term.atoms.size() == 1 &&
           term.atoms[0]->kind == Kind::Symbol && !term.atoms[0]->limit;
  });
}

Expr Context::min(Expr a, Expr b) {
  if (a == b || isWithin(a, b) || provesNotNegative(sub(b, a)))
    return a;
  if (isWithin(b, a) || provesNotNegative(sub(a, b)))
    return b;
  if (Expr e = pushInto(a, b, [&](Expr x, Expr y) { return min(x, y); }))
    return e;
  Node node(Kind::Min);
  node.operands = {a, b};
  return atom(std::move(node), a->isFloat);
}

Expr Context::max(Expr a, Expr b) {
  if (a == b || provesNotNegative(sub(a, b)))
    return a;
  if (provesNotNegative(sub(b, a)))
    return b;
  if (Expr e = pushInto(a, b, [&](Expr x, Expr y) { return max(x, y); }))
    return e;
  Node node(Kind::Max);
  node.operands = {a, b};
  return atom(std::move(node), a->isFloat);
}

Expr Context::toNumber(Expr a, bool isFloat) {
  if (a->isCondition())
    return select(a, constant(1, isFloat), constant(0, isFloat));
  if (a->isFloat == isFloat)
    return a;
  if (a->kind == Kind::Select)
    return select(a->operands[0], toNumber(a->operands[1], isFloat),
                  toNumber(a->operands[2], isFloat));
  if (isFloat)
    return poly(a->terms, true);
  if (std::optional<double> k = getConstant(a))
    return constant(std::trunc(*k), false);
  Node node(Kind::Truncate);
  node.operands = {a};
  return atom(std::move(node), false);
}

Expr Context::toCondition(Expr a) {
  return a->isCondition() ? a : negate(isZero(a));
}

//===----------------------------------------------------------------------===//
// Substitution and bounds
//===----------------------------------------------------------------------===//

bool miura::symbolic::mentions(Expr a, Expr symbol) {
  if (a == symbol)
    return true;
  for (Expr e : a->operands)
    if (mentions(e, symbol))
      return true;
  for (const Term &t : a->terms)
    for (Expr e : t.atoms)
      if (mentions(e, symbol))
        return true;
  return false;
}

Expr Context::substitute(Expr a, Expr symbol, Expr by) {
  if (symbol->kind == Kind::Poly)
    symbol = getScaledAtom(symbol).second;
  if (!mentions(a, symbol))
    return a;
  auto sub = [&](Expr e) { return substitute(e, symbol, by); };
  switch (a->kind) {
  case Kind::Poly: {
    Expr sum = constant(0, a->isFloat);
    for (const Term &t : a->terms) {
      Expr product = constant(t.coefficient, a->isFloat);
      for (Expr e : t.atoms) {
        SmallVector<Term, 1> own;
        own.push_back({{e}, 1.0});
        Expr factor = e == symbol           ? by
                      : mentions(e, symbol) ? sub(e)
                                            : poly(std::move(own), a->isFloat);
        factor = toNumber(factor, a->isFloat);
        product = mul(product, factor);
      }
      sum = add(sum, product);
    }
    return sum;
  }
  case Kind::Element: {
    SmallVector<Expr> indices;
    for (Expr e : a->operands)
      indices.push_back(sub(e));
    return element(a->tensor, indices);
  }
  case Kind::FloorDiv:
    return floorDiv(sub(a->operands[0]), sub(a->operands[1]));
  case Kind::Min:
    return min(sub(a->operands[0]), sub(a->operands[1]));
  case Kind::Max:
    return max(sub(a->operands[0]), sub(a->operands[1]));
  case Kind::Truncate:
    return toInteger(sub(a->operands[0]));
  case Kind::NotNegative:
    return notNegative(sub(a->operands[0]));
  case Kind::Zero:
    return isZero(sub(a->operands[0]));
  case Kind::Not:
    return negate(sub(a->operands[0]));
  case Kind::And:
  case Kind::Or: {
    Expr result = sub(a->operands[0]);
    for (Expr e : llvm::drop_begin(a->operands))
      result = junction(a->kind, result, sub(e));
    return result;
  }
  case Kind::Select:
    return select(sub(a->operands[0]), sub(a->operands[1]),
                  sub(a->operands[2]));
  case Kind::Symbol:
  case Kind::Bool:
    return a;
  }
  return a;
}

bool Context::provesNotNegative(Expr a) {
  if (a->kind == Kind::Select)
    return provesNotNegative(a->operands[1]) &&
           provesNotNegative(a->operands[2]);
  if (a->kind != Kind::Poly || a->isFloat)
    return false;
  // Sums of products of what is not negative.
  auto isNotNegative = [&](Expr e) {
    auto proves = [&](Expr operand) { return provesNotNegative(operand); };
    return e->kind == Kind::Symbol ||
           (e->kind == Kind::FloorDiv && proves(e->operands[0])) ||
           (e->kind == Kind::Max && llvm::any_of(e->operands, proves)) ||
           (e->kind == Kind::Min && llvm::all_of(e->operands, proves));
  };
  if (llvm::all_of(a->terms, [&](const Term &t) {
        return t.coefficient >= 0 && llvm::all_of(t.atoms, isNotNegative);
      }))
    return true;
  // No length exceeds the longest.
  if (longest)
    for (const Term &t : a->terms)
      if (Expr bound = constant(t.coefficient, false);
          t.atoms.empty() && isWithin(sub(bound, a), bound))
        return true;
  // Each round replaces the atom that was made last, whose bounds mention
  // only older ones.
  SmallVector<Term, 1> terms = a->terms;
  for (int round = 0; round < 32; ++round) {
    Expr newest = nullptr;
    for (const Term &t : terms)
      for (Expr e : t.atoms) {
        bool bounded =
            e->kind == Kind::FloorDiv || (e->kind == Kind::Symbol && e->limit);
        if (bounded && (!newest || e->id > newest->id))
          newest = e;
      }
    if (!newest)
      break;
    SmallVector<Term, 1> next;
    for (const Term &t : terms) {
      auto *it = llvm::find(t.atoms, newest);
      if (it == t.atoms.end()) {
        next.push_back(t);
        continue;
      }
      Term rest = t;
      rest.atoms.erase(rest.atoms.begin() + (it - t.atoms.begin()));
      if (newest->kind == Kind::Symbol) {
        // The other factors must be known to be at least 0.
        if (llvm::any_of(rest.atoms,
                         [](Expr e) { return e->kind != Kind::Symbol; }))
          return false;
        if (t.coefficient > 0)
          continue; // at least 0
        for (const Term &l : termsOf(sub(newest->limit, integer(1)))) {
          Term product = rest;
          product.coefficient *= l.coefficient;
          llvm::append_range(product.atoms, l.atoms);
          next.push_back(std::move(product));
        }
        continue;
      }
      std::optional<double> k = getConstant(newest->operands[1]);
      if (!k || *k <= 0 || !rest.atoms.empty())
        return false;
      // a/k − (k − 1)/k <= ⌊a/k⌋ <= a/k
      Expr bound = newest->operands[0];
      if (t.coefficient > 0)
        bound = sub(bound, constant(*k - 1, false));
      for (const Term &l : termsOf(bound)) {
        Term product = l;
        product.coefficient *= t.coefficient / *k;
        next.push_back(std::move(product));
      }
    }
    // Equal terms must meet before the next round.
    terms = poly(std::move(next), false)->terms;
  }
  return llvm::all_of(terms, [](const Term &t) {
    return t.coefficient >= 0 && llvm::all_of(t.atoms, [](Expr e) {
             return e->kind == Kind::Symbol;
           });
  });
}
