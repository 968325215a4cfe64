//===- FileStore.cpp - Mapped files and content-addressed tensors ---------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A file is mapped whole, once, when it is first asked for; views stay valid
/// until the store goes. Digests are read with pread, because a page that was
/// touched through a mapping counts as resident and one that was copied from
/// the page cache does not. New tensors are written under a temporary name and
/// renamed, so a reader never sees half of one, and two writers of the same
/// bytes do not disturb each other.
///
//===----------------------------------------------------------------------===//

#include "miura/Support/FileStore.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tuple>
#include <unistd.h>
#include <vector>

using namespace llvm;
using namespace miura;

namespace {

/// An open regular file; closed with the object.
struct OpenFile {
  OpenFile() = default;
  OpenFile(OpenFile &&other) noexcept : fd(other.fd), size(other.size) {
    other.fd = -1;
  }
  OpenFile &operator=(OpenFile &&) = delete;
  ~OpenFile() {
    if (fd >= 0)
      ::close(fd);
  }
  int fd = -1;
  uint64_t size = 0;
};

/// A file mapped whole. An empty file has no mapping.
struct MappedFile {
  explicit MappedFile(OpenFile file) : file(std::move(file)) {}
  MappedFile(const MappedFile &) = delete;
  ~MappedFile() {
    if (data)
      ::munmap(data, file.size);
  }
  OpenFile file;
  void *data = nullptr;
};

} // namespace

static Error systemError(const Twine &what, int code = errno) {
  return createStringError(std::error_code(code, std::generic_category()),
                           what + ": " + std::strerror(code));
}

static Expected<OpenFile> openRegular(const std::string &path) {
  // Nonblocking, so that a named pipe cannot hang us before fstat refuses it.
  OpenFile file;
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd < 0)
    return systemError("cannot open '" + path + "'");
  struct stat status;
  if (::fstat(file.fd, &status) != 0)
    return systemError("cannot inspect '" + path + "'");
  if (!S_ISREG(status.st_mode))
    return createStringError("'" + path + "' is not a regular file");
  file.size = status.st_size;
  return file;
}

static Error checkRange(StringRef path, uint64_t size, uint64_t offset,
                        uint64_t length) {
  if (offset <= size && length <= size - offset)
    return Error::success();
  return createStringError(
      "the file '" + path + "' has " + Twine(size) + " bytes, but " +
      Twine(length) + " bytes at offset " + Twine(offset) +
      " are asked for: it is truncated, or not the file the model names");
}

