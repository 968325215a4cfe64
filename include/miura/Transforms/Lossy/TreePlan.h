//===- TreePlan.h - An expression before it is IR ---------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Lossy passes compute many layers at once, and IR is changed by one thread: a
/// layer's computation returns a plan of its new tree, which is built when its
/// turn comes. Plans are values of the module, new tensors, and ops over plans.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TRANSFORMS_LOSSY_TREEPLAN_H
#define MIURA_TRANSFORMS_LOSSY_TREEPLAN_H

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include <functional>
#include <memory>

namespace miura {

/// Tensors of one layer of together up to this many bytes are inline constants:
/// tests can write and check them, and they are not worth a file of their own.
inline constexpr int64_t kInlineBytes = 1024;

/// A tensor that a job made: bytes, or the name of a stored file.
struct StoredTensor {
  mlir::RankedTensorType type;
  std::vector<uint8_t> bytes;
  std::string file;
  int64_t length = 0;
};

/// Collects the bytes of a tensor piece by piece: small ones in memory, others
/// in the store.
class TensorWriter {
public:
  TensorWriter(FileStore &files, mlir::RankedTensorType type, bool isSmall)
      : files(files), isSmall(isSmall) {
    tensor.type = type;
  }
  llvm::Error write(llvm::ArrayRef<uint8_t> bytes);
  llvm::Expected<StoredTensor> finish();

private:
  FileStore &files;
  bool isSmall;
  StoredTensor tensor;
  std::unique_ptr<FileStore::Writer> writer;
};

/// Stores a whole tensor.
llvm::Expected<StoredTensor>
storeTensor(FileStore &files, const HostTensor &tensor, bool isSmall);

class TreePlan;
using TreePlanPtr = std::shared_ptr<const TreePlan>;

class TreePlan {
public:
  using Create = std::function<mlir::Value(mlir::OpBuilder &, mlir::Location,
                                           llvm::ArrayRef<mlir::Value>)>;

  /// A value that the module has.
  static TreePlanPtr keep(mlir::Value value);
  /// A new tensor; `name` is the symbol of its data, made unique.
  static TreePlanPtr leaf(const llvm::Twine &name, StoredTensor tensor);
  /// An op over others, made by `create`.
  static TreePlanPtr make(Create create, std::vector<TreePlanPtr> operands);
  /// The op `op` over others, with a result of `type`.
  static TreePlanPtr remake(mlir::Operation *op, mlir::Type type,
                            std::vector<TreePlanPtr> operands);

private:
  friend class TreeBuilder;
  mlir::Value value;
  std::string name;
  StoredTensor tensor;
  Create create;
  std::vector<TreePlanPtr> operands;
};

/// Puts `data` behind the module's other weights, under a name of its own.
void insertWeightData(WeightDataOp data, mlir::SymbolTable &symbols);

/// Builds the plan of one weight, at every place where the weight is used.
class TreeBuilder {
public:
  TreeBuilder(mlir::SymbolTable &symbols, mlir::Location loc)
      : symbols(symbols), loc(loc) {}

  /// The plan's value after `place`. Where `isCopy`, what the plan keeps lies
  /// elsewhere and is copied too.
  mlir::Value build(const TreePlanPtr &plan, mlir::Value place, bool isCopy);

private:
  mlir::Value build(const TreePlan *plan, mlir::OpBuilder &builder);
  mlir::Value copy(mlir::Value value, mlir::OpBuilder &builder);
  mlir::Value createLeaf(const TreePlan *plan, mlir::OpBuilder &builder);

  mlir::SymbolTable &symbols;
  mlir::Location loc;
  bool isCopy = false;
  llvm::DenseMap<const TreePlan *, mlir::Attribute> leaves; // over all places
  llvm::DenseMap<const TreePlan *, mlir::Value> built;
  llvm::DenseMap<mlir::Value, mlir::Value> copies;
};

} // namespace miura

#endif // MIURA_TRANSFORMS_LOSSY_TREEPLAN_H
