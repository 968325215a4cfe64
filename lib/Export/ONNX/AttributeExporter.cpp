//===- AttributeExporter.cpp - Attributes as protos -----------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The inverse of Import/ONNX's AttributeImporter.
///
//===----------------------------------------------------------------------===//

#include "AttributeExporter.h"
#include "miura/Import/ONNX/ImportOnnx.h"
#include "miura/Import/ONNX/OnnxTypes.h"

using namespace mlir;
using namespace miura;
using onnx::AttributeProto;

void miura::setTensorHead(RankedTensorType type, onnx::TensorProto &tensor) {
  for (int64_t dim : type.getShape())
    tensor.add_dims(dim);
  tensor.set_data_type(getOnnxDataType(type.getElementType()));
}

LogicalResult miura::exportTensor(Operation *op, ElementsAttr value,
                                  StringRef field, SetOnnxData setData,
                                  onnx::TensorProto &tensor) {
  auto type = cast<RankedTensorType>(value.getShapedType());
  setTensorHead(type, tensor);
  if (tensor.data_type() == onnx::TensorProto::UNDEFINED)
    return op->emitOpError("has a tensor of ")
           << type << ", whose element type ONNX does not have";
  if (auto strings = dyn_cast<DenseStringElementsAttr>(value)) {
    for (StringRef text : strings.getValues<StringRef>())
      tensor.add_string_data(text.str());
    return success();
  }
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense)
    return op->emitOpError("has a constant that is not dense, and cannot be "
                           "exported to an ONNX file");
  if (op->hasAttr(kExternalAttrName))
    return setData({op, type, dense}, tensor);
  std::string raw = getDenseBytes(dense);
  setRawBytes(tensor, getFieldByName(field), type.getElementType(),
              {(const uint8_t *)raw.data(), raw.size()});
  return success();
}

/// A tensor attribute: dense, or a reference to a weight_data.
static LogicalResult exportTensorAttribute(Operation *op, Attribute value,
                                           Attribute details,
                                           SetOnnxData setData,
                                           onnx::TensorProto &tensor) {
  StringRef field = "raw_data";
  if (auto dict = dyn_cast_or_null<DictionaryAttr>(details)) {
    if (auto text = dict.getAs<StringAttr>("name"))
      tensor.set_name(text.str());
    if (auto text = dict.getAs<StringAttr>("doc"))
      tensor.set_doc_string(text.str());
    if (auto text = dict.getAs<StringAttr>("field"))
      field = text.getValue();
  }
  if (auto symbol = dyn_cast<FlatSymbolRefAttr>(value)) {
    auto data = SymbolTable::lookupNearestSymbolFrom<WeightDataOp>(op, symbol);
    if (!data)
      return op->emitOpError("refers to '")
             << symbol << "', which is not a miura.weight_data";
    auto type = cast<RankedTensorType>(data.getType());
    setTensorHead(type, tensor);
    return setData({data, type, {}}, tensor);
  }
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements)
    return op->emitOpError("has a tensor attribute that is none: ") << value;
  return exportTensor(op, elements, field, setData, tensor);
}

LogicalResult miura::exportSparseTensor(Operation *op, Attribute value,
                                        SetOnnxData setData,
                                        onnx::SparseTensorProto &proto) {
  auto dict = dyn_cast_or_null<DictionaryAttr>(value);
  auto dims = dict ? dict.getAs<DenseI64ArrayAttr>("dims") : nullptr;
  if (!dims || !dict.get("values") || !dict.get("indices"))
    return op->emitOpError("has a sparse tensor without dims, values or "
                           "indices");
  for (int64_t dim : dims.asArrayRef())
    proto.add_dims(dim);
  if (failed(exportTensorAttribute(op, dict.get("values"),
                                   dict.get("values_details"), setData,
                                   *proto.mutable_values())))
    return failure();
  return exportTensorAttribute(op, dict.get("indices"),
                               dict.get("indices_details"), setData,
                               *proto.mutable_indices());
}