static bool isRegularFile(const std::string &path) {
  sys::fs::file_status status;
  return !sys::fs::status(path, status) && sys::fs::is_regular_file(status);
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

Expected<std::string> miura::resolveInside(StringRef folder, StringRef name) {
  if (name.empty() || name.contains('\0'))
    return createStringError("a file name is empty or holds a zero byte");
  if (sys::path::is_absolute(name))
    return createStringError("the file name '" + name +
                             "' is absolute: files must lie in '" + folder +
                             "'");
  for (auto it = sys::path::begin(name), end = sys::path::end(name); it != end;
       ++it)
    if (*it == "..")
      return createStringError("the file name '" + name +
                               "' leaves its folder '" + folder +
                               "': '..' is not allowed");
  SmallString<128> path(folder);
  sys::path::append(path, name);
  SmallString<128> realFolder, realPath;
  if (std::error_code error = sys::fs::real_path(path, realPath))
    return createStringError(error,
                             "cannot find '" + path + "': " + error.message());
  if (std::error_code error =
          sys::fs::real_path(folder.empty() ? "." : folder, realFolder))
    return createStringError(error, "cannot find '" + folder +
                                        "': " + error.message());
  StringRef rest = realPath;
  if (!rest.consume_front(realFolder) ||
      !(rest.starts_with("/") || realFolder == "/"))
    return createStringError("the file name '" + name +
                             "' leaves its folder '" + folder +
                             "' through a link");
  return std::string(path);
}

//===----------------------------------------------------------------------===//
// FileStore
//===----------------------------------------------------------------------===//

struct FileStore::Impl {
  mutable std::mutex mutex; // guards everything below
  std::vector<std::string> folders;
  std::string weightsFolder;
  bool strict = false;
  /// Names that were resolved, and files by their path.
  mutable StringMap<std::string> resolved;
  StringMap<std::unique_ptr<MappedFile>> mapped;
  std::map<std::tuple<std::string, uint64_t, uint64_t>, std::string> digests;

  std::string getWeightsFolder() const {
    if (!weightsFolder.empty())
      return weightsFolder;
    const char *folder = std::getenv("MIURA_WEIGHTS_DIR");
    return folder && *folder ? folder : "./miura-weights";
  }
  Expected<std::string> resolve(StringRef name) const;
};

FileStore::FileStore() : impl(std::make_unique<Impl>()) {}
FileStore::~FileStore() = default;

void FileStore::addSearchFolder(StringRef folder) {
  std::lock_guard<std::mutex> lock(impl->mutex);
  std::string name = folder.empty() ? "." : folder.str();
  if (llvm::is_contained(impl->folders, name))
    return;
  impl->folders.push_back(std::move(name));
  impl->resolved.clear();
}

void FileStore::setWeightsFolder(StringRef folder) {
  std::lock_guard<std::mutex> lock(impl->mutex);
  impl->weightsFolder = folder.str();
  impl->resolved.clear();
}

std::string FileStore::getWeightsFolder() const {
  std::lock_guard<std::mutex> lock(impl->mutex);
  return impl->getWeightsFolder();
}

void FileStore::setStrict(bool strict) {
  std::lock_guard<std::mutex> lock(impl->mutex);
  impl->strict = strict;
  impl->resolved.clear();
}

Expected<std::string> FileStore::Impl::resolve(StringRef name) const {
  if (auto it = resolved.find(name); it != resolved.end())
    return it->second;
  if (name.empty() || name.contains('\0'))
    return createStringError("a file name is empty or holds a zero byte");
  if (!strict && sys::path::is_absolute(name)) {
    if (!sys::fs::exists(name))
      return createStringError("cannot find the file '" + name + "'");
    return resolved[name] = name.str();
  }
  std::vector<std::string> places = folders;
  places.push_back(getWeightsFolder());
  places.push_back(".");
  std::string tried;
  for (const std::string &folder : places) {
    SmallString<128> path(folder);
    sys::path::append(path, name);
    if (strict) {
      // A name that leaves its folder is an error, whether or not another
      // folder has the file; one that is merely absent is looked for further.
      auto inside = resolveInside(folder, name);
      if (inside)
        return resolved[name] = *inside;
      bool absent = false;
      Error rest = handleErrors(inside.takeError(), [&](const StringError &e) {
        absent = e.convertToErrorCode() == std::errc::no_such_file_or_directory;
        return absent ? Error::success() : createStringError(e.getMessage());
      });
      if (rest)
        return std::move(rest);
    } else if (isRegularFile(std::string(path))) {
      return resolved[name] = std::string(path);
    }
    tried += (tried.empty() ? "'" : ", '") + folder + "'";
  }
  return createStringError("cannot find the file '" + name +
                           "': looked for it in " + tried);
}

Expected<std::string> FileStore::resolve(StringRef name) const {
  std::lock_guard<std::mutex> lock(impl->mutex);
  return impl->resolve(name);
}

Expected<ArrayRef<uint8_t>> FileStore::map(StringRef name, uint64_t offset,
                                           uint64_t length, uint64_t fileSize) {
  std::lock_guard<std::mutex> lock(impl->mutex);
  auto path = impl->resolve(name);
  if (!path)
    return path.takeError();
  std::unique_ptr<MappedFile> &entry = impl->mapped[*path];
  if (!entry) {
    auto file = openRegular(*path);
    if (!file)
      return file.takeError();
    auto mapping = std::make_unique<MappedFile>(std::move(*file));
    uint64_t size = mapping->file.size;
    if (size != 0) {
      void *data =
          ::mmap(nullptr, size, PROT_READ, MAP_SHARED, mapping->file.fd, 0);
      if (data == MAP_FAILED)
        return systemError("cannot map '" + *path + "'");
      mapping->data = data;
    }
    entry = std::move(mapping);
  }
  uint64_t size = entry->file.size;
  if (fileSize != 0 && fileSize != size)
    return createStringError("the file '" + *path + "' has " + Twine(size) +
                             " bytes, but had " + Twine(fileSize) +
                             " when the model was imported: it was replaced or "
                             "truncated; import the model again");
  if (Error error = checkRange(*path, size, offset, length))
    return std::move(error);
  if (length == 0)
    return ArrayRef<uint8_t>();
  return ArrayRef<uint8_t>(static_cast<const uint8_t *>(entry->data) + offset,
                           length);
}

static Expected<std::string> computeDigest(const std::string &path,
                                           uint64_t offset, uint64_t length) {
  auto file = openRegular(path);
  if (!file)
    return file.takeError();
  if (Error error = checkRange(path, file->size, offset, length))
    return std::move(error);
  BLAKE3 hasher;
  std::vector<uint8_t> buffer(std::min<uint64_t>(length, 1 << 20));
  while (length != 0) {
    ssize_t count =
        ::pread(file->fd, buffer.data(),
                std::min<uint64_t>(length, buffer.size()), (off_t)offset);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return systemError("cannot read '" + path + "'");
    if (count == 0)
      return createStringError("the file '" + path + "' became shorter");
    hasher.update(ArrayRef<uint8_t>(buffer.data(), count));
    offset += count;
    length -= count;
  }
  return toHex(hasher.final(), /*LowerCase=*/true);
}

Expected<std::string> FileStore::digest(StringRef name, uint64_t offset,
                                        uint64_t length) {
  std::tuple<std::string, uint64_t, uint64_t> key;
  {
    std::lock_guard<std::mutex> lock(impl->mutex);
    auto path = impl->resolve(name);
    if (!path)
      return path.takeError();
    key = {*path, offset, length};
    if (auto it = impl->digests.find(key); it != impl->digests.end())
      return it->second;
  }
  // Hashing is outside the lock: two threads that ask for the same range at
  // once both hash it, which is rare and harmless.
  auto result = computeDigest(std::get<0>(key), offset, length);
  if (!result)
    return result.takeError();
  std::lock_guard<std::mutex> lock(impl->mutex);
  impl->digests[key] = *result;
  return *result;
}

//===----------------------------------------------------------------------===//
// New tensors
//===----------------------------------------------------------------------===//

struct FileStore::Writer::Impl {
  FileStore &store;
  std::string folder, temporary;
  int fd = -1;
  uint64_t length = 0;
  BLAKE3 hasher;
  std::vector<uint8_t> buffer;

  explicit Impl(FileStore &store) : store(store) {}
  ~Impl() {
    if (fd >= 0)
      ::close(fd);
    if (!temporary.empty())
      ::unlink(temporary.c_str());
  }

  Error flush() {
    ArrayRef<uint8_t> rest = buffer;
    while (!rest.empty()) {
      ssize_t count = ::write(fd, rest.data(), rest.size());
      if (count < 0 && errno == EINTR)
        continue;
      if (count <= 0)
        return systemError("cannot write '" + temporary + "'");
      rest = rest.drop_front(count);
    }
    buffer.clear();
    return Error::success();
  }
};

FileStore::Writer::Writer(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
FileStore::Writer::Writer(Writer &&) noexcept = default;
FileStore::Writer::~Writer() = default;

Error FileStore::Writer::write(ArrayRef<uint8_t> bytes) {
  constexpr size_t kBuffer = 1 << 20;
  impl->hasher.update(bytes);
  impl->length += bytes.size();
  while (!bytes.empty()) {
    size_t count = std::min(bytes.size(), kBuffer - impl->buffer.size());
    impl->buffer.insert(impl->buffer.end(), bytes.begin(),
                        bytes.begin() + count);
    bytes = bytes.drop_front(count);
    if (impl->buffer.size() == kBuffer)
      if (Error error = impl->flush())
        return error;
  }
  return Error::success();
}

/// Whether `path` already holds the `length` bytes of `digest`. A leftover of
/// another content (a full disk, a meddling hand) must not pass for them.
static bool holds(const std::string &path, uint64_t length, StringRef digest) {
  uint64_t size = 0;
  if (sys::fs::file_size(path, size) || size != length)
    return false;
  auto found = computeDigest(path, 0, length);
  if (found)
    return *found == digest;
  consumeError(found.takeError());
  return false;
}

Expected<std::string> FileStore::Writer::finish() {
  if (Error error = impl->flush())
    return std::move(error);
  if (::close(std::exchange(impl->fd, -1)) != 0)
    return systemError("cannot write '" + impl->temporary + "'");
  std::string digest = toHex(impl->hasher.final(), /*LowerCase=*/true);
  std::string name = "b3-" + digest;
  SmallString<128> path(impl->folder);
  sys::path::append(path, name);
  if (holds(std::string(path), impl->length, digest))
    ::unlink(impl->temporary.c_str());
  else if (std::error_code error = sys::fs::rename(impl->temporary, path))
    return createStringError(error,
                             "cannot write '" + path + "': " + error.message());
  impl->temporary.clear();
  FileStore::Impl &store = *impl->store.impl;
  std::lock_guard<std::mutex> lock(store.mutex);
  store.digests[{std::string(path), 0, impl->length}] = digest;
  return name;
}

Expected<FileStore::Writer> FileStore::startPut() {
  static std::atomic<unsigned> counter{0};
  auto writer = std::make_unique<Writer::Impl>(*this);
  writer->folder = getWeightsFolder();
  if (std::error_code error = sys::fs::create_directories(writer->folder))
    return createStringError(error, "cannot make the weights folder '" +
                                        writer->folder +
                                        "': " + error.message());
  SmallString<128> path(writer->folder);
  sys::path::append(path, ".tmp-" + Twine(::getpid()) + "-" +
                              Twine(counter.fetch_add(1)));
  writer->fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (writer->fd < 0)
    return systemError("cannot write into the weights folder '" +
                       writer->folder + "'");
  writer->temporary = std::string(path);
  return Writer(std::move(writer));
}

Expected<std::string> FileStore::put(ArrayRef<uint8_t> bytes) {
  auto writer = startPut();
  if (!writer)
    return writer.takeError();
  if (Error error = writer->write(bytes))
    return std::move(error);
  return writer->finish();
}

std::string miura::blake3Hex(ArrayRef<uint8_t> bytes) {
  return toHex(BLAKE3::hash(bytes), /*LowerCase=*/true);
}
