//===- InitializerImporter.cpp - Tensors of a file ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Large tensors become names of bytes in the file that has them, wherever the
/// proto says they lie; nothing is read. Offsets and lengths are checked
/// against the files, which the ONNX checker leaves undone.
///
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace miura;
using onnx::TensorProto;

LogicalResult OnnxImporter::readExternal(const TensorProto &tensor,
                                         int64_t rawBytes, StringRef where,
                                         Location loc, TensorBytes &result) {
  int64_t offset = 0, length = -1;
  SmallVector<StringRef> keys;
  for (const auto &entry : tensor.external_data()) {
    keys.push_back(entry.key());
    if (entry.key() == "location") {
      result.location = entry.value();
    } else if (entry.key() == "offset" || entry.key() == "length") {
      int64_t &value = entry.key() == "offset" ? offset : length;
      if (StringRef(entry.value()).getAsInteger(10, value) || value < 0)
        return fail(loc, where)
               << "has external data with the " << entry.key() << " '"
               << entry.value() << "'; expects a number that is not negative";
    }
  }
  if (keys != SmallVector<StringRef>{"location", "offset", "length"})
    for (const auto &entry : tensor.external_data()) {
      result.entries.push_back(entry.key());
      result.entries.push_back(entry.value());
    }

  auto known = externalFiles.find(result.location);
  if (known == externalFiles.end()) {
    auto real = resolveExternalData(file->folder, result.location);
    if (!real)
      return fail(loc, where)
             << "cannot be read: " << llvm::toString(real.takeError());
    uint64_t size = 0;
    if (std::error_code code = llvm::sys::fs::file_size(*real, size))
      return fail(loc, where)
             << "cannot be read: '" << *real << "': " << code.message()
             << "; check its permissions";
    known = externalFiles.try_emplace(result.location, *real, size).first;
  }
  const auto &[realPath, fileSize] = known->second;
  if (length >= 0 && length != rawBytes)
    return fail(loc, where) << "is " << result.type << " and needs " << rawBytes
                            << " bytes, but its external data has " << length
                            << "; export the model again";
  if ((uint64_t)offset > fileSize || (uint64_t)rawBytes > fileSize - offset)
    return fail(loc, where)
           << "needs " << rawBytes << " bytes from " << offset << " of '"
           << result.location << "', which has only " << fileSize
           << "; the file is too short: copy or download it again";
  result.externalOffset = offset;
  result.field = DataField::Raw;
  result.mapped =
      BytesAttr::get(context, realPath, offset, rawBytes, fileSize, {});
  return success();
}

FailureOr<TensorBytes> OnnxImporter::readTensor(const TensorProto &tensor,
                                                StringRef where, Location loc) {
  TensorBytes result;
  auto type = importTensorType(context, tensor);
  if (!type)
    return fail(loc, where)
           << llvm::toString(type.takeError()) << "; export the model again";
  result.type = *type;
  if (tensor.has_segment())
    return fail(loc, where) << "is stored in segments, which is not supported; "
                               "store it whole";
  int64_t count = type->getNumElements();
  int64_t rawBytes = getOnnxRawBytes(type->getElementType(), count);

  if (tensor.data_location() == TensorProto::EXTERNAL) {
    if (isa<StringType>(type->getElementType()))
      return fail(loc, where) << "holds strings, which cannot be external data";
    if (!file)
      return fail(loc, where) << "is external data of no file";
    if (failed(readExternal(tensor, rawBytes, where, loc, result)))
      return failure();
    // Small ones are read: they go into the IR.
    if (rawBytes <= kInlineTensorBytes) {
      auto bytes =
          context->getOrLoadDialect<MiuraDialect>()->getWeightStore().getBytes(
              result.mapped, loc);
      if (failed(bytes))
        return failure();
      result.own.assign(bytes->begin(), bytes->end());
      result.mapped = {};
    }
    return result;
  }

  auto field = getDataField(tensor);
  if (!field)
    return fail(loc, where)
           << llvm::toString(field.takeError()) << "; export the model again";
  result.field = *field;
  if (isa<StringType>(type->getElementType())) {
    result.strings.assign(tensor.string_data().begin(),
                          tensor.string_data().end());
    if ((int64_t)result.strings.size() != count)
      return fail(loc, where)
             << "is " << *type << ", but has " << result.strings.size()
             << " strings; export the model again";
    return result;
  }
  int64_t size;
  if (std::optional<OnnxRange> range = getOnnxRange(tensor)) {
    if (!file || range->offset > file->size ||
        range->length > file->size - range->offset)
      return fail(loc, where) << "names bytes outside its file";
    size = (int64_t)range->length;
    result.mapped = BytesAttr::get(context, file->realPath, range->offset,
                                   range->length, file->size, {});
  } else {
    result.own = getRawBytes(tensor, *field, type->getElementType());
    size = (int64_t)result.own.size();
  }
  if (size != rawBytes)
    return fail(loc, where)
           << "is " << *type << " and needs " << rawBytes << " bytes, but has "
           << size << "; export the model again";
  return result;
}

