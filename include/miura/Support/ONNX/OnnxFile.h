//===- OnnxFile.h - ONNX files without their weights ------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reads and writes ONNX files of any size without holding their weights on
/// the heap. Reading walks the mapped file's wire format, notes where each
/// large tensor's bytes lie and lets protobuf parse the small rest; writing
/// serializes a small model and splices the large tensors' bytes into it.
/// protobuf alone refuses files over 2 GiB and copies everything.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_SUPPORT_ONNX_ONNXFILE_H
#define MIURA_SUPPORT_ONNX_ONNXFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <onnx/onnx_pb.h>
#include <optional>
#include <string>

namespace miura {

/// Tensors of at most this many bytes stay in the model that is parsed, and
/// are written into the IR.
constexpr int64_t kInlineTensorBytes = 4096;

/// How deep subgraphs may nest (a graph in an attribute of a node of a graph),
/// and types of sequences, optionals and maps.
constexpr int kMaxOnnxNesting = 64;

/// Where bytes taken out of a TensorProto lie: a range of the model's own
/// file, and the field that they are the content of.
struct OnnxRange {
  int field; // the field's number: raw_data, float_data or double_data
  uint64_t offset;
  uint64_t length;
};

/// A parsed file. Large tensors' data fields are emptied and named by
/// `getOnnxRange`; everything else is as in the file.
struct OnnxFile {
  std::string path;   // as given
  std::string folder; // absolute, of `path`; external data is looked up here
  std::string realPath;
  uint64_t size = 0;
  onnx::ModelProto model;
};

/// Parses `path`. An error names the file, what is wrong with it, and a remedy.
llvm::Expected<std::unique_ptr<OnnxFile>> readOnnxFile(llvm::StringRef path);

/// Parses the side resource `path` (see Import/ONNX), which has no weights.
llvm::Expected<std::unique_ptr<onnx::ModelProto>>
readOnnxMeta(llvm::StringRef path);

/// The range that `readOnnxFile` took out of `tensor`, if it did.
std::optional<OnnxRange> getOnnxRange(const onnx::TensorProto &tensor);

/// Finds the file that a tensor's external data names. Refuses locations that
/// leave `folder`: absolute names, `..`, and links that lead out.
llvm::Expected<std::string> resolveExternalData(llvm::StringRef folder,
                                                llvm::StringRef location);

/// Marks `tensor` as one whose field `field` holds payload `index` of the
/// `writeOnnxFile` call to come.
void setOnnxPayload(onnx::TensorProto &tensor, int field, size_t index);

/// Writes `model` to `path` (a temporary name beside it, then a rename), with
/// `payloads` in the tensors marked by `setOnnxPayload`.
llvm::Error writeOnnxFile(const onnx::ModelProto &model,
                          llvm::ArrayRef<llvm::ArrayRef<uint8_t>> payloads,
                          llvm::StringRef path);

} // namespace miura

#endif // MIURA_SUPPORT_ONNX_ONNXFILE_H
