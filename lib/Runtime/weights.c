/*===- weights.c - The mapped weights file
 * ----------------------------------===*
 *
 * Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===*/
/**
 * \file
 * Finds OUT.so.weights beside the library, maps it and checks that it is the
 * file that was compiled with the code: magic, identity (a digest of the
 * contents, stored in both), size. The contents are not digested again: pages
 * come in as the kernels read them.
 */
#define _GNU_SOURCE
#include "Abi.h"
#include "Internal.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".weights";

static int weights_path(char *out, size_t size, const char *path) {
  Dl_info info;
  if (!path) {
    if (!dladdr((const void *)&miura_weights_map, &info) || !info.dli_fname)
      return miura_fail("cannot tell where this library is; pass the path of "
                        "its weights file");
    path = info.dli_fname;
  }
  size_t length = strlen(path);
  int given = length >= sizeof suffix - 1 &&
              strcmp(path + length - (sizeof suffix - 1), suffix) == 0;
  if ((size_t)snprintf(out, size, "%s%s", path, given ? "" : suffix) >= size)
    return miura_fail("the path of the weights file is too long: %s", path);
  return 0;
}

int miura_weights_map(miura_weights *weights, const char *path, int64_t bytes,
                      const uint8_t id[32]) {
  char name[PATH_MAX];
  if (weights_path(name, sizeof name, path))
    return 1;
  int file = open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return miura_fail(
        "cannot open the weights file %s: %s; it belongs beside the library",
        name, strerror(errno));
  struct stat status;
  if (fstat(file, &status) != 0 || status.st_size != bytes) {
    close(file);
    return miura_fail("the weights file %s has %lld bytes, but the library was "
                      "compiled with one of %lld; "
                      "compile again",
                      name, (long long)status.st_size, (long long)bytes);
  }
  void *data = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (data == MAP_FAILED)
    return miura_fail("cannot map the weights file %s: %s", name,
                      strerror(errno));
  if (memcmp(data, MIURA_WEIGHTS_MAGIC, 8) != 0 ||
      memcmp((char *)data + 8, id, 32) != 0) {
    munmap(data, (size_t)bytes);
    return miura_fail("the weights file %s is not the one that the library was "
                      "compiled with; compile again",
                      name);
  }
#ifdef MADV_HUGEPAGE
  /* Where the system can back a file with huge pages; a hint, so its failure is
   * none of ours. */
  (void)madvise(data, (size_t)bytes, MADV_HUGEPAGE);
#endif
  (void)madvise(data, (size_t)bytes, MADV_WILLNEED);
  weights->data = data;
  weights->bytes = bytes;
  return 0;
}

void miura_weights_unmap(miura_weights *weights) {
  if (weights->data)
    munmap(weights->data, (size_t)weights->bytes);
  weights->data = NULL;
}
