//===- MiuraInterfaces.td - What every pass asks ops for ----*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_INTERFACES_TD
#define MIURA_INTERFACES_TD

include "mlir/IR/OpBase.td"

def Miura_WeightExpression : OpInterface<"WeightExpression"> {
  let cppNamespace = "::miura";
  let description = [{
    An op of a weight's expression. Trees of these compose: tests, reports,
    budget search and code generation ask this interface and nothing else, so a
    new scheme is one op that implements it.
  }];
  let methods = [
    InterfaceMethod<[{
      The value of the op as numbers, from the values of its operands, in
      operand order. This is the reference: no code generator calls it and it
      calls none. Floating point is computed in f32; integers keep their type.
      Fails with a diagnostic on the op.
    }], "::llvm::FailureOr<::miura::HostTensor>", "evaluate",
      (ins "::llvm::ArrayRef<::miura::HostTensor>":$operands)>,
    InterfaceMethod<[{
      The slice [first, first + count) of the value's first dimension, from the
      module's weights. What walks a model of any size (quantizers, certificates)
      asks for rows, so that no whole weight is on the heap; an op that has no
      way to do so evaluates everything and cuts.
    }], "::llvm::FailureOr<::miura::HostTensor>", "evaluateRows",
      (ins "int64_t":$first, "int64_t":$count),
      [{}], [{ return ::miura::evaluateAndSlice($_op->getResult(0), first, count); }]>,
    InterfaceMethod<[{
      x·Wᵀ in model ops over the op's children: a sum becomes a sum of linears,
      L·R two linears, scales and rotations move to x or to the result. A leaf
      declines by returning null, and is then a linear of its own. `linear`
      builds a linear of x and a child, with the compute type of the original.
    }], "::mlir::Value", "applyTo",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Value":$x,
           "::llvm::function_ref<::mlir::Value(::mlir::Value, ::mlir::Value)>":$linear),
      [{}], [{ return {}; }]>,
    InterfaceMethod<[{
      Rows of the value, as an embedding takes them, in model ops over the op's
      children: of a sum they are sums of rows, of L·R linears of rows of L. A
      leaf declines by returning null, and is then an embedding of its own.
      `rows` takes rows of a child, `linear` builds a linear of values and a
      weight.
    }], "::mlir::Value", "pickRows",
      (ins "::mlir::OpBuilder &":$builder,
           "::llvm::function_ref<::mlir::Value(::mlir::Value)>":$rows,
           "::llvm::function_ref<::mlir::Value(::mlir::Value, ::mlir::Value)>":$linear),
      [{}], [{ return {}; }]>,
    InterfaceMethod<[{
      The positions of the operands that are weights in their own right:
      floating-point expressions whose values may be approximated (both factors
      of a product, the kept values of a pruned weight), unlike scales, codes and
      indices. A lossy pass goes down through them.
    }], "::llvm::SmallVector<unsigned>", "getWeightOperands", (ins),
      [{}], [{ return {}; }]>,
    InterfaceMethod<[{
      The position of the operand in which zeros can be set for the result: an
      operand of the result's shape such that setting elements of it to zero (or
      to what getMaskFill says) sets those of the result to zero and changes no
      other. Nothing where there is none.
    }], "::std::optional<unsigned>", "getMaskedOperand", (ins),
      [{}], [{ return ::std::nullopt; }]>,
    InterfaceMethod<[{
      What stands for zero in getMaskedOperand's operand, where that is not 0.
    }], "::miura::BlockFill", "getMaskFill", (ins), [{}], [{ return {}; }]>,
    InterfaceMethod<[{
      Whether the op only places the elements of its first operand: each is an
      element of the result, once, and the others are zero. Such an op takes
      integers as well as floating point, and what is done to every element by
      itself, and leaves zero alone, may be done before or after it.
    }], "bool", "placesWeights", (ins), [{}], [{ return false; }]>,
    InterfaceMethod<[{
      Where it does: such an op that puts the first of `operands` to the places
      that the others, in the order of this op's, say of a tensor of `type` and
      has `fill` elsewhere.
    }], "::mlir::Value", "placeInstead",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$operands,
           "::miura::BlockFill":$fill, "::mlir::RankedTensorType":$type),
      [{}], [{ return {}; }]>,
  ];
}

def Miura_DecodableLeaf : OpInterface<"DecodableLeaf"> {
  let cppNamespace = "::miura";
  let description = [{
    A leaf expression that kernels decode in registers. The dialect promises
    it; code generation attaches it (see `miura/Codegen/CPU/Leaf.h`), so the IR
    library knows no kernels.
  }];
  let methods = [
    InterfaceMethod<[{
      How a CPU kernel packs and decodes this leaf: an object of the code
      generator, valid as long as the op.
    }], "std::shared_ptr<::miura::codegen::PanelLeaf>", "getPanelLeaf", (ins)>,
  ];
}

def Miura_Compressible : OpInterface<"Compressible"> {
  let cppNamespace = "::miura";
  let description = [{
    An op one of whose operands is a weight that may be replaced by an
    expression: a linear, an embedding, a convolution. Passes that compress find
    their work through it, with no list of ops.
  }];
  let methods = [
    InterfaceMethod<"The operand that is the weight.",
      "::mlir::OpOperand &", "getWeightOperand">,
    InterfaceMethod<[{
      The identity of this use of a weight: the initializer's name or the node's
      path; unique in the module and stable over passes. Profiles, recipes and
      reports use it.
    }], "::llvm::StringRef", "getId">,
    InterfaceMethod<[{
      The input that meets the weight in a product over the weight's last
      dimension, or null (an embedding has none).
    }], "::mlir::Value", "getMultipliedInput">,
    InterfaceMethod<[{
      The weight's shape read as [batch ×] out × in.
    }], "::llvm::SmallVector<int64_t>", "getWeightShape", (ins), [{}], [{
      auto type = ::llvm::cast<::mlir::RankedTensorType>($_op.getWeightOperand().get().getType());
      return ::llvm::SmallVector<int64_t>(type.getShape());
    }]>,
  ];
}

#endif // MIURA_INTERFACES_TD
