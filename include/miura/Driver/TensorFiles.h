//===- TensorFiles.h - Inputs and outputs in files --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Tensors in the files that users and tests have: ONNX TensorProtos in the
/// layout of the ONNX backend tests, NumPy's .npy and .npz. Errors name the
/// file and say what is wrong with it.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DRIVER_TENSORFILES_H
#define MIURA_DRIVER_TENSORFILES_H

#include "miura/Target/Reference/HostArray.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>
#include <string>

namespace miura {

/// A serialized TensorProto (`input_0.pb`); elements of whole bytes and bool.
llvm::Expected<HostArray> readTensorProto(llvm::StringRef path,
                                          mlir::MLIRContext *context);

/// A .npy file, format versions 1 to 3, little-endian, C or Fortran order.
llvm::Expected<HostArray> readNpy(llvm::StringRef path,
                                  mlir::MLIRContext *context);

/// All arrays of a .npz file by name, stored or deflated.
llvm::Expected<std::map<std::string, HostArray>>
readNpz(llvm::StringRef path, mlir::MLIRContext *context);

/// Writes a .npy beside its place and renames it; bf16, which NumPy has no name
/// for, is written as f32.
llvm::Error writeNpy(const HostArray &array, llvm::StringRef path);

/// The tensors of one run: a folder or a .npz file.
///
/// Tensor M of `stem` ("input" or "output"), called `name` in the model, is
/// `stem_M.pb`, `stem_M.npy` or `name.npy` of the folder (characters of the
/// name that are no good in a file name as `_`), or the array `name` or
/// `stem_M` of the folder's `stems.npz` or of the .npz file.
class TensorSet {
public:
  static llvm::Expected<TensorSet> open(llvm::StringRef path,
                                        mlir::MLIRContext *context);
  llvm::StringRef getPath() const { return path; }
  /// Nothing where the set does not have it.
  llvm::Expected<std::optional<HostArray>>
  find(llvm::StringRef stem, size_t index, llvm::StringRef name) const;

private:
  std::string path;
  mlir::MLIRContext *context = nullptr;
  bool isFolder = false;
  std::map<std::string, std::map<std::string, HostArray>> archives;
};

/// `name` as a file name: other characters than letters, digits, `.`, `-` and
/// `_` become `_`.
std::string toFileName(llvm::StringRef name);

/// How far `actual` is from `expected`.
struct ArrayDifference {
  double maxAbsolute = 0; ///< max |a − b|
  double relative = 0;    ///< ‖a − b‖₂ / ‖b‖₂, ‖a − b‖₂ where b is zero
};

/// The difference of two arrays of one shape. Equal infinities and NaNs at the
/// same place do not differ; a NaN at one side makes both numbers infinite.
ArrayDifference compareArrays(const HostArray &actual,
                              const HostArray &expected);

} // namespace miura

#endif // MIURA_DRIVER_TENSORFILES_H
