//===- OnnxOps.cpp - The onnx level ---------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace miura;

//===----------------------------------------------------------------------===//
// OnnxNodeOp
//===----------------------------------------------------------------------===//
//
// miura.onnx_node "Op"(%a, %b) {attributes} domain("d") overload("o")
//   version(18) name("n") outputs(["x"]) [attr-dict]
//   : (types) -> types [regions("then_branch" {…}, …)]

ParseResult OnnxNodeOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &builder = parser.getBuilder();
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  StringAttr opType;
  if (parser.parseAttribute(opType) ||
      parser.parseOperandList(operands, OpAsmParser::Delimiter::Paren))
    return failure();
  result.addAttribute("op_type", opType);

  NamedAttrList attributes;
  if (parser.parseOptionalAttrDict(attributes))
    return failure();
  result.addAttribute("onnx_attributes",
                      attributes.getDictionary(builder.getContext()));

  auto parseString = [&](StringRef keyword, StringRef name) -> ParseResult {
    if (failed(parser.parseOptionalKeyword(keyword)))
      return success();
    StringAttr value;
    if (parser.parseLParen() || parser.parseAttribute(value) ||
        parser.parseRParen())
      return failure();
    result.addAttribute(name, value);
    return success();
  };
  if (parseString("domain", "domain") || parseString("overload", "overload"))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("version"))) {
    int64_t version = 0;
    if (parser.parseLParen() || parser.parseInteger(version) ||
        parser.parseRParen())
      return failure();
    result.addAttribute("version", builder.getI64IntegerAttr(version));
  }
  if (parseString("name", "node_name"))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("outputs"))) {
    ArrayAttr outputs;
    if (parser.parseLParen() || parser.parseAttribute(outputs) ||
        parser.parseRParen())
      return failure();
    result.addAttribute("outputs", outputs);
  }
  FunctionType type;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseColonType(type) ||
      parser.resolveOperands(operands, type.getInputs(), loc, result.operands))
    return failure();
  result.addTypes(type.getResults());

  if (succeeded(parser.parseOptionalKeyword("regions"))) {
    SmallVector<Attribute> names;
    auto parseRegion = [&]() -> ParseResult {
      StringAttr name;
      Region *region = result.addRegion();
      if (parser.parseAttribute(name) || parser.parseRegion(*region))
        return failure();
      names.push_back(name);
      return success();
    };
    if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren,
                                       parseRegion))
      return failure();
    result.addAttribute("region_names", builder.getArrayAttr(names));
  }
  return success();
}

void OnnxNodeOp::print(OpAsmPrinter &p) {
  p << ' ';
  p.printAttributeWithoutType(getOpTypeAttr());
  p << '(';
  p.printOperands(getOperands());
  p << ')';
  if (!getOnnxAttributes().empty())
    p.printOptionalAttrDict(getOnnxAttributes().getValue());
  auto printString = [&](StringRef keyword, StringRef value) {
    if (value.empty())
      return;
    p << ' ' << keyword << '(';
    p.printString(value);
    p << ')';
  };
  printString("domain", getDomain());
  printString("overload", getOverload());
  if (getVersion() != 0)
    p << " version(" << getVersion() << ')';
  printString("name", getNodeName());
  if (getOutputsAttr()) {
    p << " outputs(";
    p.printAttribute(getOutputsAttr());
    p << ')';
  }
  p.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(), {"op_type", "onnx_attributes", "domain", "overload",
                            "version", "node_name", "outputs", "region_names"});
  p << " : ";
  p.printFunctionalType(*this);
  if (getNumRegions() == 0)
    return;
  p << " regions(";
  llvm::interleaveComma(llvm::zip_equal(getRegionNamesAttr(), getRegions()), p,
                        [&](auto pair) {
                          p.printAttributeWithoutType(std::get<0>(pair));
                          p << ' ';
                          p.printRegion(*std::get<1>(pair));
                        });
  p << ')';
}

LogicalResult OnnxNodeOp::verify() {
  if (getOpType().empty())
    return emitOpError("expects an operator name");
  size_t regionNames = getRegionNamesAttr() ? getRegionNamesAttr().size() : 0;
  if (regionNames != getNumRegions())
    return emitOpError("expects a name for each of its ")
           << getNumRegions() << " regions, but got " << regionNames;
  if (getOutputsAttr() && getOutputsAttr().size() != getNumResults())
    return emitOpError("expects a name for each of its ")
           << getNumResults() << " results, but got "
           << getOutputsAttr().size();
  return success();
}
