//===- SymbolicReading.cpp - Reading and printing expressions -------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What users of Symbolic.h ask of an expression: its constant, its only atom,
/// its conjuncts, its text.
///
//===----------------------------------------------------------------------===//

#include "miura/Conversion/ONNXToMiura/Symbolic.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace miura::symbolic;
using llvm::ArrayRef;
using llvm::SmallVector;

const Term *miura::symbolic::getOnlyTerm(Expr a) {
  return a->kind == Kind::Poly && a->terms.size() == 1 ? &a->terms[0] : nullptr;
}

std::optional<double> miura::symbolic::getConstant(Expr a) {
  if (a->kind != Kind::Poly)
    return std::nullopt;
  if (a->terms.empty())
    return 0;
  if (a->terms.size() == 1 && a->terms[0].atoms.empty())
    return a->terms[0].coefficient;
  return std::nullopt;
}

std::optional<int64_t> miura::symbolic::getInteger(Expr a) {
  std::optional<double> k = getConstant(a);
  if (!k || *k != std::floor(*k) || std::abs(*k) > 0x1p62)
    return std::nullopt;
  return int64_t(*k);
}

bool miura::symbolic::isConstant(Expr a, double value) {
  std::optional<double> k = getConstant(a);
  return k && *k == value;
}

std::pair<double, Expr> miura::symbolic::getScaledAtom(Expr a) {
  const Term *t = getOnlyTerm(a);
  if (!t || t->atoms.size() != 1)
    return {0, nullptr};
  return {t->coefficient, t->atoms[0]};
}

SmallVector<Expr> miura::symbolic::getConjuncts(Expr a) {
  if (a->kind == Kind::And)
    return SmallVector<Expr>(a->operands.begin(), a->operands.end());
  return {a};
}

static void print(llvm::raw_ostream &os, Expr a) {
  auto list = [&](llvm::StringRef name, ArrayRef<Expr> operands) {
    os << name << '(';
    llvm::interleaveComma(operands, os, [&](Expr e) { print(os, e); });
    os << ')';
  };
  switch (a->kind) {
  case Kind::Poly:
    if (a->terms.empty())
      os << '0';
    llvm::interleave(
        a->terms, os,
        [&](const Term &t) {
          if (t.atoms.empty() || t.coefficient != 1)
            os << llvm::format("%g", t.coefficient)
               << (t.atoms.empty() ? "" : "*");
          llvm::interleave(t.atoms, os, [&](Expr e) { print(os, e); }, "*");
        },
        " + ");
    return;
  case Kind::Symbol:
    os << a->name;
    return;
  case Kind::Element:
    list("element", a->operands);
    return;
  case Kind::FloorDiv:
    return list("div", a->operands);
  case Kind::Min:
    return list("min", a->operands);
  case Kind::Max:
    return list("max", a->operands);
  case Kind::Truncate:
    return list("truncate", a->operands);
  case Kind::Bool:
    os << (a->truth ? "true" : "false");
    return;
  case Kind::NotNegative:
    print(os, a->operands[0]);
    os << " >= 0";
    return;
  case Kind::Zero:
    print(os, a->operands[0]);
    os << " == 0";
    return;
  case Kind::Not:
    return list("not", a->operands);
  case Kind::And:
    return list("and", a->operands);
  case Kind::Or:
    return list("or", a->operands);
  case Kind::Select:
    return list("select", a->operands);
  }
}

std::string miura::symbolic::toString(Expr a) {
  std::string text;
  llvm::raw_string_ostream os(text);
  print(os, a);
  return text;
}
