# The libraries beside LLVM that ours are linked to. Included by our own build
# and by the installed package, so that both find the same ones;
# MIURA_ONNX_PREFIX says where the ONNX library is, which Debian has only in an
# old release.
set(Protobuf_DIR "${CMAKE_CURRENT_LIST_DIR}/protobuf")
find_package(ONNX REQUIRED CONFIG HINTS "${MIURA_ONNX_PREFIX}")
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(SENTENCEPIECE REQUIRED sentencepiece)
list(FILTER SENTENCEPIECE_LINK_LIBRARIES EXCLUDE REGEX "_train") # not needed
# Debian's OpenBLAS has LAPACK's symbols too.
find_library(OPENBLAS_LIBRARY openblas REQUIRED)

# OpenBLAS and SentencePiece as targets, so that an installed package holds no
# path of the machine that it was built on.
foreach(_name OpenBLAS SentencePiece)
  if(NOT TARGET MiuraExternal::${_name})
    add_library(MiuraExternal::${_name} INTERFACE IMPORTED)
  endif()
endforeach()
set_target_properties(MiuraExternal::OpenBLAS PROPERTIES
  INTERFACE_LINK_LIBRARIES "${OPENBLAS_LIBRARY}")
# libsentencepiece.so has a protobuf of its own: see hide-protobuf.map.
set_target_properties(MiuraExternal::SentencePiece PROPERTIES
  INTERFACE_LINK_LIBRARIES "${SENTENCEPIECE_LINK_LIBRARIES}"
  INTERFACE_LINK_OPTIONS
    "LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/protobuf/hide-protobuf.map")
