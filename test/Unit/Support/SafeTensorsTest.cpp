//===- SafeTensorsTest.cpp - Reading and writing safetensors files --------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What is written is read back, and each way in which a header can lie has its
/// own message.
///
//===----------------------------------------------------------------------===//

#include "miura/Support/SafeTensors.h"
#include "miura/Support/FileStore.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"

using namespace llvm;
using namespace miura;

namespace {

class SafeTensorsTest : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(sys::fs::createUniqueDirectory("miura-safetensors", folder));
    path = folder;
    sys::path::append(path, "a.safetensors");
  }
  void TearDown() override { sys::fs::remove_directories(folder); }

  /// What reading a file of this header and data says.
  std::string readBack(StringRef header, size_t data,
                       std::optional<uint64_t> length = std::nullopt) {
    std::error_code error;
    {
      raw_fd_ostream stream(path, error);
      char prefix[8];
      support::endian::write64le(prefix, length.value_or(header.size()));
      stream.write(prefix, 8);
      stream << header << std::string(data, 'x');
    }
    auto result = readSafeTensors(path);
    return result ? "no error" : toString(result.takeError());
  }

  SmallString<128> folder, path;
};

TEST_F(SafeTensorsTest, ReadsWhatItWrote) {
  SafeTensorsWriter writer;
  size_t a = writer.add("layer.\"a\"", "F32", {2, 3}, 24);
  size_t b = writer.add("b", "U8", {3}, 3);
  writer.add("empty", "F16", {0, 4}, 0);
  writer.setMetadata("format", "miura");
  cantFail(writer.begin(path));
  EXPECT_EQ(writer.getOffset(a) % 64, 0u);
  std::vector<uint8_t> bytes(27);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = (uint8_t)i;
  cantFail(writer.write(ArrayRef<uint8_t>(bytes).take_front(5)));
  cantFail(writer.write(ArrayRef<uint8_t>(bytes).drop_front(5)));
  cantFail(writer.finish());

  SafeTensors read = cantFail(readSafeTensors(path));
  EXPECT_EQ(read.metadata["format"], "miura");
  ASSERT_EQ(read.tensors.size(), 3u);
  EXPECT_EQ(read.tensors[0].name, "layer.\"a\"");
  EXPECT_EQ(read.tensors[0].shape, (SmallVector<int64_t>{2, 3}));
  EXPECT_EQ(read.tensors[0].offset, writer.getOffset(a));
  FileStore store;
  const SafeTensor *tensor = nullptr;
  for (const SafeTensor &each : read.tensors)
    if (each.name == "b")
      tensor = &each;
  ASSERT_TRUE(tensor);
  EXPECT_EQ(tensor->offset, writer.getOffset(b));
  auto view = cantFail(store.map(path, tensor->offset, tensor->length));
  EXPECT_EQ(view, ArrayRef<uint8_t>(bytes).drop_front(24));
}

TEST_F(SafeTensorsTest, RefusesAnotherAmountThanPlanned) {
  SafeTensorsWriter writer;
  writer.add("a", "U8", {4}, 4);
  cantFail(writer.begin(path));
  cantFail(writer.write({1, 2, 3}));
  EXPECT_NE(toString(writer.finish()).find("planned for 4"), std::string::npos);
}

TEST_F(SafeTensorsTest, NamesWhatIsWrong) {
  auto entry = [](StringRef shape, StringRef offsets) {
    return ("{\"a\":{\"dtype\":\"F32\",\"shape\":" + shape +
            ",\"data_offsets\":" + offsets + "}}")
        .str();
  };
  EXPECT_EQ(readBack(entry("[2]", "[0,8]"), 8), "no error");
  struct {
    std::string header;
    size_t data;
    StringRef message;
  } cases[] = {
      {"{", 0, "has a bad header"},
      {"[]", 0, "is not an object"},
      {"{\"a\":{}}", 0, "incomplete entry for 'a'"},
      {entry("[-1]", "[0,8]"), 8, "bad shape for 'a'"},
      {entry("[4294967296,4294967296]", "[0,8]"), 8, "bad shape for 'a'"},
      {entry("[2]", "[0,8]"), 7, "outside itself"},
      {entry("[2]", "[8,0]"), 8, "outside itself"},
      {entry("[3]", "[0,8]"), 8, "contradict"},
      {entry("[2]", "[4,12]"), 12, "a gap or an overlap before 'a'"},
      {entry("[2]", "[0,8]"), 9, "where its header says"},
  };
  for (const auto &each : cases) {
    std::string message = readBack(each.header, each.data);
    EXPECT_NE(message.find(each.message), std::string::npos)
        << each.header << ": " << message;
  }
  EXPECT_NE(readBack("{}", 0, 1000).find("truncated"), std::string::npos);
  EXPECT_NE(readBack("{}", 0, ~0ull).find("truncated"), std::string::npos);
}

} // namespace
