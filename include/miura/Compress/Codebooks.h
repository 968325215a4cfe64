//===- Codebooks.h - Tables that formats define -----------------*- C++ -*-===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The values of codes whose format is a table and no formula. In
/// com.microsoft's MatMulBnb4 they are the two kinds of `quant_type`.
///
//===----------------------------------------------------------------------===//

#ifndef MIURA_COMPRESS_CODEBOOKS_H
#define MIURA_COMPRESS_CODEBOOKS_H

namespace miura::compress {

/// 4-bit floats of bitsandbytes, scaled so that the largest is 1.
inline constexpr float kFp4[16] = {0.0f,         5.208333333e-03f,
                                   0.66666667f,  1.0f,
                                   0.33333333f,  0.5f,
                                   0.16666667f,  0.25f,
                                   -0.0f,        -5.208333333e-03f,
                                   -0.66666667f, -1.0f,
                                   -0.33333333f, -0.5f,
                                   -0.16666667f, -0.25f};

/// NormalFloat: quantiles of the normal distribution (Dettmers et al., "QLoRA",
/// arXiv:2305.14314, appendix E).
inline constexpr float kNf4[16] = {-1.0f,
                                   -0.6961928009986877f,
                                   -0.5250730514526367f,
                                   -0.39491748809814453f,
                                   -0.28444138169288635f,
                                   -0.18477343022823334f,
                                   -0.09105003625154495f,
                                   0.0f,
                                   0.07958029955625534f,
                                   0.16093020141124725f,
                                   0.24611230194568634f,
                                   0.33791524171829224f,
                                   0.44070982933044434f,
                                   0.5626170039176941f,
                                   0.7229568362236023f,
                                   1.0f};

} // namespace miura::compress

#endif // MIURA_COMPRESS_CODEBOOKS_H
