//===- FileStoreTest.cpp - Mapped files and content-addressed tensors -----===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Look-up, mapping, digests, new tensors, refused names, and many threads at
/// once (which the thread sanitizer build watches).
///
//===----------------------------------------------------------------------===//

#include "miura/Support/FileStore.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <sys/stat.h>
#include <thread>

using namespace llvm;
using namespace miura;

namespace {

/// A folder of the test's own, removed at its end.
class FileStoreTest : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(sys::fs::createUniqueDirectory("miura-files", folder));
    store.addSearchFolder(folder);
    store.setWeightsFolder(path("weights"));
  }
  void TearDown() override { sys::fs::remove_directories(folder); }

  std::string path(StringRef name) {
    SmallString<128> result(folder);
    sys::path::append(result, name);
    return std::string(result);
  }
  std::string write(StringRef name, StringRef text) {
    std::error_code error;
    raw_fd_ostream stream(path(name), error);
    EXPECT_FALSE(error);
    stream << text;
    return path(name);
  }
  static std::string text(ArrayRef<uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  }
  template <typename T> static std::string message(Expected<T> result) {
    if (result)
      return "no error";
    return toString(result.takeError());
  }

  SmallString<128> folder;
  FileStore store;
};

std::vector<uint8_t> makeBytes(size_t size, uint32_t seed) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t &byte : bytes)
    byte = (seed = seed * 1664525u + 1013904223u) >> 24;
  return bytes;
}

TEST_F(FileStoreTest, MapsARange) {
  write("a.bin", "0123456789");
  auto bytes = store.map("a.bin", 3, 4, 10);
  ASSERT_TRUE((bool)bytes);
  EXPECT_EQ(text(*bytes), "3456");
  auto rest = store.map(path("a.bin"), 10, 0);
  ASSERT_TRUE((bool)rest);
  EXPECT_TRUE(rest->empty());
}

TEST_F(FileStoreTest, SearchesFoldersInOrder) {
  ASSERT_FALSE(sys::fs::create_directory(path("second")));
  store.addSearchFolder(path("second"));
  write("second/a.bin", "second");
  EXPECT_EQ(text(cantFail(store.map("a.bin", 0, 6))), "second");
  FileStore other;
  other.addSearchFolder(folder);
  other.addSearchFolder(path("second"));
  write("a.bin", "first!");
  EXPECT_EQ(text(cantFail(other.map("a.bin", 0, 6))), "first!");
}

TEST_F(FileStoreTest, NamesWhatIsWrong) {
  write("a.bin", "0123456789");
  EXPECT_NE(message(store.map("b.bin", 0, 1)).find("cannot find the file"),
            std::string::npos);
  EXPECT_NE(message(store.map("b.bin", 0, 1)).find(folder.c_str()),
            std::string::npos);
  EXPECT_NE(message(store.map("a.bin", 5, 6)).find("has 10 bytes"),
            std::string::npos);
  // offset + length overflows.
  EXPECT_NE(message(store.map("a.bin", 8, ~0ull - 2)).find("has 10 bytes"),
            std::string::npos);
  EXPECT_NE(message(store.map("a.bin", 0, 1, 11)).find("import"),
            std::string::npos);
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_NE(message(store.map(path("pipe"), 0, 1)).find("not a regular file"),
            std::string::npos);
  EXPECT_NE(message(store.map("", 0, 1)).find("empty"), std::string::npos);
}

