//===- OracleTest.h - Running IR on numbers in tests ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A fixture that compiles a function given as text through the oracle and
/// runs it on arrays, and arrays of random numbers.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TEST_UNIT_ORACLE_ORACLETEST_H
#define MIURA_TEST_UNIT_ORACLE_ORACLETEST_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "miura/Target/Reference/Reference.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <random>

namespace miura {

class OracleTest : public ::testing::Test {
protected:
  OracleTest() {
    mlir::DialectRegistry registry;
    registry.insert<MiuraDialect>();
    registerReferenceDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// Compiles `text`'s function @f and runs it; empty on an error, which is a
  /// test failure too.
  std::vector<HostArray> run(llvm::StringRef text,
                             llvm::ArrayRef<HostArray> inputs) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (!module) {
      ADD_FAILURE() << "cannot parse " << text.str();
      return {};
    }
    auto function = ReferenceFunction::compile(*module, "f");
    if (mlir::failed(function)) {
      ADD_FAILURE() << "cannot compile " << text.str();
      return {};
    }
    auto outputs = (*function)->run(inputs, mlir::UnknownLoc::get(&context));
    if (mlir::failed(outputs)) {
      ADD_FAILURE() << "cannot run " << text.str();
      return {};
    }
    return std::move(*outputs);
  }

  HostArray zeros(llvm::ArrayRef<int64_t> shape, mlir::Type element = {}) {
    if (!element)
      element = mlir::Float32Type::get(&context);
    return HostArray(mlir::RankedTensorType::get(shape, element));
  }
  /// Normally distributed floats.
  HostArray randomFloats(llvm::ArrayRef<int64_t> shape,
                         mlir::Type element = {}) {
    HostArray array = zeros(shape, element);
    std::normal_distribution<double> normal;
    for (int64_t i = 0; i < array.getNumElements(); ++i)
      array.set(i, normal(generator));
    return array;
  }
  HostArray integers(llvm::ArrayRef<int64_t> shape,
                     llvm::ArrayRef<int64_t> values, unsigned width = 64) {
    HostArray array = zeros(shape, mlir::IntegerType::get(&context, width));
    for (auto [i, value] : llvm::enumerate(values))
      array.set(i, value);
    return array;
  }

  mlir::MLIRContext context;
  std::mt19937 generator{20240607};
};

/// An element by its indices.
inline double at(const HostArray &array, std::initializer_list<int64_t> i) {
  int64_t flat = 0;
  for (auto [size, index] : llvm::zip_equal(array.getShape(), i))
    flat = flat * size + index;
  return array.get(flat);
}

/// Expects `actual` to be within `tolerance` of `expected(indices)`, which is
/// called with the flat index.
template <typename Fn>
void expectNear(const HostArray &actual, double tolerance, Fn expected) {
  for (int64_t i = 0; i < actual.getNumElements(); ++i)
    ASSERT_NEAR(actual.get(i), expected(i), tolerance) << "element " << i;
}

} // namespace miura

#endif // MIURA_TEST_UNIT_ORACLE_ORACLETEST_H
