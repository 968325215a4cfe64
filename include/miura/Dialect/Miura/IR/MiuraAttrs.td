//===- MiuraAttrs.td - Attributes and types of Miura --------*- tablegen -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MIURA_ATTRS_TD
#define MIURA_ATTRS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "miura/Dialect/Miura/IR/MiuraDialect.td"

class Miura_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Miura_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

class Miura_Type<string name, string typeMnemonic> : TypeDef<Miura_Dialect, name> {
  let mnemonic = typeMnemonic;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

def Miura_BytesAttr : Miura_Attr<"Bytes", "bytes"> {
  let summary = "A range of bytes in a file outside the IR";
  let description = [{
    `#miura.bytes<"model.onnx.data", offset = 4096, length = 331776>` names
    `length` bytes from `offset` of a file. A relative name is looked up in the
    folder of the parsed file, in the weights folder and in the working
    directory, in this order. `file_size` is the file's size when it was
    imported, so that a file that changed is noticed.

    A tensor that a pass made lives in the weights folder in a file of its own,
    named by its content: `#miura.bytes<"b3-0123…", offset = 0, length = 64>`.

    `digest` is the BLAKE3 of the bytes, 64 hexadecimal digits. In a bundle
    every `#miura.bytes` has one, and what is read is checked against it.
  }];
  let parameters = (ins
    StringRefParameter<"file name">:$file,
    "int64_t":$offset,
    "int64_t":$length,
    DefaultValuedParameter<"int64_t", "0">:$file_size,
    OptionalParameter<"::mlir::StringAttr">:$digest
  );
  let assemblyFormat = [{
    `<` $file `,` struct($offset, $length, $file_size, $digest) `>`
  }];
  let genVerifyDecl = 1;
}

def Miura_CertificateAttr : Miura_Attr<"Certificate", "certificate"> {
  let summary = "What is known of the error of a lossy expression";
  let description = [{
    `value` is the relative output error
    `sqrt(tr(E H Eᵀ) / tr(W H Wᵀ))` with E = W − Ŵ, under the Gram H = XᵀX of
    the linear's inputs, or H = I (then the relative Frobenius norm) where
    `gram` is absent. W is read from the bytes whose digest is `original`; Ŵ is
    the value of the expression whose structure, attributes and leaf bytes
    digest to `tree`. `miura-verify-certificates` recomputes all of it.
  }];
  let parameters = (ins
    "::mlir::FloatAttr":$value,
    "::mlir::StringAttr":$original,
    "::mlir::StringAttr":$tree,
    OptionalParameter<"::mlir::StringAttr">:$gram
  );
  let assemblyFormat = [{ `<` `error` `=` $value `,` struct($original, $tree, $gram) `>` }];
}

def Miura_ComputeAttr : Miura_Attr<"Compute", "compute"> {
  let summary = "In what type activations enter a product, and sums accumulate";
  let description = [{
    `#miura.compute<f32, f32>`: activations enter as f32 and products are summed
    in f32. `#miura.compute<i8, f32>`: activations are rounded to int8, with one
    scale per token and symmetric about zero (`s = max|x| / 127`, round half to
    even), integer products are summed exactly in i32 within a block of the
    weight, and block sums are scaled and summed in f32. With
    `block = 32` activations get one scale per 32 columns.

    It is part of the model's meaning: code generation never chooses it, and the
    reference lowering honours it.
  }];
  let parameters = (ins
    "::mlir::Type":$activation,
    "::mlir::Type":$accumulator,
    DefaultValuedParameter<"int64_t", "0">:$block
  );
  let assemblyFormat = "`<` $activation `,` $accumulator (`,` `block` `=` $block^)? `>`";
}

def Miura_RoundingAttr : Miura_Attr<"Rounding", "rounding"> {
  let summary = "Codes that activations are rounded to, with a fixed scale";
  let description = [{
    `#miura.rounding<ui8, scale = 0.05 : f32, zero = 128>`: a value x becomes
    `(q − zero) · scale` with `q = clamp(round(x / scale) + zero)`, rounded half
    to even and clamped to the numbers of the code's type, an integer of 2 to 16
    bits with a sign or without. What a file with static quantization says of
    every activation.
    Source: ONNX operators, QuantizeLinear and DequantizeLinear; Jacob et al.,
    arXiv:1712.05877, section 2.1 and eq. (12).
  }];
  let parameters = (ins
    "::mlir::IntegerType":$code,
    "::mlir::FloatAttr":$scale,
    "int64_t":$zero
  );
  let assemblyFormat = "`<` $code `,` struct($scale, $zero) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The least and the greatest code.
    int64_t getLeast() const;
    int64_t getGreatest() const;
  }];
}

