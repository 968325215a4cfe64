//===- EinsumEquation.h - The equation of ONNX's Einsum ---------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `bhqd,bhkd->bhqk` as one character per dimension. Without an arrow the
/// result has the letters that stand once, in the order of the alphabet; what
/// `...` stands for gets characters of its own, the same from the right in all
/// terms.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_EINSUMEQUATION_H
#define MIURA_SUPPORT_EINSUMEQUATION_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>

namespace miura {

struct EinsumEquation {
  llvm::SmallVector<std::string> operands;
  std::string result;
  /// The letters that the result does not have, in the order that they come.
  std::string summed;

  /// Nothing where `text` is no equation for operands of `ranks`.
  static std::optional<EinsumEquation> parse(llvm::StringRef text,
                                             llvm::ArrayRef<int64_t> ranks);
};

} // namespace miura

#endif // MIURA_SUPPORT_EINSUMEQUATION_H
