//===- PackTest.cpp - Codes as row-padded bit streams ---------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Packing is undone by unpacking for every width and for odd lengths, and the
/// stream is the documented one, bit by bit.
///
//===----------------------------------------------------------------------===//

#include "miura/Compress/Pack.h"
#include "gtest/gtest.h"
#include <random>
#include <vector>

using namespace miura::compress;

TEST(PackTest, UnpackUndoesPack) {
  std::mt19937 random(1);
  for (unsigned bits = 1; bits <= 8; ++bits)
    for (int64_t columns : {0, 1, 2, 3, 5, 7, 8, 9, 31, 32, 33, 255, 1000}) {
      std::vector<uint8_t> codes(columns), back(columns, 0xee);
      for (uint8_t &code : codes)
        code = random() & ((1 << bits) - 1);
      std::vector<uint8_t> packed(getPackedRowBytes(columns, bits), 0xaa);
      packRow(codes, bits, packed);
      // Bit by bit from the definition, padding included.
      for (size_t bit = 0; bit < packed.size() * 8; ++bit) {
        bool expected = (int64_t)bit < columns * bits &&
                        (codes[bit / bits] >> (bit % bits) & 1);
        ASSERT_EQ(packed[bit / 8] >> (bit % 8) & 1, expected)
            << bits << " bits, " << columns << " columns, bit " << bit;
      }
      unpackRow(packed, bits, back);
      EXPECT_EQ(codes, back) << bits << " bits, " << columns << " columns";
    }
}

TEST(PackTest, IgnoresBitsAboveTheWidth) {
  std::vector<uint8_t> codes = {0xff, 0xf1}, packed(1);
  packRow(codes, 4, packed);
  EXPECT_EQ(packed[0], 0x1f);
}