def Miura_DimsAttr : Miura_Attr<"Dims", "dims"> {
  let summary = "The symbolic names of a tensor's dimensions";
  let description = [{
    A tensor encoding, `tensor<?x?xi64, #miura.dims<"batch", "past + sequence">>`:
    one string per dimension as the ONNX file writes it, empty where the
    dimension has a number or no name.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$names);
  let assemblyFormat = "`<` $names `>`";
}

def Miura_RoleKind : I32EnumAttr<"RoleKind", "What an argument or a result of a model is for", [
  I32EnumAttrCase<"tokens", 0>,       // [batch, sequence] token ids
  I32EnumAttrCase<"positions", 1>,    // [batch, sequence] position of each token
  I32EnumAttrCase<"mask", 2>,         // [batch, total] 1 where a key may be seen
  I32EnumAttrCase<"cache_key", 3>,    // [batch, kv heads, past, size] of a layer
  I32EnumAttrCase<"cache_value", 4>,
  I32EnumAttrCase<"logits", 5>,       // [batch, sequence, vocabulary]
  I32EnumAttrCase<"lengths", 6>,      // session: tokens in the cache, per row
  I32EnumAttrCase<"counts", 7>,       // session: new tokens, per row
  I32EnumAttrCase<"other", 8>
]> {
  let cppNamespace = "::miura";
  let genSpecializedAttr = 0;
}

def Miura_RoleAttr : Miura_Attr<"Role", "role"> {
  let summary = "What an argument or a result of a model is for";
  let description = [{
    The argument and result attribute `miura.role`, set by `miura-raise` from
    how a value is used, never from its name. `layer` counts attention ops in
    program order and is −1 where it has no meaning.
  }];
  let parameters = (ins
    EnumParameter<Miura_RoleKind>:$kind,
    DefaultValuedParameter<"int64_t", "-1">:$layer
  );
  let assemblyFormat = "`<` $kind (`,` `layer` `=` $layer^)? `>`";
}

//===----------------------------------------------------------------------===//
// Types that the onnx level needs beside the builtin tensors
//===----------------------------------------------------------------------===//

def Miura_SequenceType : Miura_Type<"Sequence", "sequence"> {
  let summary = "An ONNX sequence: opaque below the onnx level";
  let parameters = (ins "::mlir::Type":$element);
  let assemblyFormat = "`<` $element `>`";
}
def Miura_OptionalType : Miura_Type<"Optional", "optional"> {
  let summary = "An ONNX optional: opaque below the onnx level";
  let parameters = (ins "::mlir::Type":$element);
  let assemblyFormat = "`<` $element `>`";
}
def Miura_MapType : Miura_Type<"Map", "map"> {
  let summary = "An ONNX map: opaque below the onnx level";
  let parameters = (ins "::mlir::Type":$key, "::mlir::Type":$element);
  let assemblyFormat = "`<` $key `,` $element `>`";
}
def Miura_SparseTensorType : Miura_Type<"SparseTensor", "sparse_tensor"> {
  let summary = "An ONNX sparse tensor: opaque below the onnx level";
  let parameters = (ins "::mlir::Type":$dense);
  let assemblyFormat = "`<` $dense `>`";
}
def Miura_StringType : Miura_Type<"String", "string"> {
  let summary = "An ONNX string, an element type of tensors";
  let assemblyFormat = "";
}
def Miura_UnknownType : Miura_Type<"Unknown", "unknown"> {
  let summary = "The type of a value that the file gives none";
  let assemblyFormat = "";
}
def Miura_AbsentType : Miura_Type<"Absent", "absent"> {
  let summary = "The type of an optional operand or result that a node leaves out";
  let assemblyFormat = "";
}

#endif // MIURA_ATTRS_TD
