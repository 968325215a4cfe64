//===- TensorAnalysis.h - What the elements of a tensor are -----*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Shapes and elements of the tensors of an ONNX graph as symbolic expressions.
/// An element of a tensor at given indices is followed through views, index
/// arithmetic, comparisons, gathers and plain arithmetic down to elements of
/// tensors that are computed otherwise. Raising asks it what a Reshape's target
/// is, where an operand of a product comes from and what a mask says.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_CONVERSION_ONNXTOMIURA_TENSORANALYSIS_H
#define MIURA_CONVERSION_ONNXTOMIURA_TENSORANALYSIS_H

#include "miura/Conversion/ONNXToMiura/Symbolic.h"
#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "llvm/ADT/DenseSet.h"
#include <map>

namespace miura {

/// Results hold as long as every value keeps its meaning: a rewrite that
/// replaces a value by an equal one needs no update.
class TensorAnalysis {
public:
  using Expr = symbolic::Expr;
  using Shape = llvm::SmallVector<Expr, 4>;
  using Indices = llvm::SmallVector<Expr, 4>;

  explicit TensorAnalysis(symbolic::Context &context) : context(context) {}

  symbolic::Context &getContext() { return context; }

  /// Finds names of sizes that mean the same, by what is broadcast in a graph.
  /// To be asked before anything else is.
  void learnEqualSizes(mlir::Block &body);

  /// The sizes of a tensor, or null where not even the rank is known.
  const Shape *getShape(mlir::Value value);
  /// Says the sizes of a value that the analysis does not look into.
  void setShape(mlir::Value value, Shape shape) {
    shapes[value.getAsOpaquePointer()] = std::move(shape);
  }

  /// Says that a tensor's elements are not to be looked into.
  void setOpaque(mlir::Value value) { opaque.insert(value); }

  /// The element at `indices`, one per dimension. Never null: an element of
  /// `value` itself where nothing better is known.
  Expr getElement(mlir::Value value, llvm::ArrayRef<Expr> indices);
  /// The elements of a tensor of rank 0 or 1 and known size, in order.
  std::optional<Shape> getElements(mlir::Value value);
  /// Its elements where all are whole numbers.
  std::optional<llvm::SmallVector<int64_t>> getIntegers(mlir::Value value);
  /// The one value that all elements of the tensor have.
  std::optional<double> getSplat(mlir::Value value);

  /// Says that a stored table, n × m behind dimensions of size 1, has one
  /// number at (i, j) where lowest <= j − i <= highest, and another elsewhere.
  struct Band {
    std::optional<int64_t> lowest, highest;
    double inside = 1, outside = 0;
  };
  void setBand(mlir::Value value, const Band &band) { bands[value] = band; }
  /// Says that a stored table grows evenly along its last dimension.
  void setLinear(mlir::Value value) { linear.insert(value); }

  /// Whether no element is zero or false, for sure.
  bool isNonZero(mlir::Value value);

  /// The element of a value of lower rank or size 1 that broadcasting to
  /// `indices` reads; null if it does not broadcast.
  Expr getBroadcastElement(mlir::Value value, llvm::ArrayRef<Expr> indices) {
    return broadcastElement(value, indices);
  }

  /// For a value that only rearranges another one (Reshape, Transpose, Expand,
  /// Identity, …): that other value, with `indices` taken there.
  mlir::Value stepThroughView(mlir::Value value, Indices &indices);

  /// New index symbols for a tensor's dimensions.
  Indices makeIndices(mlir::Value value, llvm::StringRef prefix);

private:
  std::optional<Shape> computeShape(OnnxNodeOp op, unsigned result);
  Expr computeElement(mlir::Value value, llvm::ArrayRef<Expr> indices);
  std::optional<Shape> broadcast(mlir::ValueRange values);
  Expr broadcastElement(mlir::Value value, llvm::ArrayRef<Expr> indices);
  std::optional<Indices> reshapeIndices(const Shape &from, const Shape &to,
                                        llvm::ArrayRef<Expr> indices);
  /// Start and step per dimension, and the resulting sizes.
  struct SliceBounds {
    Shape start, size;
    llvm::SmallVector<int64_t> step;
  };
  std::optional<SliceBounds> getSliceBounds(OnnxNodeOp op);
  std::optional<llvm::SmallVector<int64_t>> getAxes(OnnxNodeOp op,
                                                    int64_t rank);

  symbolic::Context &context;
  /// Not a DenseMap: callers hold pointers to shapes while others are added.
  std::unordered_map<void *, Shape> shapes;
  std::map<std::pair<void *, llvm::SmallVector<Expr, 4>>, Expr> elements;
  llvm::DenseSet<mlir::Value> opaque;
  llvm::DenseMap<mlir::Value, Band> bands;
  llvm::DenseSet<mlir::Value> linear;
  /// Sizes that met in a broadcast and differ.
  llvm::SmallVector<std::pair<Expr, Expr>> conflicts;
  /// Where slices end, and the sizes that they cut.
  llvm::SmallVector<std::pair<Expr, Expr>> cuts;
  unsigned depth = 0;
};

//===----------------------------------------------------------------------===//
// Reading nodes
//===----------------------------------------------------------------------===//

/// The node that makes a value, if it is of that operator of ai.onnx.
OnnxNodeOp getNode(mlir::Value value, llvm::StringRef opType);
/// As `getNode`, of another domain.
OnnxNodeOp getNode(mlir::Value value, llvm::StringRef domain,
                   llvm::StringRef opType);
bool isNode(OnnxNodeOp op, llvm::StringRef opType);
/// An operand, null if left out.
mlir::Value getInput(OnnxNodeOp op, unsigned index);
int64_t getInt(OnnxNodeOp op, llvm::StringRef name, int64_t otherwise);
double getFloat(OnnxNodeOp op, llvm::StringRef name, double otherwise);
llvm::StringRef getString(OnnxNodeOp op, llvm::StringRef name);
std::optional<llvm::SmallVector<int64_t>> getInts(OnnxNodeOp op,
                                                  llvm::StringRef name);

} // namespace miura

#endif // MIURA_CONVERSION_ONNXTOMIURA_TENSORANALYSIS_H
