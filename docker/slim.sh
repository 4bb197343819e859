#!/bin/sh
# slim.sh FOLDER: take out of a virtual environment what no service of ours reads.
set -eu
cd "$1"/lib/python3*/site-packages
# The packages' own tests, and the library for programs in C: the Python part of ONNX Runtime holds all of it again.
find . -depth -type d -name tests -exec rm -r {} +
rm -f onnxruntime/capi/libonnxruntime.so.*
# Symbols, of those alone that hold many: strip breaks libraries that auditwheel has rewritten (numpy's, faiss's).
if command -v strip > /dev/null; then
  for package in _polars_runtime_32 httptools sqlalchemy uvloop yaml; do
    if [ -d $package ]; then find $package -name '*.so' -exec strip --strip-unneeded {} +; fi
  done
else
  echo "slim.sh: there is no strip, so that symbols stay (binutils has it)"
fi
