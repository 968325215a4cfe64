//===- Report.h - What a model weighs ---------------------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The figures of `inspect` and `compress`: per layer and for the whole
/// artifact. Expressions are asked through their interface, so a new scheme
/// needs no line here.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_REPORT_H
#define MIURA_DRIVER_REPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <optional>
#include <string>
#include <vector>

namespace miura::driver {

/// A use of a weight.
struct LayerReport {
  std::string name;            ///< the layer's id
  std::string path;            ///< the module path, where it is known
  std::string scheme;          ///< such as `int4/32`, see describeExpression
  std::vector<int64_t> shape;  ///< out × in
  int64_t bytes = 0;           ///< of the expression's leaves
  double bits = 0;             ///< per weight
  std::optional<double> error; ///< of the certificate, where there is one
  /// Where an earlier layer has the same weight: its name. Such a layer's bytes
  /// count once in the totals.
  std::string sharedWith;
  /// Why passes left it as it was: `pass: reason`.
  std::vector<std::string> kept;
};

struct ModelReport {
  std::vector<LayerReport> layers;
  /// The whole artifact, in bytes: what lies in files, or, where there is no
  /// file yet, the leaves of all weights.
  int64_t bytes = 0;
  /// What a loaded model keeps of it: the leaves of all weights.
  int64_t residentBytes = 0;
  /// Numbers of the model as it was trained: each layer's weight once, and the
  /// other floating-point weights that model ops take (norms' scales, biases).
  int64_t parameters = 0;

  double getBitsPerWeight() const {
    return parameters == 0 ? 0 : 8.0 * (double)bytes / (double)parameters;
  }
};

/// An expression in a word: the type of a plain weight (`f32`), `int4/32` for
/// codes in blocks of 32 columns, `uint4/row`, `int8/tensor`; other ops by
/// their names around their operands, `add(int4/32, matmul(f16, f16))`.
std::string describeExpression(mlir::Value value);

/// The report of a module of the model level or below. `bytes` is the size of
/// the artifact, where it is known.
ModelReport makeReport(mlir::ModuleOp module,
                       std::optional<int64_t> bytes = std::nullopt);

/// {bytes, resident_bytes, parameters, bits_per_weight, layers: [{name, path,
/// scheme, shape, bits, bytes, error, shared_with}]}; `error` is null where the
/// layer is not an approximation.
llvm::json::Object toJson(const ModelReport &report);

/// The same as a table.
void printReport(const ModelReport &report, llvm::raw_ostream &os);

} // namespace miura::driver

#endif // MIURA_DRIVER_REPORT_H
