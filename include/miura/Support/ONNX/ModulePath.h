//===- ModulePath.h - Where in the trained model a node is from -*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// PyTorch's exporter notes for each node the modules that it lies in, as the
/// text of a Python list from the outermost to the node itself, under the key
/// `pkg.torch.onnx.name_scopes` of the node's metadata:
/// `['', 'model', 'model.layers.0.self_attn.q_proj', 'linear']`.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_ONNX_MODULEPATH_H
#define MIURA_SUPPORT_ONNX_MODULEPATH_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace onnx {
class NodeProto;
}

namespace miura {

/// The innermost module of `node`, `model.layers.0.self_attn.q_proj`; empty
/// where its metadata name none.
std::string readModulePath(const onnx::NodeProto &node);

/// Adds the metadata from which readModulePath returns `path`.
void writeModulePath(llvm::StringRef path, onnx::NodeProto &node);

} // namespace miura

#endif // MIURA_SUPPORT_ONNX_MODULEPATH_H
