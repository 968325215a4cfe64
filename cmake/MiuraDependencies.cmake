# What Miura is built on. Debian's packages are found where they are; the ONNX
# library, which Debian has only in an old release, in the cache that
# utils/setup fills (MIURA_CACHE, by default ~/.cache/miura).

# MLIR's version file wants major.minor; "22" alone is refused.
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
# Debian's MLIR names a lit that it does not ship. AddLLVM caches an empty
# value on the first run, so the right one is forced before it is included.
if(NOT EXISTS "${LLVM_EXTERNAL_LIT}")
  set(LLVM_EXTERNAL_LIT "${LLVM_TOOLS_BINARY_DIR}/lit"
      CACHE FILEPATH "lit driver" FORCE)
endif()
# MLIR's configuration names its own tblgen only; the driver's options need
# LLVM's.
set(LLVM_TABLEGEN_EXE "${LLVM_TOOLS_BINARY_DIR}/llvm-tblgen")
set(MLIR_LINK_MLIR_DYLIB ON)
set(LLVM_RUNTIME_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${CMAKE_BINARY_DIR}/lib)
set(MLIR_BINARY_DIR ${CMAKE_BINARY_DIR})
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include(HandleLLVMOptions)

if(DEFINED ENV{MIURA_CACHE})
  set(_miura_cache "$ENV{MIURA_CACHE}")
else()
  set(_miura_cache "$ENV{HOME}/.cache/miura")
endif()
set(MIURA_ONNX_PREFIX "${_miura_cache}/onnx-1.23.2")
include(MiuraLibraries)
find_package(GTest REQUIRED)

include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
include_directories(${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
# LLVM's object libraries take neither definitions nor system folders from what
# they link to, so ONNX's are given to all.
get_target_property(_onnx_includes ONNX::onnx INTERFACE_INCLUDE_DIRECTORIES)
include_directories(SYSTEM ${_onnx_includes})
add_definitions(-DONNX_NAMESPACE=onnx -DONNX_ML=1)
separate_arguments(_llvm_definitions NATIVE_COMMAND ${LLVM_DEFINITIONS})
add_definitions(${_llvm_definitions})

add_compile_options(-Wall -Wextra -Wno-unused-parameter)
if(MIURA_WERROR)
  add_compile_options(-Werror)
endif()
if(MIURA_ENABLE_ASSERTIONS)
  add_compile_options(-UNDEBUG)
endif()
if(MIURA_SANITIZE)
  add_compile_options(-fsanitize=${MIURA_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MIURA_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Lets ccache share objects that use the precompiled header.
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")
endif()
