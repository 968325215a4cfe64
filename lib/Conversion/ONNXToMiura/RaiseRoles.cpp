//===- RaiseRoles.cpp - What arguments and results are for ----------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Roles come from use, never from names: tokens index the table of embeddings,
/// positions reach the angles of a rotation, the mask is what attentions take
/// as padding, caches are the past that new keys and values are put behind.
///
//===----------------------------------------------------------------------===//

#include "Raiser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace miura;
using namespace miura::symbolic;

void Raiser::setRoles() {
  auto setRole = [&](BlockArgument argument, RoleKind kind, int64_t layer) {
    StringRef name = kRoleAttrName;
    if (!func.getArgAttr(argument.getArgNumber(), name))
      func.setArgAttr(argument.getArgNumber(), name,
                      RoleAttr::get(func.getContext(), kind, layer));
  };
  Operation *terminator = func.getBody().front().getTerminator();
  auto setResultRole = [&](Value value, RoleKind kind, int64_t layer) {
    for (auto [i, v] : llvm::enumerate(terminator->getOperands()))
      if (v == value && !func.getResultAttr(i, kRoleAttrName))
        func.setResultAttr(i, kRoleAttrName,
                           RoleAttr::get(func.getContext(), kind, layer));
  };

  BlockArgument tokens;
  EmbeddingOp vocabulary = findVocabulary(tokens);
  SmallVector<BlockArgument> positions = findPositions(tokens);
  if (vocabulary)
    setRole(tokens, RoleKind::tokens, -1);

  int64_t layer = 0;
  func.walk([&](AttentionOp op) {
    if (auto mask = dyn_cast_or_null<BlockArgument>(op.getPadding()))
      setRole(mask, RoleKind::mask, -1);
    for (auto [value, kind] : {std::pair{op.getKey(), RoleKind::cache_key},
                               {op.getValue(), RoleKind::cache_value}}) {
      auto concat = value.getDefiningOp<tensor::ConcatOp>();
      if (!concat)
        continue;
      // A cache of codes is read and written as numbers; a file with static
      // quantization may give it rounded.
      Value first = concat.getInputs()[0];
      if (auto decoded = first.getDefiningOp<arith::SIToFPOp>())
        first = decoded.getIn();
      if (auto past = dyn_cast<BlockArgument>(first)) {
        setRole(past, kind, layer);
        setResultRole(concat, kind, layer);
        for (Operation *user : concat->getUsers())
          if (isa<arith::FPToSIOp, FakeQuantizeOp>(user))
            setResultRole(user->getResult(0), kind, layer);
      }
    }
    ++layer;
  });
  if (positions.size() == 1)
    setRole(positions[0], RoleKind::positions, -1);

  // Of the results that are no cache, the one over the vocabulary; a model may
  // give hidden states too, or nothing else.
  if (!vocabulary || layer == 0)
    return;
  ArrayRef<int64_t> table =
      cast<RankedTensorType>(vocabulary.getWeight().getType()).getShape();
  for (bool isExact : {true, false})
    for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type || type.getRank() != 3 ||
          !isa<FloatType>(type.getElementType()) ||
          func.getResultAttr(i, kRoleAttrName))
        continue;
      // A head may be padded to more entries than there are tokens.
      int64_t size = type.getShape().back();
      if (isExact ? size != table[0] : size == table[1])
        continue;
      setResultRole(value, RoleKind::logits, -1);
      return;
    }
}