/// The kinds that are a dictionary with a `kind`.
static LogicalResult exportTagged(Operation *op, DictionaryAttr dict,
                                  Attribute details, SetOnnxData setData,
                                  AttributeProto &proto) {
  if (auto empty = dict.getAs<IntegerAttr>("empty")) {
    proto.set_type((AttributeProto::AttributeType)empty.getInt());
    return success();
  }
  auto kindAttr = dict.getAs<StringAttr>("kind");
  StringRef kind = kindAttr ? kindAttr.getValue() : "";
  if (kind == "ref") {
    proto.set_ref_attr_name(dict.getAs<StringAttr>("value").str());
    proto.set_type(
        (AttributeProto::AttributeType)dict.getAs<IntegerAttr>("type")
            .getInt());
    return success();
  }
  if (kind == "sparse") {
    proto.set_type(AttributeProto::SPARSE_TENSOR);
    return exportSparseTensor(op, dict, setData,
                              *proto.mutable_sparse_tensor());
  }
  auto list = dict.getAs<ArrayAttr>("value");
  if (list && kind == "tensors") {
    proto.set_type(AttributeProto::TENSORS);
    auto detailList = dyn_cast_or_null<ArrayAttr>(details);
    for (auto [index, tensor] : llvm::enumerate(list))
      if (failed(exportTensorAttribute(
              op, tensor, detailList ? detailList[index] : Attribute(), setData,
              *proto.add_tensors())))
        return failure();
    return success();
  }
  if (list && kind == "sparse_tensors") {
    proto.set_type(AttributeProto::SPARSE_TENSORS);
    for (Attribute sparse : list)
      if (failed(exportSparseTensor(op, sparse, setData,
                                    *proto.add_sparse_tensors())))
        return failure();
    return success();
  }
  if (list && kind == "types") {
    proto.set_type(AttributeProto::TYPE_PROTOS);
    for (auto type : list.getAsRange<TypeAttr>())
      exportType(type.getValue(), *proto.add_type_protos());
    return success();
  }
  return op->emitOpError("has the attribute '")
         << proto.name() << "', which ONNX has no form for: " << dict;
}

LogicalResult miura::exportAttribute(Operation *op, Attribute value,
                                     Attribute details, SetOnnxData setData,
                                     AttributeProto &proto) {
  if (auto number = dyn_cast<FloatAttr>(value)) {
    proto.set_type(AttributeProto::FLOAT);
    proto.set_f(number.getValue().convertToFloat());
    return success();
  }
  if (auto number = dyn_cast<IntegerAttr>(value)) {
    proto.set_type(AttributeProto::INT);
    proto.set_i(number.getValue().getSExtValue());
    return success();
  }
  if (auto text = dyn_cast<StringAttr>(value)) {
    proto.set_type(AttributeProto::STRING);
    proto.set_s(text.str());
    return success();
  }
  if (auto list = dyn_cast<DenseF32ArrayAttr>(value)) {
    proto.set_type(AttributeProto::FLOATS);
    for (float number : list.asArrayRef())
      proto.add_floats(number);
    return success();
  }
  if (auto list = dyn_cast<DenseI64ArrayAttr>(value)) {
    proto.set_type(AttributeProto::INTS);
    for (int64_t number : list.asArrayRef())
      proto.add_ints(number);
    return success();
  }
  if (auto list = dyn_cast<ArrayAttr>(value)) {
    proto.set_type(AttributeProto::STRINGS);
    for (Attribute text : list) {
      if (!isa<StringAttr>(text))
        return op->emitOpError("has the attribute '")
               << proto.name() << "', whose list ONNX has no form for";
      proto.add_strings(cast<StringAttr>(text).str());
    }
    return success();
  }
  if (auto type = dyn_cast<TypeAttr>(value)) {
    proto.set_type(AttributeProto::TYPE_PROTO);
    exportType(type.getValue(), *proto.mutable_tp());
    return success();
  }
  if (auto dict = dyn_cast<DictionaryAttr>(value))
    return exportTagged(op, dict, details, setData, proto);
  proto.set_type(AttributeProto::TENSOR);
  return exportTensorAttribute(op, value, details, setData, *proto.mutable_t());
}
