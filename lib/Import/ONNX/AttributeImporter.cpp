//===- AttributeImporter.cpp - Attributes of nodes ------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each kind of AttributeProto has one kind of MLIR attribute, so that export
/// can tell them apart: FLOAT is `f32`, INT `si64`, lists of them
/// `array<f32: …>` and `array<i64: …>`, a STRING a string, a TENSOR a dense
/// attribute or a reference to a `weight_data`, a TYPE_PROTO a type. Rarer
/// kinds are dictionaries with a `kind`.
///
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"

using namespace mlir;
using namespace miura;
using onnx::AttributeProto;

FailureOr<Attribute> OnnxImporter::importTensorAttribute(
    const onnx::TensorProto &tensor, StringRef where, Location loc,
    DictionaryAttr &details, StringRef nameHint) {
  for (const auto &entry : tensor.external_data())
    if (!file && entry.key() == kSymbolKey)
      return Attribute(FlatSymbolRefAttr::get(context, entry.value()));
  auto bytes = readTensor(tensor, where, loc);
  if (failed(bytes))
    return failure();
  NamedAttrList list;
  if (tensor.has_name())
    list.set("name", builder.getStringAttr(tensor.name()));
  if (tensor.has_doc_string())
    list.set("doc", builder.getStringAttr(tensor.doc_string()));

  Attribute result;
  if (bytes->strings.empty() &&
      getOnnxRawBytes(bytes->type.getElementType(),
                      bytes->type.getNumElements()) > kInlineTensorBytes) {
    auto data = makeWeightData(*bytes, nameHint, loc);
    if (failed(data))
      return failure();
    result = FlatSymbolRefAttr::get(data->getSymNameAttr());
  } else {
    auto value = makeInline(*bytes, where, loc);
    if (failed(value))
      return failure();
    result = *value;
    if (bytes->field != DataField::Raw && bytes->field != DataField::String)
      list.set("field", builder.getStringAttr(getFieldName(bytes->field)));
    if (!bytes->location.empty())
      return fail(loc, where)
             << "has a small tensor attribute in external data, which is not "
                "supported; store it in the model";
  }
  if (!list.empty())
    details = list.getDictionary(context);
  return result;
}

FailureOr<Attribute>
OnnxImporter::importSparseTensor(const onnx::SparseTensorProto &sparse,
                                 StringRef where, Location loc,
                                 StringRef nameHint) {
  NamedAttrList list;
  list.set("kind", builder.getStringAttr("sparse"));
  list.set("dims", builder.getDenseI64ArrayAttr(ArrayRef<int64_t>(
                       sparse.dims().data(), sparse.dims_size())));
  for (int64_t dim : sparse.dims())
    if (dim < 0)
      return fail(loc, where) << "has a sparse tensor with the negative "
                                 "dimension "
                              << dim << "; correct it";
  auto add = [&](StringRef name, const onnx::TensorProto &tensor) {
    DictionaryAttr details;
    auto value = importTensorAttribute(tensor, where, loc, details,
                                       (nameHint + "." + name).str());
    if (failed(value))
      return failure();
    list.set(name, *value);
    if (details)
      list.set((name + "_details").str(), details);
    return success();
  };
  if (failed(add("values", sparse.values())) ||
      failed(add("indices", sparse.indices())))
    return failure();
  return Attribute(list.getDictionary(context));
}