FailureOr<TypedAttr> OnnxImporter::makeInline(const TensorBytes &bytes,
                                              StringRef where, Location loc) {
  if (isa<StringType>(bytes.type.getElementType())) {
    SmallVector<StringRef> strings(bytes.strings.begin(), bytes.strings.end());
    return TypedAttr(DenseStringElementsAttr::get(bytes.type, strings));
  }
  return TypedAttr(makeDense(
      bytes.type, {(const uint8_t *)bytes.own.data(), bytes.own.size()}));
}

void OnnxImporter::setExternalAttributes(Operation *op,
                                         const TensorBytes &bytes,
                                         bool isInline) {
  if (bytes.field != DataField::Raw && bytes.field != DataField::String)
    op->setAttr(kFieldAttrName,
                builder.getStringAttr(getFieldName(bytes.field)));
  if (bytes.location.empty())
    return;
  if (isInline)
    op->setAttr(kExternalAttrName,
                BytesAttr::get(context, bytes.location, bytes.externalOffset,
                               bytes.own.size(), 0, {}));
  else
    op->setAttr(kLocationAttrName, builder.getStringAttr(bytes.location));
  if (!bytes.entries.empty())
    op->setAttr(kExternalEntriesAttrName,
                builder.getStrArrayAttr(bytes.entries));
}

FailureOr<WeightDataOp>
OnnxImporter::makeWeightData(TensorBytes &bytes, StringRef name, Location loc) {
  WeightStore &store =
      context->getOrLoadDialect<MiuraDialect>()->getWeightStore();
  ArrayRef<uint8_t> own((const uint8_t *)bytes.own.data(), bytes.own.size());
  if (!isSamePacking(bytes.type)) {
    // ONNX packs across rows; ours begin at a byte. Written anew, as no file
    // has the bytes so.
    if (bytes.mapped) {
      auto mapped = store.getBytes(bytes.mapped, loc);
      if (failed(mapped))
        return failure();
      own = *mapped;
    }
    auto put = store.putBytes(packRows(bytes.type, own), loc);
    if (failed(put))
      return failure();
    bytes.mapped = *put;
  } else if (!bytes.mapped) {
    auto put = store.putBytes(own, loc);
    if (failed(put))
      return failure();
    bytes.mapped = *put;
  }
  OpBuilder::InsertionGuard guard(builder);
  // Data stand before the function that uses them, in the file's order.
  Operation *function = builder.getInsertionBlock()->getParentOp();
  while (function && !isa<func::FuncOp>(function))
    function = function->getParentOp();
  builder.setInsertionPoint(function);
  auto data = WeightDataOp::create(builder, loc, name.empty() ? "tensor" : name,
                                   builder.getStringAttr("private"),
                                   bytes.mapped, StringAttr(), bytes.type);
  symbols.insert(data, Block::iterator(function));
  setExternalAttributes(data, bytes, /*isInline=*/false);
  return data;
}

LogicalResult
OnnxImporter::importInitializer(const TensorProto &tensor,
                                onnx::GraphProto &leftover,
                                const llvm::StringMap<int> &inputs) {
  std::string where = "initializer '" + tensor.name() + "'";
  Location loc = NameLoc::get(builder.getStringAttr(tensor.name()));
  if (tensor.name().empty())
    return fail(loc, "an initializer") << "has no name; export the model again";
  if (tensor.has_doc_string() || tensor.metadata_props_size() != 0) {
    auto *kept = leftover.add_initializer();
    kept->set_name(tensor.name());
    if (tensor.has_doc_string())
      kept->set_doc_string(tensor.doc_string());
    *kept->mutable_metadata_props() = tensor.metadata_props();
  }
  Operation *op = nullptr;
  StringRef symbol;
  for (const auto &entry : tensor.external_data())
    if (!file && entry.key() == kSymbolKey)
      symbol = entry.value();
  if (!symbol.empty()) {
    auto data = symbols.lookup<WeightDataOp>(symbol);
    op = WeightOp::create(builder, loc, data.getType(),
                          FlatSymbolRefAttr::get(data.getSymNameAttr()));
  } else {
    auto bytes = readTensor(tensor, where, loc);
    if (failed(bytes))
      return failure();
    if (getOnnxRawBytes(bytes->type.getElementType(),
                        bytes->type.getNumElements()) > kInlineTensorBytes) {
      auto data = makeWeightData(*bytes, tensor.name(), loc);
      if (failed(data))
        return failure();
      op = WeightOp::create(builder, loc, bytes->type,
                            FlatSymbolRefAttr::get(data->getSymNameAttr()));
      symbol = data->getSymName();
    } else {
      auto value = makeInline(*bytes, where, loc);
      if (failed(value))
        return failure();
      op = arith::ConstantOp::create(builder, loc, *value);
      setExternalAttributes(op, *bytes, /*isInline=*/true);
    }
  }
  if (symbol != tensor.name())
    op->setAttr(kNameAttrName, builder.getStringAttr(tensor.name()));
  if (auto it = inputs.find(tensor.name());
      it != inputs.end() && it->second >= 0)
    op->setAttr(kInputAttrName, builder.getI64IntegerAttr(it->second));
  return define(tensor.name(), op->getResult(0), where, loc);
}
