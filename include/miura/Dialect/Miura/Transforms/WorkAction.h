//===- WorkAction.h - How far a long pass has come --------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A pass that works on weights for long does each as an MLIR action, so that
/// whoever shows progress (or logs actions) need not be known to it. Without a
/// handler an action is a plain call.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_DIALECT_MIURA_TRANSFORMS_WORKACTION_H
#define MIURA_DIALECT_MIURA_TRANSFORMS_WORKACTION_H

#include "mlir/IR/Action.h"
#include "llvm/Support/raw_ostream.h"

namespace miura {

/// One part of a pass's work. Handlers are called from many threads.
class WorkAction : public mlir::tracing::ActionImpl<WorkAction> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(WorkAction)
  static constexpr llvm::StringLiteral tag = "miura-work";

  WorkAction(llvm::ArrayRef<mlir::IRUnit> units, llvm::StringRef verb,
             llvm::StringRef name, int64_t amount, int64_t total)
      : ActionImpl(units), verb(verb), name(name), amount(amount),
        total(total) {}

  void print(llvm::raw_ostream &os) const override {
    os << "`" << tag << "` " << verb << " " << name << ", " << amount << " of "
       << total;
  }

  llvm::StringRef verb;  ///< what is done: "quantize"
  llvm::StringRef name;  ///< to which layer
  int64_t amount, total; ///< of this part, and of all parts; any unit
};

} // namespace miura

#endif // MIURA_DIALECT_MIURA_TRANSFORMS_WORKACTION_H