TEST_F(FileStoreTest, StrictNamesStayInTheirFolder) {
  ASSERT_FALSE(sys::fs::create_directory(path("bundle")));
  write("secret.bin", "secret");
  write("bundle/a.bin", "inside");
  ASSERT_FALSE(sys::fs::create_link("../secret.bin", path("bundle/link.bin")));
  FileStore strict;
  strict.addSearchFolder(path("bundle"));
  strict.setWeightsFolder(path("weights"));
  strict.setStrict(true);
  EXPECT_EQ(text(cantFail(strict.map("a.bin", 0, 6))), "inside");
  EXPECT_NE(message(strict.map("../secret.bin", 0, 6)).find("'..'"),
            std::string::npos);
  EXPECT_NE(message(strict.map("./x/../../secret.bin", 0, 6)).find("'..'"),
            std::string::npos);
  EXPECT_NE(message(strict.map(path("secret.bin"), 0, 6)).find("absolute"),
            std::string::npos);
  EXPECT_NE(message(strict.map("link.bin", 0, 6)).find("through a link"),
            std::string::npos);
  EXPECT_NE(message(strict.map("none.bin", 0, 6)).find("cannot find"),
            std::string::npos);
}

TEST_F(FileStoreTest, WritesATensorOnceUnderItsDigest) {
  std::vector<uint8_t> bytes = makeBytes(3000000, 1);
  std::string name = cantFail(store.put(bytes));
  EXPECT_EQ(name, "b3-" + blake3Hex(bytes));
  EXPECT_EQ(cantFail(store.map(name, 0, bytes.size())),
            ArrayRef<uint8_t>(bytes));
  EXPECT_EQ(cantFail(store.digest(name, 0, bytes.size())), blake3Hex(bytes));
  EXPECT_EQ(cantFail(store.digest(name, 7, 100)),
            blake3Hex(ArrayRef<uint8_t>(bytes).slice(7, 100)));

  // Piece by piece gives the same name, and dropping a writer leaves nothing.
  auto writer = cantFail(store.startPut());
  for (size_t i = 0; i < bytes.size(); i += 700001)
    cantFail(
        writer.write(ArrayRef<uint8_t>(bytes).slice(i).take_front(700001)));
  EXPECT_EQ(cantFail(writer.finish()), name);
  {
    auto dropped = cantFail(store.startPut());
  }
  std::error_code error;
  size_t files = 0;
  for (sys::fs::directory_iterator it(path("weights"), error), end;
       it != end && !error; it.increment(error))
    ++files;
  EXPECT_EQ(files, 1u);
}

TEST_F(FileStoreTest, RepairsALeftoverOfAnotherContent) {
  std::vector<uint8_t> bytes = makeBytes(100, 2);
  ASSERT_FALSE(sys::fs::create_directory(path("weights")));
  write("weights/b3-" + blake3Hex(bytes), std::string(100, 'x'));
  std::string name = cantFail(store.put(bytes));
  EXPECT_EQ(cantFail(store.map(name, 0, 100)), ArrayRef<uint8_t>(bytes));
}

TEST_F(FileStoreTest, ServesManyThreads) {
  constexpr unsigned kThreads = 8, kRounds = 20;
  std::vector<uint8_t> shared = makeBytes(50000, 3);
  write("a.bin", text(shared));
  std::vector<std::thread> threads;
  std::vector<std::string> names(kThreads);
  std::atomic<unsigned> failures{0};
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      auto expect = [&](bool good) { failures += !good; };
      for (unsigned round = 0; round < kRounds; ++round) {
        auto own = makeBytes(1000 + t, t * 1000 + round);
        auto name = store.put(own);
        expect((bool)name);
        if (name) {
          auto back = store.map(*name, 0, own.size());
          expect(back && *back == ArrayRef<uint8_t>(own));
        }
        auto common = store.put(shared);
        expect((bool)common);
        if (common)
          names[t] = *common;
        auto bytes = store.map("a.bin", t, 1000);
        expect(bytes && *bytes == ArrayRef<uint8_t>(shared).slice(t, 1000));
        auto digest = store.digest("a.bin", round, 1000);
        expect(digest && *digest == blake3Hex(ArrayRef<uint8_t>(shared).slice(
                                        round, 1000)));
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(failures, 0u);
  for (const std::string &name : names)
    EXPECT_EQ(name, names[0]);
}

} // namespace