FailureOr<Attribute>
OnnxImporter::importAttribute(const AttributeProto &attribute, StringRef where,
                              Location loc, NamedAttrList &tensors) {
  auto tagged = [&](StringRef kind, Attribute value) -> Attribute {
    return builder.getDictionaryAttr(
        {builder.getNamedAttr("kind", builder.getStringAttr(kind)),
         builder.getNamedAttr("value", value)});
  };
  if (!attribute.ref_attr_name().empty())
    return builder.getDictionaryAttr(
        {builder.getNamedAttr("kind", builder.getStringAttr("ref")),
         builder.getNamedAttr("value",
                              builder.getStringAttr(attribute.ref_attr_name())),
         builder.getNamedAttr("type",
                              builder.getI64IntegerAttr(attribute.type()))});
  std::string hint = attribute.name();
  if (NameLoc name = dyn_cast<NameLoc>(loc))
    hint = name.getName().str() + "." + hint;

  switch (attribute.type()) {
  case AttributeProto::FLOAT:
    return Attribute(builder.getF32FloatAttr(attribute.f()));
  case AttributeProto::INT:
    return Attribute(builder.getIntegerAttr(
        builder.getIntegerType(64, /*isSigned=*/true), attribute.i()));
  case AttributeProto::STRING:
    return Attribute(builder.getStringAttr(attribute.s()));
  case AttributeProto::FLOATS:
    return Attribute(builder.getDenseF32ArrayAttr(
        ArrayRef<float>(attribute.floats().data(), attribute.floats_size())));
  case AttributeProto::INTS:
    return Attribute(builder.getDenseI64ArrayAttr(
        ArrayRef<int64_t>(attribute.ints().data(), attribute.ints_size())));
  case AttributeProto::STRINGS: {
    SmallVector<Attribute> list;
    for (const std::string &value : attribute.strings())
      list.push_back(builder.getStringAttr(value));
    return Attribute(builder.getArrayAttr(list));
  }
  case AttributeProto::TENSOR: {
    DictionaryAttr details;
    auto value =
        importTensorAttribute(attribute.t(), where, loc, details, hint);
    if (succeeded(value) && details)
      tensors.set(attribute.name(), details);
    return value;
  }
  case AttributeProto::TENSORS: {
    SmallVector<Attribute> list, detailList;
    for (auto [index, tensor] : llvm::enumerate(attribute.tensors())) {
      DictionaryAttr details = builder.getDictionaryAttr({});
      auto value = importTensorAttribute(tensor, where, loc, details,
                                         hint + "." + std::to_string(index));
      if (failed(value))
        return failure();
      list.push_back(*value);
      detailList.push_back(details);
    }
    tensors.set(attribute.name(), builder.getArrayAttr(detailList));
    return tagged("tensors", builder.getArrayAttr(list));
  }
  case AttributeProto::SPARSE_TENSOR:
    return importSparseTensor(attribute.sparse_tensor(), where, loc, hint);
  case AttributeProto::SPARSE_TENSORS: {
    SmallVector<Attribute> list;
    for (auto [index, sparse] : llvm::enumerate(attribute.sparse_tensors())) {
      auto value = importSparseTensor(sparse, where, loc,
                                      hint + "." + std::to_string(index));
      if (failed(value))
        return failure();
      list.push_back(*value);
    }
    return tagged("sparse_tensors", builder.getArrayAttr(list));
  }
  case AttributeProto::TYPE_PROTO: {
    auto type = importType(context, attribute.tp());
    if (!type)
      return fail(loc, where)
             << "has the attribute '" << attribute.name() << "', which "
             << llvm::toString(type.takeError()) << "; correct it";
    return Attribute(TypeAttr::get(*type));
  }
  case AttributeProto::TYPE_PROTOS: {
    SmallVector<Attribute> list;
    for (const auto &proto : attribute.type_protos()) {
      auto type = importType(context, proto);
      if (!type)
        return fail(loc, where)
               << "has the attribute '" << attribute.name() << "', which "
               << llvm::toString(type.takeError()) << "; correct it";
      list.push_back(TypeAttr::get(*type));
    }
    return tagged("types", builder.getArrayAttr(list));
  }
  case AttributeProto::GRAPH:
  case AttributeProto::GRAPHS:
  case AttributeProto::UNDEFINED:
    break;
  }
  return fail(loc, where) << "has the attribute '" << attribute.name()
                          << "' without a type; export the model again";
}
