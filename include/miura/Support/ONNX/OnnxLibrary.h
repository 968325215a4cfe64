//===- OnnxLibrary.h - The ONNX library without exceptions ------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What is asked of the ONNX library itself: inlining and shape inference. It
/// throws; these functions return errors instead.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_ONNX_ONNXLIBRARY_H
#define MIURA_SUPPORT_ONNX_ONNXLIBRARY_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

namespace onnx {
class ModelProto;
}

namespace miura {

/// Whether an operator is understood as it is.
using IsKnownOperator =
    llvm::function_ref<bool(llvm::StringRef domain, llvm::StringRef opType)>;

/// Inlines the model-local functions of `model`, and the standard's own
/// definitions of operators that are not known, and infers the type and shape
/// of every value that the library's schemas, and ours for contributed
/// operators, reach. The data of large tensors need not be there; they must be
/// marked as external.
llvm::Error normalizeOnnxModel(onnx::ModelProto &model,
                               IsKnownOperator isKnown);

/// Registers our schemas of operators that real files have and the standard
/// has not: com.microsoft's, and those that exporters write into the standard's
/// own domain. Once; `normalizeOnnxModel` does it.
void registerContribSchemas();

} // namespace miura

#endif // MIURA_SUPPORT_ONNX_ONNXLIBRARY_H
