//===- Symbolic.h - Scalar expressions of indices and sizes -----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Uniqued scalar expressions over tensor sizes, tensor indices and elements
/// of tensors, in a normal form in which equal meaning is mostly equal pointer.
/// Raising uses them to say what a shape, a mask or a rotation *is*, whatever
/// chain of nodes computes it.
///
/// Numbers are polynomials over atoms, conditions are conjunctions of `p >= 0`
/// and `p == 0`; a selection is pushed outward through arithmetic.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXTOMIURA_SYMBOLIC_H
#define MIURA_CONVERSION_ONNXTOMIURA_SYMBOLIC_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace miura::symbolic {

class Node;
using Expr = const Node *;

enum class Kind : uint8_t {
  /// A polynomial with numeric coefficients: every number is one.
  Poly,
  /// An index or a size: not negative, and below `limit` where it has one.
  Symbol,
  /// An element of a tensor that is not looked into.
  Element,
  /// ⌊a / b⌋ for b > 0.
  FloorDiv,
  Min,
  Max,
  /// A number of another type, as an atom: rounding toward zero.
  Truncate,
  /// Conditions.
  Bool,
  NotNegative,
  Zero,
  Not,
  And,
  Or,
  /// operands[0] ? operands[1] : operands[2], of numbers or conditions.
  Select,
};

/// A product of atoms, in the order of their ids, times a number.
struct Term {
  llvm::SmallVector<Expr, 2> atoms;
  double coefficient;
};

class Node {
public:
  explicit Node(Kind kind) : kind(kind) {}

  Kind kind;
  /// Order of creation: a stable order of operands.
  uint32_t id = 0;
  /// Nodes below, counted as a tree: a bound on what rewriting may grow.
  uint32_t size = 1;
  /// Numbers: whether of floating-point type.
  bool isFloat = false;
  /// Bool: its value.
  bool truth = false;
  llvm::SmallVector<Term, 1> terms;    // Poly
  llvm::SmallVector<Expr, 3> operands; // all others; an Element's indices
  mlir::Value tensor;                  // Element
  std::string name;                    // Symbol
  Expr limit = nullptr;                // Symbol

  bool isNumber() const {
    return kind == Kind::Poly ||
           (kind == Kind::Select && operands[1]->isNumber());
  }
  bool isCondition() const { return !isNumber(); }
};

/// Makes and owns expressions.
class Context {
public:
  Expr integer(int64_t value) { return constant(double(value), false); }
  Expr real(double value) { return constant(value, true); }
  Expr boolean(bool value);
  /// A size of unknown value, at least 0. One symbol per name, unless it was
  /// found to be another size.
  Expr size(llvm::StringRef name);
  /// Says that a size is another one, in what is made from now on.
  void setSize(llvm::StringRef name, Expr value) {
    aliases[name.str()] = value;
  }
  /// Says that no sum of sizes of unknown value exceeds `length`: a longer text
  /// would run off a table of the file.
  void setLongest(int64_t length) { longest = length; }
  /// An index in [0, limit): a symbol per name and limit, 0 where limit is 1.
  Expr index(llvm::StringRef name, Expr limit);
  /// An element of a tensor, of the kind that its element type says.
  Expr element(mlir::Value tensor, llvm::ArrayRef<Expr> indices);

  Expr add(Expr a, Expr b);
  Expr sub(Expr a, Expr b) { return add(a, scale(b, -1)); }
  Expr mul(Expr a, Expr b);
  Expr scale(Expr a, double factor);
  /// ⌊a / b⌋, b > 0.
  Expr floorDiv(Expr a, Expr b);
  Expr mod(Expr a, Expr b) { return sub(a, mul(b, floorDiv(a, b))); }
  Expr min(Expr a, Expr b);
  Expr max(Expr a, Expr b);
  /// a as a floating-point number, a condition as 1 or 0.
  Expr toFloat(Expr a) { return toNumber(a, true); }
  Expr toInteger(Expr a) { return toNumber(a, false); }
  Expr toCondition(Expr a);

  Expr notNegative(Expr a);
  Expr isZero(Expr a);
  Expr lessEqual(Expr a, Expr b) { return notNegative(sub(b, a)); }
  Expr less(Expr a, Expr b) { return negate(lessEqual(b, a)); }
  Expr equal(Expr a, Expr b);
  Expr negate(Expr condition);
  Expr conjunction(Expr a, Expr b) { return junction(Kind::And, a, b); }
  Expr disjunction(Expr a, Expr b) { return junction(Kind::Or, a, b); }
  Expr select(Expr condition, Expr a, Expr b);

  /// The expression with a symbol replaced.
  Expr substitute(Expr a, Expr symbol, Expr by);
  /// Whether a >= 0 follows from the bounds of the symbols. Incomplete.
  bool provesNotNegative(Expr a);
  /// a / b where b divides every term, else null.
  Expr exactQuotient(Expr a, Expr b);

private:
  Expr constant(double value, bool isFloat);
  /// ⌊a / b⌋ by division of polynomials, or null.
  Expr divideByLeadingTerm(Expr a, Expr b);
  Expr toNumber(Expr a, bool isFloat);
  /// a where a condition is known to hold, or not to.
  Expr assume(Expr a, Expr condition, bool value);
  Expr junction(Kind kind, Expr a, Expr b);
  Expr unique(Node node);
  /// Beyond this size arithmetic no longer distributes over selections and
  /// sums.
  static constexpr uint32_t kMaximumSize = 400;

  Expr atom(Node node, bool isFloat);
  Expr poly(llvm::SmallVector<Term, 1> terms, bool isFloat);
  /// The result of `op` on the branches of a selection, or null.
  template <typename Op> Expr pushInto(Expr a, Expr b, Op op);

  /// Whether `bound` is a number that the sum of sizes `length` does not
  /// exceed.
  bool isWithin(Expr length, Expr bound) const;

  std::optional<int64_t> longest;
  std::vector<std::unique_ptr<Node>> nodes;
  std::unordered_multimap<uint64_t, Expr> table;
  std::unordered_map<std::string, Expr> aliases;
};

/// Whether `symbol` stands anywhere in `a`.
bool mentions(Expr a, Expr symbol);
/// The value of a constant number.
std::optional<double> getConstant(Expr a);
std::optional<int64_t> getInteger(Expr a);
/// The term of a polynomial that has one, or null.
const Term *getOnlyTerm(Expr a);
/// `factor · atom` as its two parts, or a null atom.
std::pair<double, Expr> getScaledAtom(Expr a);
bool isConstant(Expr a, double value);
/// The parts of a conjunction: the expression itself if it is none.
llvm::SmallVector<Expr> getConjuncts(Expr a);
/// For messages and debugging.
std::string toString(Expr a);

} // namespace miura::symbolic

#endif // MIURA_CONVERSION_ONNXTOMIURA_SYMBOLIC_H
