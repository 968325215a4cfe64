# Debian's protobuf has no package file of its own, which ONNX's asks for;
# CMake's find module serves.
include(FindProtobuf)
