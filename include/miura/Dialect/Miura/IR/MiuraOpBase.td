//===- MiuraOpBase.td - What op definitions share -*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_OP_BASE_TD
#define MIURA_OP_BASE_TD

include "miura/Dialect/Miura/IR/MiuraAttrs.td"
include "miura/Dialect/Miura/IR/MiuraInterfaces.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Miura_Op<string mnemonic, list<Trait> traits = []>
    : Op<Miura_Dialect, mnemonic, traits>;

def Miura_FloatTensor : RankedTensorOf<[AnyFloat]>;
def Miura_IntTensor : RankedTensorOf<[AnyInteger, Index]>;
def Miura_MaskTensor : RankedTensorOf<[I1, AnyFloat]>;

#endif // MIURA_OP_BASE_TD
