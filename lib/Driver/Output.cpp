//===- Output.cpp - Where results go --------------------------------------===//
//
// Part of Miura, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Outputs are written beside their place and renamed, so what must be writable
/// is the folder.
///
//===----------------------------------------------------------------------===//

#include "Output.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace miura::driver;

llvm::Error miura::driver::checkParentFolder(llvm::StringRef path) {
  llvm::StringRef parent = llvm::sys::path::parent_path(path);
  if (parent.empty())
    parent = ".";
  if (!llvm::sys::fs::is_directory(parent))
    return llvm::createStringError("cannot write '" + path + "': '" + parent +
                                   "' is no folder; make it first");
  if (std::error_code error =
          llvm::sys::fs::access(parent, llvm::sys::fs::AccessMode::Write))
    return llvm::createStringError(error, "cannot write '" + path +
                                              "': nothing can be written in '" +
                                              parent + "': " + error.message());
  return llvm::Error::success();
}

llvm::Error miura::driver::checkOutputFile(llvm::StringRef path) {
  if (llvm::sys::fs::is_directory(path))
    return llvm::createStringError("cannot write '" + path +
                                   "': it is a folder; choose another name");
  // The file that is renamed there would take the place of a device.
  if (llvm::sys::fs::exists(path) && !llvm::sys::fs::is_regular_file(path))
    return llvm::createStringError("cannot write '" + path +
                                   "': it is no file; choose another name");
  return checkParentFolder(path);
}

llvm::Error miura::driver::checkWeightsFolder(llvm::StringRef path) {
  if (path.empty())
    return llvm::Error::success();
  // What is to be made stands in the nearest folder that is there.
  llvm::StringRef there = path;
  while (!there.empty() && !llvm::sys::fs::exists(there))
    there = llvm::sys::path::parent_path(there);
  if (there.empty())
    there = ".";
  std::string reason;
  if (!llvm::sys::fs::is_directory(there))
    reason = "is no folder";
  else if (std::error_code error =
               llvm::sys::fs::access(there, llvm::sys::fs::AccessMode::Write))
    reason = "cannot be written to: " + error.message();
  else
    return llvm::Error::success();
  return llvm::createStringError("cannot keep tensors in '" + path + "': '" +
                                 there + "' " + reason +
                                 "; give --weights-dir another");
}
