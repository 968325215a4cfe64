# Debian's protobuf has no package file of its own, which ONNX's asks for;
# CMake's find module serves. The static library, because libsentencepiece.so
# brings another version of protobuf under the same names: see
# hide-protobuf.map.
foreach(_library Protobuf_LIBRARY_RELEASE Protobuf_LIBRARY_DEBUG)
  if("${${_library}}" MATCHES "\\.so$")
    unset(${_library} CACHE) # of a build folder older than this line
  endif()
endforeach()
set(Protobuf_USE_STATIC_LIBS ON)
include(FindProtobuf)
