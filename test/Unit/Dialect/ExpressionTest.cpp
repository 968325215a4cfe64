//===- ExpressionTest.cpp - The value of every expression op --------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Evaluates each expression op on numbers small enough to work out by hand,
/// whole and row by row, which must agree; and how tensors are stored.
///
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace miura;

namespace {

class ExpressionTest : public testing::Test {
protected:
  ExpressionTest() {
    context.loadDialect<MiuraDialect, arith::ArithDialect, func::FuncDialect>();
    llvm::sys::fs::createUniqueDirectory("miura-expressions", folder);
    context.getLoadedDialect<MiuraDialect>()
        ->getWeightStore()
        .getFiles()
        .setWeightsFolder(folder);
  }
  ~ExpressionTest() override { llvm::sys::fs::remove_directories(folder); }

  /// The value that `body`, the inside of a function, gives its last op. Checks
  /// that rows, one by one and in pairs, are those of the whole.
  std::vector<float> evaluate(const std::string &body,
                              const std::string &globals = "") {
    auto module = parseSourceString<ModuleOp>(
        globals + "func.func @f() {\n" + body + "\nreturn\n}", &context);
    EXPECT_TRUE(module);
    if (!module)
      return {};
    auto function = *module->getOps<func::FuncOp>().begin();
    Operation *last = &*std::next(function.front().rbegin());
    auto whole = evaluateExpression(last->getResult(0));
    EXPECT_TRUE(succeeded(whole));
    if (failed(whole))
      return {};
    int64_t rows = whole->getShape()[0];
    for (int64_t step : {1, 2}) {
      std::vector<float> pieces;
      for (int64_t first = 0; first < rows; first += step) {
        auto piece = evaluateExpressionRows(last->getResult(0), first,
                                            std::min(step, rows - first));
        EXPECT_TRUE(succeeded(piece));
        if (failed(piece))
          return {};
        EXPECT_EQ(piece->getShape()[0], std::min(step, rows - first));
        llvm::append_range(pieces, piece->floats);
      }
      EXPECT_EQ(pieces, whole->floats) << "in rows of " << step;
    }
    return whole->floats;
  }

  /// A weight_data over bytes that are put into the store.
  std::string data(const std::string &name, const std::string &type,
                   std::vector<uint8_t> bytes) {
    auto file = llvm::cantFail(context.getLoadedDialect<MiuraDialect>()
                                   ->getWeightStore()
                                   .getFiles()
                                   .put(bytes));
    return "miura.weight_data private @" + name + " = bytes<\"" + file +
           "\", offset = 0, length = " + std::to_string(bytes.size()) +
           "> : " + type + "\n";
  }

  static std::vector<uint8_t> toBytes(const std::vector<float> &values) {
    std::vector<uint8_t> bytes(values.size() * 4);
    memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }

  llvm::SmallString<128> folder;
  MLIRContext context;
};

using Floats = std::vector<float>;

TEST_F(ExpressionTest, Weight) {
  EXPECT_EQ(evaluate("%0 = miura.weight @w : tensor<2x2xf32>",
                     data("w", "tensor<2x2xf32>", toBytes({1, 2, 3, 4}))),
            (Floats{1, 2, 3, 4}));
  // 1, -2 and the smallest subnormal of f16; 1.5 and -inf of bf16.
  EXPECT_EQ(evaluate("%0 = miura.weight @w : tensor<1x3xf16>",
                     data("w", "tensor<1x3xf16>",
                          {0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00})),
            (Floats{1, -2, 0x1p-24f}));
  EXPECT_EQ(evaluate("%0 = miura.weight @w : tensor<1x2xbf16>",
                     data("w", "tensor<1x2xbf16>", {0xc0, 0x3f, 0x80, 0xff})),
            (Floats{1.5, -INFINITY}));
}

TEST_F(ExpressionTest, DequantizeReadsARowPaddedBitStream) {
  // Rows of three 3-bit codes: 1, -1 (7), 3 | -4 (4), 0, 2 as 9 bits each,
  // lowest first, in two bytes.
  uint16_t first = 1 | 7 << 3 | 3 << 6, second = 4 | 0 << 3 | 2 << 6;
  std::string globals =
      data("c", "tensor<2x3xi3>",
           {(uint8_t)first, (uint8_t)(first >> 8), (uint8_t)second,
            (uint8_t)(second >> 8)}) +
      data("s", "tensor<2x2xf32>", toBytes({10, 100, 0.5, 2}));
  // A block of two columns; the last block of a row is shorter.
  EXPECT_EQ(evaluate("%c = miura.weight @c : tensor<2x3xi3>\n"
                     "%s = miura.weight @s : tensor<2x2xf32>\n"
                     "%0 = miura.dequantize %c, %s block [1, 2] : "
                     "tensor<2x3xi3>, tensor<2x2xf32> -> tensor<2x3xf32>",
                     globals),
            (Floats{10, -10, 300, -2, 0, 4}));
}

TEST_F(ExpressionTest, DequantizeBlocks) {
  std::string codes = "%c = arith.constant dense<[[1, 2], [3, -4], [5, 6]]> : "
                      "tensor<3x2xi4>\n";
  // One scale for the tensor.
  EXPECT_EQ(evaluate(codes +
                     "%s = arith.constant dense<2.0> : tensor<1x1xf16>\n"
                     "%0 = miura.dequantize %c, %s block [0, 0] : "
                     "tensor<3x2xi4>, tensor<1x1xf16> -> tensor<3x2xf32>"),
            (Floats{2, 4, 6, -8, 10, 12}));
  // One per row, and with the zeros 1, 0, 2, read as signed.
  EXPECT_EQ(
      evaluate(
          codes +
          "%s = arith.constant dense<[[1.0], [2.0], [0.5]]> : tensor<3x1xf16>\n"
          "%z = arith.constant dense<[[1], [0], [-2]]> : tensor<3x1xi4>\n"
          "%0 = miura.dequantize %c, %s, %z block [1, 0] : tensor<3x2xi4>, "
          "tensor<3x1xf16>, tensor<3x1xi4> -> tensor<3x2xf32>"),
      (Floats{0, 1, 6, -8, 3.5, 4}));
  // Blocks of two rows by one column, of which the last is cut; unsigned, so
  // that -4 is 12; fractional zeros.
  EXPECT_EQ(evaluate(codes +
                     "%s = arith.constant dense<[[1.0, 10.0], [2.0, 3.0]]> : "
                     "tensor<2x2xf16>\n"
                     "%z = arith.constant dense<[[0.5, 1.0], [0.0, 0.0]]> : "
                     "tensor<2x2xf32>\n"
                     "%0 = miura.dequantize %c, %s, %z block [2, 1] unsigned : "
                     "tensor<3x2xi4>, tensor<2x2xf16>, tensor<2x2xf32> -> "
                     "tensor<3x2xf32>"),
            (Floats{0.5, 10, 2.5, 110, 10, 18}));
}

TEST_F(ExpressionTest, DequantizeWithScalesThatAreAnExpression) {
  EXPECT_EQ(
      evaluate("%c = arith.constant dense<[[1, 2], [3, -4]]> : tensor<2x2xi4>\n"
               "%q = arith.constant dense<[[2], [-1]]> : tensor<2x1xi8>\n"
               "%t = arith.constant dense<0.5> : tensor<1x1xf32>\n"
               "%s = miura.dequantize %q, %t block [0, 0] : tensor<2x1xi8>, "
               "tensor<1x1xf32> -> tensor<2x1xf32>\n"
               "%0 = miura.dequantize %c, %s block [1, 0] : tensor<2x2xi4>, "
               "tensor<2x1xf32> -> tensor<2x2xf32>"),
      (Floats{1, 2, -1.5, 2}));
}

TEST_F(ExpressionTest, Lookup) {
  // The code -1 of i2 is entry 3.
  EXPECT_EQ(
      evaluate("%c = arith.constant dense<[[0, 1], [-1, 0]]> : tensor<2x2xi2>\n"
               "%b = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, "
               "6.0], [7.0, 8.0]]> : tensor<4x2xf16>\n"
               "%0 = miura.lookup %c, %b : tensor<2x2xi2>, tensor<4x2xf16> -> "
               "tensor<2x4xf32>"),
      (Floats{1, 2, 3, 4, 7, 8, 1, 2}));
}

TEST_F(ExpressionTest, DequantizesNumbers) {
  // A codebook whose entries are scaled in blocks, as NF4's are.
  EXPECT_EQ(
      evaluate("%c = arith.constant dense<[[0, 1], [-1, 0]]> : tensor<2x2xi2>\n"
               "%b = arith.constant dense<[[1.0], [3.0], [5.0], [7.0]]> : "
               "tensor<4x1xf32>\n"
               "%l = miura.lookup %c, %b : tensor<2x2xi2>, tensor<4x1xf32> -> "
               "tensor<2x2xf32>\n"
               "%s = arith.constant dense<[[0.5], [2.0]]> : tensor<2x1xf32>\n"
               "%0 = miura.dequantize %l, %s block [1, 2] : tensor<2x2xf32>, "
               "tensor<2x1xf32> -> tensor<2x2xf32>"),
      (Floats{0.5, 1.5, 14, 2}));
}

TEST_F(ExpressionTest, Unprune) {
  EXPECT_EQ(
      evaluate(
          "%v = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : "
          "tensor<2x2xf32>\n"
          "%i = arith.constant dense<[[0, -1], [1, -2]]> : tensor<2x2xi2>\n"
          "%0 = miura.unprune %v, %i \"nm\" group [2, 4] : tensor<2x2xf32>, "
          "tensor<2x2xi2> -> tensor<2x4xf32>"),
      (Floats{1, 0, 0, 2, 0, 3, 4, 0}));
  // A bit per column, lowest first.
  EXPECT_EQ(
      evaluate("%v = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>\n"
               "%i = arith.constant dense<[[2], [3]]> : tensor<2x1xi8>\n"
               "%0 = miura.unprune %v, %i \"bitmap\" : tensor<3xf32>, "
               "tensor<2x1xi8> -> tensor<2x2xf32>"),
      (Floats{0, 1, 2, 3}));
  EXPECT_EQ(evaluate("%v = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0]]]> : "
                     "tensor<1x2x2xf32>\n"
                     "%i = arith.constant dense<[[2]]> : tensor<1x1xi8>\n"
                     "%0 = miura.unprune %v, %i \"block\" group [2, 2] : "
                     "tensor<1x2x2xf32>, tensor<1x1xi8> -> tensor<2x4xf32>"),
            (Floats{0, 0, 1, 2, 0, 0, 3, 4}));
}

TEST_F(ExpressionTest, UnpruneOfCodes) {
  // Rows of nine columns take two bytes; a row may be empty; the values are a
  // stream of 3-bit codes, of which a slice may start within a byte.
  std::string globals =
      data("v", "tensor<5xi3>",
           {1 | 2 << 3 | (3 << 6 & 0xff), 3 >> 2 | 7 << 1 | 5 << 4}) +
      data("i", "tensor<3x2xi8>", {0x81, 0x01, 0x00, 0x00, 0x02, 0x01});
  std::string body = "%v = miura.weight @v : tensor<5xi3>\n"
                     "%i = miura.weight @i : tensor<3x2xi8>\n"
                     "%u = miura.unprune %v, %i \"bitmap\" : tensor<5xi3>, "
                     "tensor<3x2xi8> -> tensor<3x9xi3>\n"
                     "%s = arith.constant dense<2.0> : tensor<1x1xf32>\n"
                     "%0 = miura.dequantize %u, %s block [0, 0] : "
                     "tensor<3x9xi3>, tensor<1x1xf32> -> tensor<3x9xf32>\n";
  EXPECT_EQ(evaluate(body, globals),
            (Floats{2, 0, 0, 0, 0, 0,  0, 4, 6, 0, 0, 0, 0, 0,
                    0, 0, 0, 0, 0, -2, 0, 0, 0, 0, 0, 0, -6}));
}

TEST_F(ExpressionTest, UnpruneFilled) {
  // Codes with zero points: the places that have none are those of zero, which
  // are other codes in other blocks. Rows of two columns a block, slices that
  // begin within blocks of rows.
  std::string body =
      "%v = arith.constant dense<[3, 2, 1]> : tensor<3xi2>\n"
      "%i = arith.constant dense<[[1], [0], [10]]> : tensor<3x1xi8>\n"
      "%z = arith.constant dense<[[1, 2], [3, 0]]> : tensor<2x2xi2>\n"
      "%s = arith.constant dense<[[1.0, 2.0], [4.0, 8.0]]> : tensor<2x2xf32>\n"
      "%u = miura.unprune %v, %i \"bitmap\" fill %z block [2, 2] : "
      "tensor<3xi2>, tensor<3x1xi8>, tensor<2x2xi2> -> tensor<3x4xi2>\n"
      "%0 = miura.dequantize %u, %s, %z block [2, 2] unsigned : "
      "tensor<3x4xi2>, tensor<2x2xf32>, tensor<2x2xi2> -> tensor<3x4xf32>\n";
  EXPECT_EQ(evaluate(body), (Floats{2, 0, 0, 0, 0, 0, 0, 0, 0, -4, 0, 8}));
  body = "%v = arith.constant dense<[[1], [2]]> : tensor<2x1xi2>\n"
         "%i = arith.constant dense<[[0], [1]]> : tensor<2x1xi2>\n"
         "%z = arith.constant dense<[[1], [2]]> : tensor<2x1xi2>\n"
         "%s = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>\n"
         "%u = miura.unprune %v, %i \"nm\" group [1, 2] fill %z block [1, 0] "
         ": tensor<2x1xi2>, tensor<2x1xi2>, tensor<2x1xi2> -> tensor<2x2xi2>\n"
         "%0 = miura.dequantize %u, %s block [1, 0] unsigned : "
         "tensor<2x2xi2>, tensor<2x1xf32> -> tensor<2x2xf32>\n";
  EXPECT_EQ(evaluate(body), (Floats{1, 1, 4, 4}));
}

TEST_F(ExpressionTest, UnpruneOfABatch) {
  // Two matrices of 2 × 4, blocks of 2 × 2 and places of 1 in 2.
  EXPECT_EQ(
      evaluate("%v = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0]], "
               "[[5.0, 6.0], [7.0, 8.0]]]> : tensor<2x2x2xf32>\n"
               "%i = arith.constant dense<[[[2]], [[1]]]> : "
               "tensor<2x1x1xi8>\n"
               "%0 = miura.unprune %v, %i \"block\" group [2, 2] : "
               "tensor<2x2x2xf32>, tensor<2x1x1xi8> -> tensor<2x2x4xf32>"),
      (Floats{0, 0, 1, 2, 0, 0, 3, 4, 5, 6, 0, 0, 7, 8, 0, 0}));
  EXPECT_EQ(
      evaluate("%v = arith.constant dense<[[[1.0, 2.0]], [[3.0, 4.0]]]> "
               ": tensor<2x1x2xf32>\n"
               "%i = arith.constant dense<[[[0, 1]], [[1, 0]]]> : "
               "tensor<2x1x2xi2>\n"
               "%0 = miura.unprune %v, %i \"nm\" group [1, 2] : "
               "tensor<2x1x2xf32>, tensor<2x1x2xi2> -> tensor<2x1x4xf32>"),
      (Floats{1, 0, 0, 2, 0, 3, 4, 0}));
}

TEST_F(ExpressionTest, MatmulAndAdd) {
  std::string factors =
      "%l = arith.constant dense<[[1.0, 2.0], [0.0, -1.0]]> : tensor<2x2xf16>\n"
      "%r = arith.constant dense<[[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]]> : "
      "tensor<2x3xf16>\n"
      "%m = miura.matmul %l, %r : tensor<2x2xf16>, tensor<2x3xf16> -> "
      "tensor<2x3xf32>\n";
  EXPECT_EQ(evaluate(factors), (Floats{7, 2, 2, -3, -1, 0}));
  EXPECT_EQ(evaluate(factors +
                     "%a = arith.constant dense<[[1.0, 1.0, 1.0], [10.0, "
                     "20.0, 30.0]]> : tensor<2x3xf32>\n"
                     "%0 = miura.add %a, %m : tensor<2x3xf32>, "
                     "tensor<2x3xf32> -> tensor<2x3xf32>"),
            (Floats{8, 3, 3, 7, 19, 30}));
}

TEST_F(ExpressionTest, Scale) {
  EXPECT_EQ(evaluate("%a = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : "
                     "tensor<2x2xf32>\n"
                     "%r = arith.constant dense<[2.0, 10.0]> : tensor<2xf32>\n"
                     "%c = arith.constant dense<[1.0, -1.0]> : tensor<2xf32>\n"
                     "%0 = miura.scale %a rows %r : tensor<2xf32> columns %c : "
                     "tensor<2xf32> : tensor<2x2xf32> -> tensor<2x2xf32>"),
            (Floats{2, -4, 30, -40}));
}

TEST_F(ExpressionTest, TransposeConvertApproximate) {
  std::string globals =
      data("w", "tensor<2x3xf32>", toBytes({1, 2, 3, 4, 5, 1.0f + 0x1p-11f}));
  EXPECT_EQ(evaluate("%w = miura.weight @w : tensor<2x3xf32>\n"
                     "%t = miura.transpose %w : tensor<2x3xf32> -> "
                     "tensor<3x2xf32>",
                     globals),
            (Floats{1, 4, 2, 5, 3, 1.0f + 0x1p-11f}));
  // Half way between two f16 values: to the even one.
  EXPECT_EQ(evaluate("%w = miura.weight @w : tensor<2x3xf32>\n"
                     "%h = miura.convert %w : tensor<2x3xf32> -> "
                     "tensor<2x3xf16>\n"
                     "%a = miura.approximate %h of @w : tensor<2x3xf16>",
                     globals),
            (Floats{1, 2, 3, 4, 5, 1}));
}

TEST_F(ExpressionTest, CountsALeafOnce) {
  auto module = parseSourceString<ModuleOp>(
      data("w", "tensor<2x2xf32>", toBytes({1, 2, 3, 4})) +
          "func.func @f() {\n"
          "%0 = miura.weight @w : tensor<2x2xf32>\n"
          "%1 = miura.weight @w : tensor<2x2xf32>\n"
          "%2 = miura.add %0, %1 : tensor<2x2xf32>, tensor<2x2xf32> -> "
          "tensor<2x2xf32>\nreturn\n}",
      &context);
  auto function = *module->getOps<func::FuncOp>().begin();
  EXPECT_EQ(getFileBytes(std::next(function.front().rbegin())->getResult(0)),
            16);
}

TEST_F(ExpressionTest, StoresWhatItReads) {
  auto i5 = IntegerType::get(&context, 5);
  HostTensor tensor;
  tensor.type = RankedTensorType::get({2, 3}, i5);
  tensor.ints = {-16, 15, 0, 1, -1, 7};
  std::vector<uint8_t> bytes = writeHostTensor(tensor);
  EXPECT_EQ(bytes.size(), 4u);
  EXPECT_EQ(readHostTensor(tensor.type, bytes)->ints, tensor.ints);
  EXPECT_TRUE(failed(readHostTensor(tensor.type, {1, 2, 3})));
}

TEST_F(ExpressionTest, NoticesChangedBytes) {
  std::string good = data("w", "tensor<1x2xf32>", toBytes({1, 2}));
  std::string wrong = std::string(63, '0') + "1";
  auto module = parseSourceString<ModuleOp>(
      good.substr(0, good.find('>')) + ", digest = \"" + wrong + "\"" +
          good.substr(good.find('>')) +
          "func.func @f() {\n%0 = miura.weight @w : tensor<1x2xf32>\n"
          "return\n}",
      &context);
  ASSERT_TRUE(module);
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  auto function = *module->getOps<func::FuncOp>().begin();
  EXPECT_TRUE(failed(
      evaluateExpression(std::next(function.front().rbegin())->getResult(0))));
  EXPECT_NE(message.find("are not those that were written"), std::string::npos)
      << message;
}

} // namespace
