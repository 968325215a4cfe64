//===- ReduceGraph.h - Shrinking a graph by cutting values ------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The pass of miura-reduce for graphs, beside MLIR's own reductions.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_TOOLS_REDUCEGRAPH_H
#define MIURA_TOOLS_REDUCEGRAPH_H

namespace miura {

/// Registers `miura-reduce-graph`.
void registerReduceGraphPass();

} // namespace miura

#endif // MIURA_TOOLS_REDUCEGRAPH_H
