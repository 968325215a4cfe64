//===- SessionOps.cpp - What a session adds to the model ------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "miura/Dialect/Miura/IR/MiuraDialect.h"

using namespace mlir;
using namespace miura;

MutableOperandRange CacheAppendOp::getDpsInitsMutable() {
  return getCacheMutable();
}

LogicalResult CacheAppendOp::verify() {
  auto cache = getCache().getType(), update = getUpdate().getType();
  if (cache.getRank() != 4 || update.getRank() != 4)
    return emitOpError("expects a cache and an update of rank 4, but got ")
           << cache << " and " << update;
  for (int64_t dim : {1, 3})
    if (cache.getDimSize(dim) != update.getDimSize(dim))
      return emitOpError("expects a cache and an update of equal heads and "
                         "size, but got ")
             << cache << " and " << update;
  return success();
}
