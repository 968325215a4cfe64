#!/bin/sh
# Exits with 1, interesting, where the pass refuses the node "Mystery".
"$1" "$2" -miura-check-onnx-lowering -o /dev/null 2>&1 | grep -q Mystery && exit 1
exit 0
